"""`qjaxsim ibm`: tables, exit codes, one line for every error, no token anywhere."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from qjaxsim.command import main as cli

pytest.importorskip("qiskit_ibm_runtime")
pytest.importorskip("qiskit_aer")
from qiskit import QuantumCircuit, qpy  # noqa: E402
from qiskit.circuit import ParameterVector  # noqa: E402
from qjaxsim_qiskit import service  # noqa: E402

PROGRAM = """OPENQASM 2.0;
include "qelib1.inc";
qreg q[3];
creg c[3];
ry(0.7) q[0];
rx(1.9) q[1];
cx q[0], q[2];
rz(0.3) q[2];
measure q -> c;
"""
TOKEN = "t0ken-" + "0123456789abcdef" * 2
QUICK = ("--backend", "fake_manila", "--shots", "100")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder of its own, without an account."""
    for name in [name for name in os.environ if name.startswith("QISKIT_IBM")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(
        "qiskit_ibm_runtime.accounts.management._DEFAULT_ACCOUNT_CONFIG_JSON_FILE",
        str(tmp_path / "home" / "account.json"),
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "three.qasm").write_text(PROGRAM)
    angles = ParameterVector("angles", 2)
    circuit = QuantumCircuit(2)
    circuit.ry(angles[0], 0)
    circuit.ry(angles[1], 1)
    with (tmp_path / "free.qpy").open("wb") as file:
        qpy.dump(circuit, file)
    return tmp_path


def error(capsys, *words):
    """Exit code and the one line of an error."""
    code = cli.main(["ibm", *words])
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1 and "Traceback" not in printed.err
    return code, printed.err.strip()


def records(folder):
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def test_run_prints_a_table_and_leaves_a_record(place, capsys):
    assert cli.main(["ibm", "run", "three.qasm", *QUICK, "--observables", "Z0,X1 + 0.5 Z0 Z2"]) == 0
    text = capsys.readouterr().out
    (record,) = records(place / "runs" / "ibm")
    assert text.startswith(f"job {record['job_id']} on fake_manila, channel local, 100 shots\n")
    assert "three.qasm on fake_manila: qubits" in text and "resilience level 1" in text
    assert [line.split()[0] for line in text.splitlines() if line.startswith(("Z0", "X1"))] == ["Z0", "X1"]
    assert f"record in runs/ibm/{record['job_id']}.json" in text
    np.testing.assert_allclose(record["exact"], [np.cos(0.7), 0.5], atol=1e-12)
    assert record["status"] == "done" and record["observables"] == ["Z0", "X1 + 0.5 Z0 Z2"]
    assert cli.main(["ibm", "fetch", record["job_id"]]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == text.splitlines()[2:]


def test_run_counts(place, capsys):
    assert cli.main(["ibm", "run", "three.qasm", *QUICK, "--counts", "--out", "here"]) == 0
    text = capsys.readouterr().out
    assert "outcome" in text and "total variation distance from the exact distribution: 0." in text
    (record,) = records(place / "here")
    assert sum(record["counts"][0].values()) == 100


def test_default_observables_and_parameters_of_a_file(place, capsys):
    np.savez(place / "p.npz", angles=np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]))
    assert cli.main(["ibm", "run", "free.qpy", *QUICK, "--params", "p.npz", "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "dry run: nothing was submitted" in text
    lines = [line.split() for line in text.splitlines() if line.startswith(("0 ", "1 ", "2 "))]
    wanted = [[str(row), f"Z{q}"] for row in range(3) for q in range(2)]
    assert [line[:2] for line in lines] == wanted
    angles = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    assert [line[-3] for line in lines] == [f"{np.cos(angle):.4f}" for angle in angles]
    assert not (place / "runs").exists()


def test_random_parameters_follow_their_seed(capsys):
    texts = []
    for seed in ("3", "3", "4"):
        assert cli.main(["ibm", "run", "free.qpy", *QUICK, "--random-params", seed, "--dry-run"]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] != texts[2]


def test_backends(capsys):
    assert cli.main(["ibm", "backends", "--channel", "local"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    (manila,) = [line for line in lines if line and line[0] == "fake_manila"]
    assert manila[1] == "5" and "cx" in manila


def test_help_without_a_command(capsys):
    assert cli.main(["ibm"]) == 0
    assert "fetch" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "three.qasm"), "Missing option '--backend'"),
        (("run", "none.qasm", *QUICK), "Argument FILE must be a file, but 'none.qasm' is none"),
        (("run", "three.qasm", *QUICK, "--observables", "Z7"), "acts on qubit 7, but the circuit has 3 qubits"),
        (("run", "three.qasm", *QUICK, "--observables", "Z0", "--counts"), "Give either --counts or --observables"),
        (("run", "free.qpy", *QUICK), "The circuit has free parameters, angles: give --params FILE or --random-params"),
        (("run", "free.qpy", *QUICK, "--params", "p.npz", "--random-params", "1"), "Give either --params or --random"),
        (("run", "three.qasm", *QUICK, "--channel", "ibm_quantum"), "ibm_quantum_platform took its place"),
        (("run", "three.qasm", "--backend", "fake_armonk"), "The circuit has 3 qubits, but backend fake_armonk has 1"),
        (("run", "three.qasm", "--backend", "fake_nope"), "'fake_nope' is none"),
        (("run", "three.qasm", *QUICK, "--resilience-level", "5"), "resilience_level: Input should be 0, 1 or 2"),
        (("run", "three.qasm", *QUICK, "--mode", "turbo"), "must be one of job, session, batch, but is 'turbo'"),
        (("run", "three.qasm", *QUICK, "--no-wait"), "must be true in local mode"),
        (
            ("run", "three.qasm", "--backend", "ibm_kingston"),
            "needs an IBM Quantum account, but none was found; save an",
        ),
        (("backends",), "save_account(token="),
        (("fetch", "a.b"), "must be letters, digits, - and _, but is 'a.b'"),
        (("fetch", "ab"), "has no record of job 'ab'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(words, message, capsys):
    code, line = error(capsys, *words)
    assert code == 2 and line.startswith("error: ") and message in line


def test_the_closed_channel_in_the_environment(capsys, monkeypatch):
    monkeypatch.setenv("QISKIT_IBM_CHANNEL", "ibm_quantum")
    code, line = error(capsys, "backends")
    assert code == 2 and "Option --channel, or QISKIT_IBM_CHANNEL, must be one of" in line


def test_a_missing_package_names_the_extra(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "qiskit_ibm_runtime", None)
    code, line = error(capsys, "run", "three.qasm", *QUICK)
    assert code == 2 and 'pip install -e ".[ibm]" in a clone of qjaxsim' in line


# --- tokens ------------------------------------------------------------------------------------------------------


def test_a_refused_token_is_one_line_without_it(capsys, monkeypatch):
    from qiskit_ibm_runtime.accounts import InvalidAccountError, account

    def refuse(self):
        raise InvalidAccountError(f"Unable to retrieve instances for {self.token}.")

    monkeypatch.setenv("QISKIT_IBM_TOKEN", TOKEN)
    monkeypatch.setattr(account.Account, "list_instances", refuse)
    for words in (("run", "three.qasm", "--backend", "ibm_kingston"), ("backends", "--channel", "ibm_cloud")):
        code, line = error(capsys, *words)
        assert code == 2 and "IBM refused the account or its token, or could not be reached; save an" in line
        assert TOKEN not in line
    assert cli.main(["--debug", "ibm", "backends"]) == 2
    assert TOKEN not in "".join(capsys.readouterr())


def test_messages_of_the_service_lose_the_token(monkeypatch):
    from qiskit_ibm_runtime.exceptions import IBMRuntimeError

    monkeypatch.setenv("QISKIT_IBM_TOKEN", TOKEN)
    with (
        pytest.raises(RuntimeError, match=r"^Submitting failed: 401 for \(token\)\.$"),
        service.plain_errors("Submitting"),
    ):
        raise IBMRuntimeError(f"401 for\n{TOKEN}.")


def test_a_token_of_the_environment_is_in_no_output_and_no_file(place):
    command = [
        str(Path(sys.executable).with_name("python")),
        "-m",
        "qjaxsim.command.main",
        "--debug",
        "ibm",
        "run",
        "three.qasm",
    ]
    done = subprocess.run(
        [*command, *QUICK], env={**os.environ, "JAX_PLATFORMS": "cpu", "QISKIT_IBM_TOKEN": TOKEN}, capture_output=True
    )
    assert done.returncode == 0 and b"record in" in done.stdout
    assert TOKEN.encode() not in done.stdout + done.stderr
    written = [path for path in place.rglob("*") if path.is_file()]
    assert any(path.parent.name == "ibm" for path in written)
    assert not [path for path in written if TOKEN.encode() in path.read_bytes()]
