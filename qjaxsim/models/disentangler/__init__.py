"""Matrices as tensor-network operators between disentangling circuits (arXiv:2410.17397), and a model for them."""
