"""The study `lie-variance`: the variance of an expectation value over random angles, against that of a Lie group."""
