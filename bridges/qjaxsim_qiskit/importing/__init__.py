"""Qiskit's circuits, with their parameters, as ours."""
