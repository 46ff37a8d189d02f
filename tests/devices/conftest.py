"""What pytest leaves alone here: programs for eight devices and their parts, which processes of their own run."""

collect_ignore = ["program.py", "columns.py", "reporting.py", "state_program.py", "state_processes.py"]
