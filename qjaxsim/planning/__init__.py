"""From a circuit to the steps that simulate it, at compile time. NumPy only, no JAX."""
