"""The study `noisy-fisher`: what noise turns on and suppresses in the quantum Fisher information."""
