"""The guide's section on hardware says what is so, and its command lines are real."""

import re
import shlex
from pathlib import Path

import jax
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.command import main as cli

pytest.importorskip("qiskit_ibm_runtime")
pytest.importorskip("qiskit_aer")


GUIDE = (Path(__file__).parents[3] / "docs" / "qiskit.md").read_text(encoding="utf-8")
SECTION = GUIDE.split("## From a trained model to a job on hardware")[1].split("\n## ")[0]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder of its own, without an account."""
    for name in ("QISKIT_IBM_TOKEN", "QISKIT_IBM_CHANNEL"):
        monkeypatch.delenv(name, raising=False)
    accounts = "qiskit_ibm_runtime.accounts.management._DEFAULT_ACCOUNT_CONFIG_JSON_FILE"
    monkeypatch.setattr(accounts, str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)


def test_a_trained_model_runs_on_a_fake_backend_and_its_files_on_the_command_line(place, capsys):
    names = {"jax": jax, "np": np, "qj": qj}  # imported further up on the page
    for code in re.findall(r"```python\n(.*?)```", SECTION, flags=re.DOTALL):
        exec(code, names)
    job = names["job"]
    lines = capsys.readouterr().out.splitlines()[1:]
    assert len(lines) == 6 and all("±" in line for line in lines)
    # Trained: the first angle is the larger one in the second input alone, whose label is +1.
    assert np.sign(job.exact[:, 0]).tolist() == [-1, 1, -1]
    assert np.sign(job.evs[:2, 0]).tolist() == [-1, 1]
    assert Path("runs/ibm", f"{job.job_id}.json").exists()

    commands = re.findall(r"^qjaxsim (ibm .*)$", SECTION, flags=re.MULTILINE)
    ends = ["needs an IBM Quantum account", "needs an IBM Quantum account", "has no record of job 'JOB'"]
    for line, end in zip(commands, ends, strict=True):
        assert cli.main(shlex.split(line)) == 2
        assert end in capsys.readouterr().err
    fake = commands[1].replace("ibm_kingston --no-wait", "fake_manila --shots 4000")
    assert cli.main(shlex.split(fake)) == 0
    table = capsys.readouterr().out
    for place, wanted in np.ndenumerate(job.exact):
        assert f"{wanted:.4f}"[:-1] in table, place
