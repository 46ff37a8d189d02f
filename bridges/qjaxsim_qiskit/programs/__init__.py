"""Circuits in files: OpenQASM 2 and 3, QPY."""
