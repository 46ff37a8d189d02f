"""The benchmark suite without any peer installed: tables, comparison, targets, files, refusals."""

import json

import numpy as np
import pytest
from qjaxsim_bench import cell, peers, suite, tasks
from qjaxsim_bench.flat import METRICS
from qjaxsim_bench.peers import base
from qjaxsim_bench.problems import PROBLEMS
from qjaxsim_bench.targets import outcomes

from qjaxsim.command import main as cli


def row(peer, median, dtype="double", size="20", problem="layered", status="ok"):
    return {
        "problem": problem,
        "size": size,
        "dtype": dtype,
        "peer": peer,
        "status": status,
        "median": median,
        "compile": 1.0,
        "first": 0.5,
    }


def outcome(rows, work):
    (found,) = [o for o in outcomes(rows) if o.work == work]
    return found


def test_every_problem_makes_tasks_that_ours_takes():
    ours = peers.load(base.OURS)
    for problem in PROBLEMS.values():
        assert problem.quick and problem.full and problem.title
        for size in (*problem.quick, *problem.full):
            task = problem.make(size)
            places = [angle for _, _, angle in task.ops if isinstance(angle, int)]
            n_inputs = task.n_qubits if task.inputs is not None else 0
            assert sorted(set(places)) == list(range(n_inputs + len(task.theta))) or task.kind in ("patches", "qrnn")
            assert all(ours.supports(task, dtype) for dtype in problem.dtypes)
        for target in problem.targets:
            assert target.size in problem.full and target.dtype in problem.dtypes
            assert set(target.peers) <= set(peers.MODULES)


def test_peers_name_their_packages_and_settings():
    for name in peers.MODULES:
        peer = peers.load(name)
        assert peer.name == name and peer.packages and peer.settings and set(peer.dtypes) <= {"single", "double"}


def test_the_qft_task_is_the_fourier_transform():
    from qjaxsim_bench.peers.ours import prepare

    n = 4
    work = prepare(tasks.qft(n), "double")
    work.compile()
    angles = 0.1 + 0.37 * np.arange(n)
    start = np.ones(1)
    for angle in angles:
        start = np.kron(start, [np.cos(angle / 2), np.sin(angle / 2)])
    want = np.fft.ifft(start, norm="ortho")
    np.testing.assert_allclose(work.run(), want, atol=1e-14)


def test_a_wrong_result_is_told_from_a_right_one():
    reference = np.array([1.0, 2.0, 3.0])
    assert cell.difference(reference + 1e-12, reference) < cell.TOLERANCE["double"]
    assert cell.difference(reference + 1e-4, reference) > cell.TOLERANCE["single"]
    assert cell.difference(reference[:2], reference) == float("inf")
    assert cell.difference(reference * np.nan, reference) == float("inf")


def test_compiling_first_and_repeated_calls_are_apart():
    calls = []
    work = base.Work(run=lambda: calls.append("run"), compile=lambda: calls.append("compile"))
    _, times = cell.measure(work, 0.0)
    assert calls == ["compile"] + ["run"] * 4 and times["repeats"] == 3
    assert set(times) == {"compile", "first", "median", "min", "max", "repeats"}
    assert times["min"] <= times["median"] <= times["max"]


def test_no_time_is_taken_of_a_result_that_differs(tmp_path):
    np.save(tmp_path / "reference.npy", np.zeros(16))
    wrong = cell.run("layered", "4", "double", "gate-by-gate", tmp_path / "reference.npy", tmp_path / "x", 0.0)
    assert wrong["status"] == "differs" and "median" not in wrong and "differs from ours by" in wrong["reason"]


def test_a_peer_that_is_missing_or_fails_is_a_row_that_says_so(monkeypatch, tmp_path):
    settings = suite.Settings(("layered",), ("qulacs",), True, 0.0, 30.0)
    monkeypatch.setattr(suite, "missing_package", lambda peer: "qulacs")
    record = suite.run_cell(suite.Cell("layered", "4", "double", "qulacs"), settings, tmp_path)
    assert record == {"status": "not installed", "reason": "qulacs is not installed"}
    monkeypatch.setattr(suite, "missing_package", lambda peer: None)
    (tmp_path / "references").mkdir()
    slow = suite.Settings(("layered",), ("gate-by-gate",), True, 0.0, 0.01)
    record = suite.run_cell(suite.Cell("layered", "4", "double", base.OURS), slow, tmp_path)
    assert record == {"status": "timeout", "reason": "not done within 0.01 s"}


def test_targets_are_met_missed_or_not_measured():
    work = "layered circuit, 20 qubits, double"
    rows = [row(base.OURS, 1.0), row("aer", 1.6), row("qulacs", 9.0), row("pennylane", 0.1)]
    found = outcome(rows, work)  # PennyLane does not count here
    assert (found.status, found.peer, found.ratio) == ("met", "aer", 1.6)
    assert outcome([row(base.OURS, 1.0), row("aer", 1.4)], work).status == "missed"
    assert outcome([row(base.OURS, 1.0), row("aer", 0.1, status="differs")], work).status == "not measured"
    single = "layered circuit, 20 qubits, single"
    rows = [row(base.OURS, 1.0, "single"), row("qulacs", 3.5, "double"), row("aer", 9.0, "double")]
    rows.append(row("aer", 4.0, "single"))
    assert outcome(rows, single).best == 3.5  # no single precision of its own
    first = "exact Hessian, 8 x 3 x 1,024, first call"
    rows = [row(name, 1.0, "single", "8x3x1024", "hessian") for name in (base.OURS, "qujax")]
    assert outcome(rows, first).ours == 1.5


def test_depth_is_flat_or_not():
    low, high = METRICS["memory-depth"].bounds

    def rows(last):
        values = {str(low): 10.0, str(high): last}
        return [
            {"problem": "memory-depth", "size": s, "status": "ok", "values": {"gradient": v, "hvp": v}}
            for s, v in values.items()
        ]

    work = f"memory-depth, hvp, {low} -> {high} layers"
    assert outcome(rows(11.9), work).status == "met"
    assert outcome(rows(12.1), work).status == "missed"
    assert outcome([], work).status == "not measured"


def test_a_small_run_end_to_end_and_resumed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(suite, "PROBLEMS", {"layered": PROBLEMS["layered"]})
    small = suite.PROBLEMS["layered"].__class__(
        "layered", "final state", "qubits", PROBLEMS["layered"].make, ("4",), ("4",), ("double",)
    )
    monkeypatch.setitem(suite.PROBLEMS, "layered", small)
    out = tmp_path / "run"
    command = ["bench", "--quick", "--problems", "layered", "--peers", "gate-by-gate", "--out", str(out)]
    assert cli.main(command) == 0, capsys.readouterr().err
    record = json.loads((out / "bench.json").read_text())
    assert [c["status"] for c in record["cells"]] == ["ok", "ok"]
    assert record["cells"][1]["difference"] < 1e-10
    assert (out / "figures" / "layered.png").read_bytes().startswith(b"\x89PNG")
    page = (out / "report.html").read_text()
    assert "the ratios are the result" in page and "layered circuit, 20 qubits, double" in page
    assert (out / "bench.csv").read_text().count("\n") == 3
    capsys.readouterr()
    before = (out / "cells" / "layered-4-double-gate-by-gate.json").read_text()
    assert cli.main([*command, "--resume"]) == 0
    assert (out / "cells" / "layered-4-double-gate-by-gate.json").read_text() == before
    capsys.readouterr()
    assert cli.main(command) == 2
    assert "already holds results; pass --resume to go on with it or choose another --out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--peers", "qulac"], "Option --peers names 'qulac' (did you mean 'qulacs'?), but only these exist"),
        (["--problems", "vqe"], "Option --problems names 'vqe', but only these exist: hybrid"),
        (["--timeout", "0"], "Option --timeout must be a positive number of seconds, but is 0.0"),
        (["--resume", "--out", "nowhere"], "nowhere has no settings.json; check --out, or leave --resume out"),
    ],
)
def test_bad_input_is_one_line(options, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["bench", *options]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())
