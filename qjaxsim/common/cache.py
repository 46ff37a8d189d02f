"""Where this user's caches are: files that only save time."""

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """`QJAXSIM_CACHE` if set, else the place for caches that the operating system gives each user."""
    if chosen := os.environ.get("QJAXSIM_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "qjaxsim"
