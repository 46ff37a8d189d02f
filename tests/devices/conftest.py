"""What pytest leaves alone here: a program for eight devices, which a process of its own runs."""

collect_ignore = ["program.py"]
