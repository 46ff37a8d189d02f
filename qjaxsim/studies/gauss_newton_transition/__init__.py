"""The study `gauss-newton-transition`: which part of H = G + R is left where gradient descent ends."""
