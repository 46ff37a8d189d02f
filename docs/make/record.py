"""Runs pages, each in a process of its own, and keeps their figures, their time and the versions they were run with.

python -m docs.make.record [PAGE ...]
"""

import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from docs.make.pages import DOCS, TESTED_ELSEWHERE, figures_of, pages_with_programs, relative, run_page

RUNS = Path(__file__).with_name("runs.json")


def record(page: Path) -> dict[str, str | int]:
    """Versions and seconds of a page, whose figures are then beside it."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        words = [sys.executable, "-m", "docs.make.record", "--run", str(page), folder]
        subprocess.run(words, check=True, cwd=DOCS.parent)
        seconds = round(time.monotonic() - began)
        for name in figures_of(page):
            (page.parent / "figures").mkdir(exist_ok=True)
            shutil.copy(Path(folder, name), page.parent / "figures" / name)
    versions = {"qjaxsim": version("qjaxsim"), "jax": version("jax"), "python": platform.python_version()}
    return {**versions, "seconds": max(seconds, 1)}


def recorded(pages: list[Path]) -> dict[str, dict[str, str | int]]:
    """What is kept of all pages, with those anew."""
    kept = json.loads(RUNS.read_text(encoding="utf-8"))
    return dict(sorted({**kept, **{relative(page): record(page) for page in pages}}.items()))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        run_page(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        chosen = [Path(word).resolve() for word in sys.argv[1:]]
        chosen = chosen or [page for page in pages_with_programs() if relative(page) not in TESTED_ELSEWHERE]
        RUNS.write_text(json.dumps(recorded(chosen), indent=1) + "\n", encoding="utf-8")
