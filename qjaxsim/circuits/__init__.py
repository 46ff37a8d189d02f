"""Circuits as data: gates, angles, operations and observables, and a slow simulator as their reference. NumPy only."""
