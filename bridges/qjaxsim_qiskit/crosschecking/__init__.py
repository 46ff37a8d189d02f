"""One circuit here and in Qiskit Aer, and how far the two are apart."""
