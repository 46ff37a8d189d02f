"""From steps and parameters to states, expectation values, derivatives and samples. All JAX."""
