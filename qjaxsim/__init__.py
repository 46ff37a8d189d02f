"""A JAX statevector engine for quantum machine learning with exact second derivatives."""
