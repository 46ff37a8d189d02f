"""PennyLane."""
