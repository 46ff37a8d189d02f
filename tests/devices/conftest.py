"""What pytest leaves alone here: programs for eight devices, which processes of their own run."""

collect_ignore = ["program.py", "state_program.py", "state_processes.py"]
