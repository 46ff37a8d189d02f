"""What text that names a file or folder stands for."""

import os


def at_home(path: str) -> str:
    """A path with a leading ~ as what that stands for in a shell: Python would take it for a name.

    >>> at_home("runs/~"), at_home("~/runs") == os.path.expanduser("~/runs")
    ('runs/~', True)
    """
    return os.path.expanduser(path) if path == "~" or path.startswith("~/") else path
