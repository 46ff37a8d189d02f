"""The study `attention`: annealed selection against softmax attention and controls (arXiv:2504.11083)."""
