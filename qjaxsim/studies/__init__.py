"""Studies of published systems: sweeps that print their numbers beside the published ones."""
