"""docs/jobs.md: every job runs as it stands, from an empty folder, in the order of the page."""

import re
import shlex
from pathlib import Path

import jax
import pytest

from qjaxsim.command.app import run

GUIDE = (Path(__file__).parents[1] / "docs" / "jobs.md").read_text(encoding="utf-8")
JOBS = re.split(r"^## \d\. ", GUIDE, flags=re.MULTILINE)[1:]


@pytest.fixture
def done(capsys, tmp_path, monkeypatch):
    """Does a job of the page and gives what it printed; names and files of jobs before it are there."""
    monkeypatch.chdir(tmp_path)
    names: dict = {}

    def job(number):
        for language, block in re.findall(r"```(python)?\n(.*?)```", JOBS[number - 1], flags=re.DOTALL):
            if language:
                with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
                    exec(block, names)
            else:
                for line in block.strip().splitlines():
                    program, *words = shlex.split(line)
                    assert program == "qjaxsim" and run(words) == 0, line
        return capsys.readouterr().out

    return job


def test_there_are_seven():
    assert len(JOBS) == 7


@pytest.mark.slow
def test_all_but_the_benchmark(done):
    assert "parameters 20, samples 60" in done(1)
    assert Path("mine.html").read_text().count("data:image/") == 3
    printed = done(2)
    assert float(re.findall(r"accuracy ([\d.]+)", printed)[0]) > 0.6
    assert "parameters 8, samples 150" in printed
    page = Path("iris/report.html").read_text()
    assert page.count("data:image/") >= 2 and "Plane of the path" in page
    assert "largest difference" in done(3)
    assert re.search(r"lowest energy\s+-2", done(5))
    assert done(6).splitlines() == [
        "softmax ['key', 'query', 'value']",
        "qama-v2 ['e2v', 'key', 'query', 'value']",
    ]
    assert re.search(r"\[(\d \d \d \d \d)\]", done(7))


@pytest.mark.slow
def test_benchmark(done):
    done(4)
    assert "layered" in Path("bench/report.html").read_text()
