"""What pytest leaves alone here: a program for eight devices and its parts, which a process of its own runs."""

collect_ignore = ["program.py", "columns.py", "reporting.py"]
