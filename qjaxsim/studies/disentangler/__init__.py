"""The study `disentangler`: layers as matrix product operators between circuits (arXiv:2410.17397)."""
