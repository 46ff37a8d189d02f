"""The benchmark suite without any peer installed: tables, comparison, targets, files, refusals."""

import io
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from qjaxsim_bench import families, peers, report, suite, tasks, turns, worker
from qjaxsim_bench.flat import METRICS
from qjaxsim_bench.groups import Cell, Group, Settings
from qjaxsim_bench.peers import base
from qjaxsim_bench.peers.environments import Environments, parsed
from qjaxsim_bench.problems import PROBLEMS
from qjaxsim_bench.targets import outcomes

from qjaxsim.command import main as cli
from qjaxsim.command.bench import PEERS


def row(peer, median, dtype="double", size="20", problem="layered", status="ok", turns=None):
    """A cell's result; with `turns`, (ours, theirs) in each."""
    found = {"problem": problem, "size": size, "dtype": dtype, "peer": peer, "status": status}
    found |= {"median": median, "prepare": 0.25, "compile": 1.0, "first": 0.5, "reason": "it fell over"}
    return found if turns is None else {**found, "turns": turns, "first_turns": turns}


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
            if task.features is not None:
                n_inputs = len(task.features(np, task.inputs[0]))
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
    assert worker.difference(reference + 1e-12, reference) < worker.TOLERANCE["double"]
    assert worker.difference(reference + 1e-4, reference) > worker.TOLERANCE["single"]
    assert worker.difference(reference[:2], reference) == float("inf")
    assert worker.difference(reference * np.nan, reference) == float("inf")


class Side:
    """A worker that takes the seconds that it is given, one after the other, and notes who ran."""

    def __init__(self, name, seconds, log):
        self.name, self.seconds, self.log = name, list(seconds), log

    def runs(self, count):
        self.log.append(self.name)
        return [self.seconds.pop(0) if len(self.seconds) > 1 else self.seconds[0]] * count


def test_both_sides_take_turns_and_the_ratio_is_a_median_over_them():
    log = []
    # After one run to see how long it takes; the machine is twice as slow in the second turn, and once for ours alone.
    ours, theirs = Side("A", [1, 1, 2, 4, 1, 1], log), Side("B", [3, 3, 6, 3, 3, 3], log)
    found = turns.in_turns((ours, theirs), 0.0)
    assert found == [[1, 3]] and log == ["A", "B", "A", "B"]
    found = turns.in_turns((ours, theirs), 1e-9)
    assert len(found) == 1
    assert turns.ratios([[1, 3], [2, 6], [4, 3], [1, 3], [1, 3]]) == {"ratio": 3, "low": 3, "high": 3}
    assert turns.ratios([[1, 2], [1, 3], [1, 4]]) == {"ratio": 3, "low": 2.5, "high": 3.5}
    assert turns.ratios([[2, 3]]) == {"ratio": 1.5, "low": 1.5, "high": 1.5}


def test_short_work_is_repeated_within_a_turn_and_turns_end(monkeypatch):
    counts = []
    side = Side("A", [1e-3], [])
    monkeypatch.setattr(side, "runs", lambda count: counts.append(count) or [1e-3] * count)
    found = turns.in_turns((side,), 1e9)
    assert len(found) == turns.MOST
    assert counts == [1] + [round(turns.TURN / 1e-3)] * turns.MOST


def spinning(folder, body):
    """A worker whose program is `body`, after an answer to its first call."""
    path = folder / "worker.py"
    path.write_text('import sys, time, os\nprint(\'{"status": "ok", "first": 1.0}\', flush=True)\n' + body)
    return turns.started([sys.executable, str(path)], os.environ, 20.0)


def test_a_worker_is_stopped_but_for_its_turns(tmp_path):
    def ticks(pid):
        return sum(int(n) for n in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13])

    body = """
import threading
threading.Thread(target=lambda: [None for _ in iter(int, 1)], daemon=True).start()
for line in sys.stdin:
    print([os.getpid()] * int(line), flush=True)
"""
    with spinning(tmp_path, body) as worker:
        assert worker.found["status"] == "ok"
        (pid,) = worker.runs(1)
        before = ticks(pid)
        time.sleep(0.2)
        assert ticks(pid) - before <= 1
        assert worker.runs(2) == [pid, pid]
    assert not Path(f"/proc/{pid}").exists()


def test_a_worker_that_fails_ends_or_takes_long_says_so(tmp_path):
    with spinning(tmp_path, "sys.stdin.readline(); sys.exit(3)") as worker:
        with pytest.raises(turns.Ended, match="the process ended with exit code 3"):
            worker.runs(1)
        with pytest.raises(turns.Ended, match="the process ended with exit code 3"):
            worker.runs(1)
    failed = 'sys.stdin.readline(); print(\'{"status": "failed", "reason": "no memory"}\', flush=True)'
    with spinning(tmp_path, failed) as worker, pytest.raises(turns.Ended, match="no memory"):
        worker.runs(1)
    with spinning(tmp_path, "time.sleep(99)") as worker:
        worker._timeout = 0.05
        with pytest.raises(turns.Ended, match="not done within 0.05 s"):
            worker.runs(1)


def test_no_time_is_taken_of_a_result_that_differs(tmp_path):
    np.save(tmp_path / "reference.npy", np.zeros(16))
    _, wrong = worker.first_call("layered", "4x1", "double", "gate-by-gate", tmp_path / "reference.npy")
    assert wrong["status"] == "differs" and "first" not in wrong and "differs from ours by" in wrong["reason"]
    _, alone = worker.first_call("layered", "4x1", "double", "gate-by-gate", tmp_path / "missing.npy")
    assert alone["status"] == "ok" and alone["difference"] is None and alone["first"] > 0


def test_a_worker_answers_orders_and_names_what_a_simulator_raises(tmp_path):
    answers = io.StringIO()
    orders = io.StringIO("2\n1\n")
    worker.serve(orders, answers, ["pauli-sum", "4x6", "double", base.OURS, str(tmp_path / "reference.npy")])
    first, *runs = [json.loads(line) for line in answers.getvalue().splitlines()]
    assert first["status"] == "ok" and [len(times) for times in runs] == [2, 1]
    assert np.load(tmp_path / "reference.npy").shape == (6,)
    answers = io.StringIO()
    worker.serve(io.StringIO(), answers, ["layered", "4x1", "double", "nobody", "x"])
    assert json.loads(answers.getvalue()) == {"status": "failed", "reason": "KeyError: 'nobody'"}


def test_a_peer_that_is_missing_or_fails_is_a_row_that_says_so(tmp_path):
    settings = Settings(("layered",), ("qulacs",), True, 0.0, 0.01)
    (tmp_path / "references").mkdir()
    places = Environments({})
    places._versions["qulacs"] = {"qulacs": None}
    with Group(settings, tmp_path, places) as group:
        record = group.run(Cell("layered", "4x1", "double", "qulacs"))
        assert record == {"status": "not installed", "reason": "qulacs is not installed"}
        record = group.run(Cell("layered", "4x1", "double", base.OURS))
        assert record == {"status": "timeout", "reason": "not done within 0.01 s"}


def test_environments_of_their_own_are_asked_for_their_versions(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    places = parsed(f"catalyst={tmp_path}")
    assert places.python("catalyst").startswith(str(tmp_path)) and places.python("aer") == sys.executable
    assert places.versions("catalyst").keys() == {"pennylane-catalyst", "pennylane", "jax"}
    for text in (f"nobody={tmp_path}", f"catalyst={tmp_path}/nowhere", "catalyst"):
        with pytest.raises(ValueError, match="`environments` must be like catalyst=FOLDER .* but one is"):
            parsed(text)


def test_a_peer_without_single_precision_runs_in_double_beside_it():
    task = tasks.layered(4, 1)
    assert [peers.load("qulacs").precision(d) for d in ("single", "double")] == ["double", "double"]
    assert [peers.load("qsimcirq").precision(d) for d in ("single", "double")] == ["single", None]
    assert not peers.load("qsimcirq").supports(task, "double")
    assert not peers.load("qulacs").supports(families.preparation(4), "double")
    assert not peers.load("qujax").supports(families.clifford_t(4, 10_000), "double")


def test_only_what_targets_speak_of_is_run_where_that_is_asked_for(tmp_path):
    settings = Settings(("vqe-hessian", "layered", "evolution"), PEERS, False, 1.0, 1.0, True)
    found = suite.cells(settings, tmp_path)
    assert {(c.size, c.peer) for c in found if c.problem == "vqe-hessian"} == {
        (size, peer) for size in ("6x3", "8x3", "10x4") for peer in (base.OURS, "tensorcircuit")
    }
    wide = [c for c in found if c.problem == "layered" and c.size == "24"]
    assert {c.dtype for c in wide} == {"single"} and {c.peer for c in wide} == {base.OURS, "lightning", "qsimcirq"}
    assert not any(c.problem == "evolution" for c in found)


def test_targets_are_met_missed_or_not_measured():
    work = "layered circuit, 20 qubits, double"
    ours = row(base.OURS, 1.0)
    slow = [[2.0, 3.2], [1.0, 1.6], [4.0, 6.6]]  # ours took longer in these turns than alone
    found = outcome([ours, row("aer", 1.6, turns=slow), row("qulacs", 9.0, turns=[[1.0, 9.0]])], work)
    assert (found.status, found.peer, found.ratio, found.ours, found.best) == ("met", "aer", 1.6, 2.0, 3.2)
    assert found.low <= found.ratio <= found.high == pytest.approx(1.625)
    assert outcome([ours, row("aer", 1.4, turns=[[1.0, 1.4]])], work).status == "missed"
    assert outcome([ours, row("pennylane", 0.1, turns=[[1.0, 0.1]])], work).status == "not measured"
    assert outcome([ours, row("aer", 0.1, status="differs")], work).status == "not measured"
    assert outcome([row(base.OURS, 1.0, status="failed")], work).status == "missed: it fell over"
    first = "exact Hessian, 8 x 3 x 1,024, first call"
    cells = [row(name, 1.0, "single", "8x3x1024", "hessian") for name in (base.OURS, "qujax")]
    assert outcome(cells, first).ours == 1.75


def test_times_that_were_taken_apart_are_read_without_a_spread():
    work = "layered circuit, 20 qubits, double"
    old = [row(base.OURS, 1.0), row("aer", 1.6)]
    found = outcome(old, work)
    assert (found.ratio, found.low, found.status) == (1.6, None, "met")
    table = report.rows({"cells": old})
    assert table[1]["ratio"] == 1.6 and table[1]["low"] is None and table[1]["first_ratio"] == 1


def test_the_second_round_knows_its_problems_and_replaces_its_table():
    import second_round

    assert set(second_round.PROBLEMS) <= set(PROBLEMS)
    assert all(PROBLEMS[name].targets for name in second_round.PROBLEMS)
    page = second_round.PAGE.read_text(encoding="utf-8")
    once = second_round.with_table(page, "| new |\n")
    assert "| new |" in once and second_round.with_table(once, "| newer |\n").count("| new") == 1
    assert once.split(second_round.BEGIN)[0] == page.split(second_round.BEGIN)[0]


def test_a_target_may_be_a_time():
    def found(seconds):
        return outcome([row(base.OURS, seconds, "double", "12x8x24", "qaoa-hessian")], "QAOA Hessian, 16 angles")

    assert (found(0.009).status, found(0.011).status) == ("met", "missed") and found(0.009).target == "<= 0.01 s"


def test_the_table_for_documents_has_what_was_measured():
    cells = [row(base.OURS, 1.0), row("aer", 1.6, turns=[[0.5, 0.8], [0.5, 0.9], [0.5, 1.0]])]
    (line,) = report.markdown({"settings": {"problems": ["layered"]}, "cells": cells}).splitlines()[2:]
    assert line == "| layered circuit, 20 qubits, double | 500 ms | aer 900 ms | 1.80 (1.70 to 1.90) | 1.5, met |"


def test_marks_of_few_lines_are_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "written", lambda figure, *_: figure)
    (figure,) = report.figures({"cells": [row(base.OURS, 1.0), row("aer", 1.6)]}, tmp_path)
    low, high = figure.axes[0].get_ylim()
    assert low <= -0.4 and high >= 1.4  # the lines are at 0 and 1


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
    small = replace(PROBLEMS["layered"], quick=("4x1",), dtypes=("double",))
    monkeypatch.setitem(PROBLEMS, "layered", small)
    out = tmp_path / "run"
    command = ["bench", "--quick", "--problems", "layered", "--peers", "gate-by-gate", "--out", str(out)]
    assert cli.main(command) == 0, capsys.readouterr().err
    record = json.loads((out / "bench.json").read_text())
    assert [c["status"] for c in record["cells"]] == ["ok", "ok"]
    theirs = record["cells"][1]
    assert theirs["difference"] < 1e-10 and len(theirs["turns"]) >= turns.LEAST and len(theirs["first_turns"]) == 1
    assert (out / "figures" / "layered.png").read_bytes().startswith(b"\x89PNG")
    page = (out / "report.html").read_text()
    assert "the ratios are the result" in page and "layered circuit, 20 qubits, double" in page
    assert (out / "bench.csv").read_text().count("\n") == 3
    capsys.readouterr()
    before = (out / "cells" / "layered-4x1-double-gate-by-gate.json").read_text()
    assert cli.main([*command, "--resume"]) == 0
    assert (out / "cells" / "layered-4x1-double-gate-by-gate.json").read_text() == before
    mine, other = (out / "cells" / f"layered-4x1-double-{peer}.json" for peer in (base.OURS, "gate-by-gate"))
    mine.write_text("{}")
    other.unlink()
    (other / "kept").mkdir(parents=True)
    assert cli.main([*command, "--resume"]) == 0, capsys.readouterr().err
    assert [c["status"] for c in json.loads((out / "bench.json").read_text())["cells"]] == ["ok", "ok"]
    assert (out / "cells" / f"{other.name}.damaged1" / "kept").is_dir()
    capsys.readouterr()
    assert cli.main(command) == 2
    assert "already holds results; pass --resume to go on with it or choose another --out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--peers", "qulac"], "Option --peers names 'qulac' (did you mean 'qulacs'?), but only these exist"),
        (["--problems", "vqe"], "Option --problems names 'vqe', but only these exist: hybrid"),
        (["--peers", "aer,aer"], "Option --peers must name at least one and none twice, but is 'aer,aer'"),
        (["--environments", "catalyst=no"], "Option --environments must be like catalyst=FOLDER with a simulator's"),
        (["--timeout", "0"], "Option --timeout must be a positive number of seconds, but is 0.0"),
        (["--resume", "--out", "nowhere"], "nowhere has no file settings.json; check --out, or leave --resume out"),
    ],
)
def test_bad_input_is_one_line(options, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["bench", *options]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())
