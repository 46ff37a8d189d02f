"""What pytest leaves alone here: what processes of their own run."""

collect_ignore = ["worker.py", "problem.py"]
