"""The study `effective-dimension`: of a quantum neural network, beside classical models of as many parameters."""
