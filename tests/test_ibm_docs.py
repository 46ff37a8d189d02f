"""The guide's section on hardware runs as it stands, and its command lines are real."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from qjaxsim import cli

pytest.importorskip("qiskit_ibm_runtime")
pytest.importorskip("qiskit_aer")

pytestmark = pytest.mark.usefixtures("quick_compiler")

GUIDE = (Path(__file__).parents[1] / "docs" / "qiskit.md").read_text(encoding="utf-8")
SECTION = GUIDE.split("## From a trained model to a job on hardware")[1].split("\n## ")[0]


def test_a_trained_model_runs_on_a_fake_backend(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for code in re.findall(r"```python\n(.*?)```", SECTION, flags=re.DOTALL):
        exec(code, names)
    job = names["job"]
    lines = capsys.readouterr().out.splitlines()[1:]
    assert len(lines) == 6 and all("±" in line for line in lines)
    # Trained: the first angle is the larger one in the second input alone, whose label is +1.
    assert np.sign(job.exact[:, 0]).tolist() == [-1, 1, -1]
    assert np.sign(job.evs[:2, 0]).tolist() == [-1, 1]
    assert (tmp_path / "runs" / "ibm" / f"{job.job_id}.json").exists()


def test_commands_of_the_guide_are_understood(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("QISKIT_IBM_TOKEN", "QISKIT_IBM_CHANNEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(
        "qiskit_ibm_runtime.accounts.management._DEFAULT_ACCOUNT_CONFIG_JSON_FILE", str(tmp_path / "none")
    )
    Path("circuit.qasm").write_text('OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[3];\nh q[0];\ncx q[0],q[2];\n')
    lines = re.findall(r"^qjaxsim (ibm .*)$", SECTION, flags=re.MULTILINE)
    ends = ["needs an IBM Quantum account", "needs an IBM Quantum account", "has no record of job 'JOB'"]
    for line, end in zip(lines, ends, strict=True):
        assert cli.main(shlex.split(line)) == 2
        assert end in capsys.readouterr().err
