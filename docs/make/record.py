"""Runs pages, each in a process of its own, and keeps their figures, processor time and the versions they ran with.

python -m docs.make.record [PAGE ...]
"""

import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import version
from pathlib import Path

from docs.make.pages import DOCS, figures_of, pages_with_programs, relative, run_page

RUNS = Path(__file__).with_name("runs.json")


def record(page: Path) -> dict[str, str | int]:
    """Versions and seconds of a page, whose figures are then beside it."""
    with tempfile.TemporaryDirectory() as folder:
        before = _processor_time()
        words = [sys.executable, "-m", "docs.make.record", "--run", str(page), folder]
        subprocess.run(words, check=True, cwd=DOCS.parent, env={**os.environ, "XLA_FLAGS": ""})
        seconds = round(_processor_time() - before)
        for name in figures_of(page):
            (page.parent / "figures").mkdir(exist_ok=True)
            shutil.copy(Path(folder, name), page.parent / "figures" / name)
    ours = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    versions = {"qjaxsim": ours, "jax": version("jax"), "python": platform.python_version()}
    return {**versions, "seconds": max(seconds, 1)}


def _processor_time() -> float:
    """That of processes that have ended; unlike the clock's it is little changed by what else runs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def keep(page: Path) -> None:
    """Record a page beside the others."""
    kept = json.loads(RUNS.read_text(encoding="utf-8"))
    kept[relative(page)] = record(page)
    RUNS.write_text(json.dumps(dict(sorted(kept.items())), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        run_page(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        chosen = [Path(word).resolve() for word in sys.argv[1:]]
        for each in chosen or pages_with_programs():
            keep(each)
