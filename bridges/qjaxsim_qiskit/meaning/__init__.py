"""What Qiskit's operations mean: definitions, conditions, constants, angles, layouts, loops written out."""
