"""Circuits and observables to and from Qiskit, cross-checks against Aer, runs on IBM hardware."""
