"""The study of the recurrent network: sequences, classical networks, training and resuming, controls, command."""

import contextlib
import dataclasses
import io
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import qjaxsim_data
from jax.flatten_util import ravel_pytree

import qjaxsim as qj
from qjaxsim.command import main as cli
from qjaxsim.common import checkpoint
from qjaxsim.common.progress import Progress
from qjaxsim.models.qrnn import published_loss, simulate
from qjaxsim.models.qrnn_topology import QrnnTopology, load_params, save_params
from qjaxsim.report.verdict import HOLDS, NOT_SEEN, NOT_TESTED, RESERVATION
from qjaxsim.studies.qrnn import training as qrnn_training
from qjaxsim.studies.qrnn.cell import gradient_cell, training_cell
from qjaxsim.studies.qrnn.cells import runs
from qjaxsim.studies.qrnn.claims import claims
from qjaxsim.studies.qrnn.figures import balanced, write_figures
from qjaxsim.studies.qrnn.networks import ClassicalNetwork, QuantumNetwork
from qjaxsim.studies.qrnn.published import comparison_rows
from qjaxsim.studies.qrnn.settings import DEFAULTS, QrnnSettings
from qjaxsim.studies.qrnn.tasks import make_task
from qjaxsim.studies.qrnn.training import Schedule, train
from qjaxsim.studies.shared import sweep
from qjaxsim.training import TrainConfig, fit
from tests.cases import assert_compares_with_itself, mostly_slow, run_lines_of_page

TINY = QuantumNetwork(QrnnTopology(2, 2, 1, 2))


def drawn(name, length, batch=50):
    task = make_task(name, length)
    inputs, targets = task.draw({}, jax.random.key(3), batch)
    assert inputs.shape == targets.shape == (batch, length) and inputs.dtype == targets.dtype == jnp.int32
    assert len(task.counted) == len(task.forced) == length
    return task, np.asarray(inputs), np.asarray(targets)


# --- sequences ----------------------------------------------------------------------------------------------------


def test_memorise_is_two_fixed_sequences():
    task, inputs, targets = drawn("memorise", 6, 2)
    assert inputs.tolist() == [[0, 1, 2, 3, 0, 1], [4] * 6] and (targets == inputs).all()
    assert task.counted.all() and not task.forced.any()


def test_xor_asks_for_the_third_of_each_triple():
    task, inputs, targets = drawn("xor", 11)
    third = np.arange(11) % 3 == 2
    assert (inputs[:, third] == inputs[:, :9:3] ^ inputs[:, 1:9:3]).all() and set(inputs.ravel()) == {0, 1}
    assert (targets[:, third] == inputs[:, third]).all() and (targets[:, ~third] == 2).all()
    assert (task.counted == third).all() and (task.forced == ~third).all()


def test_letters_are_words_whose_consonants_cannot_be_told():
    _, inputs, targets = drawn("letters", 17)
    words = {4: "40", 5: "511", 6: "6222"}
    for row, target in zip(inputs, targets, strict=True):
        text, place = "", 0
        while len(text) < 17:
            text += words[int(row[place])]
            place = len(text)
        assert "".join(map(str, row)) == text[:17]
        assert (target == np.where(row >= 4, 7, row)).all()


@pytest.mark.parametrize("length", [5, 12])
def test_dna_marks_one_base_of_the_first_half(length):
    task, inputs, targets = drawn("dna", length)
    marked = inputs >= 4
    assert (marked.sum(axis=1) == 1).all()
    place = marked.argmax(axis=1)
    assert place.min() >= 1 and place.max() < max(2, length // 2)
    base = inputs[marked] - 4
    for row, p, b in zip(targets, place, base, strict=True):
        assert (row[:p] == 0).all() and row[p] == b + 4 and (row[p + 1 :] == b).all()
    assert task.counted.tolist() == [False] * (length - 1) + [True] and (task.forced == ~task.counted).all()
    _, inputs, targets = drawn("dna-clean", length)
    assert (targets[:, :-1] == 0).all() and (targets[:, -1] == inputs.max(axis=1) - 4).all()


def test_unknown_and_too_short_tasks():
    with pytest.raises(ValueError, match="`name` must be one of .* but is 'copy'"):
        make_task("copy", 10)
    with pytest.raises(ValueError, match="`length` must be at least 5 for dna, but is 4"):
        make_task("dna", 4)


# --- networks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "hidden"), mostly_slow([("lstm", 10), ("rnn", 22)]))
def test_classical_networks_have_888_parameters_and_follow_their_equations(kind, hidden, key):
    network = ClassicalNetwork(kind, 3, hidden)
    params = network.init(key, jnp.float64)
    assert network.n_parameters == 888 == sum(leaf.size for leaf in jax.tree.leaves(params))
    recurrent = np.asarray(params["recurrent"])
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(hidden), atol=1e-12)
    params = {name: value + 0.1 for name, value in params.items()}
    inputs = np.random.default_rng(0).integers(0, 8, (2, 4))
    got = network.log_probabilities(params, jnp.asarray(inputs))
    p = {name: np.asarray(value) for name, value in params.items()}
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    for b in range(2):
        h, c = np.zeros(hidden), np.zeros(hidden)
        for t in range(4):
            total = p["input"][inputs[b, t]] + h @ p["recurrent"] + p["bias"][0] + p["bias"][1]
            if kind == "rnn":
                h = np.tanh(total)
            else:
                i, f, g, o = np.split(total, 4)
                c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
                h = sigmoid(o) * np.tanh(c)
            logits = h @ p["readout"] + p["readout_bias"]
            np.testing.assert_allclose(got[b, t], logits - np.log(np.exp(logits).sum()), atol=1e-12)


# --- training -----------------------------------------------------------------------------------------------------


def test_training_learns_xor_and_each_seed_stops_by_itself():
    network = QuantumNetwork(QrnnTopology(2, 4, 1, 3))
    schedule = Schedule(batch_size=16, updates=300, threshold=0.2, validation_size=16)
    result = train(network, make_task("xor", 9), schedule, [0, 1], [0.02, 0.02])
    assert result.reached.all() and (result.updates < 300).all()
    final = result.history["validation_loss"][-1]
    assert (final < 0.2).all() and result.history["validation_loss"][0].min() > 0.2
    assert result.params["work"].shape == (2, 1, 4, 26)


@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 1.0), ("rmsprop", 0.1), ("adam", 0.1), ("lbfgs", 1.0)])
def test_optimisers_descend_a_shallow_valley(optimizer, rate):
    transformation = qrnn_training.transformation(Schedule(optimizer=optimizer))
    point = np.array([3.0, -2.0])
    state = transformation.init(jnp.asarray(point))
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for _ in range(15):
            steps, state = transformation.update(jnp.asarray(0.1 * point), state, jnp.asarray(point))
            point = point - rate * np.asarray(steps)
    assert np.linalg.norm(point) < 0.8 * math.hypot(3, 2)


def test_gradients_are_clipped_to_one_half():
    transformation = qrnn_training.transformation(Schedule(optimizer="sgd"))
    long, short = jnp.array([30.0, -40.0]), jnp.array([0.1, 0.2])
    np.testing.assert_allclose(transformation.update(long, transformation.init(long))[0], [0.3, -0.4])
    assert (transformation.update(short, transformation.init(short))[0] == short).all()


@pytest.mark.slow
def test_baselines_train_on_all_places_and_are_scored(tmp_path):
    (first, *_) = runs(QrnnSettings(task="dna", experiments=("baselines",), lengths=(5,), updates=100).resolved())
    assert first.schedule.updates == 100 and first.learning_rate == 0.01
    assert first.network == ClassicalNetwork("rnn", 3, 22)
    with Progress() as progress:
        result = training_cell(first, make_task("dna", 5), tmp_path, progress, None)
    loss = result.arrays["history_training_loss"]
    assert loss[-1, 0] < loss[0, 0] < 2.1
    row = result.row
    assert row["accuracy_argmax"] > 0.4 and row["accuracy_blanked_inputs"] < 0.4 and row["network"] == "rnn"
    assert "accuracy_all_sampled" not in row and "overhead_peak" not in row


def test_baselines_without_the_leak_train_on_the_last_word_alone(key):
    found = runs(QrnnSettings(task="dna", experiments=("baselines",), lengths=(5,)).resolved())
    settings = {(run.task, run.network.kind): (run.network.counted_only, run.learning_rate) for run in found}
    assert settings == {
        ("dna", "rnn"): (False, 0.01), ("dna", "lstm"): (False, 0.1),
        ("dna-clean", "rnn"): (True, 0.003), ("dna-clean", "lstm"): (True, 0.003),
    }  # fmt: skip
    given = runs(QrnnSettings(task="dna", experiments=("baselines",), lengths=(5,), learning_rate=0.02).resolved())
    assert {run.learning_rate for run in given} == {0.02}
    task, network = make_task("dna-clean", 5), ClassicalNetwork("lstm", 3, 4, counted_only=True)
    inputs, targets = task.draw({}, key, 6)
    params = network.init(key, jnp.float64)
    logs = np.asarray(network.log_probabilities(params, inputs))
    picked = np.take_along_axis(logs, np.asarray(targets)[..., None], axis=-1)[..., 0]
    for counted_only, places in ((True, picked[:, -1]), (False, picked)):
        loss, least = ClassicalNetwork("lstm", 3, 4, counted_only).training_loss(params, task, inputs, targets)
        np.testing.assert_allclose([loss, least], [-places.mean(), np.exp(places.min())], rtol=1e-12)


def test_a_training_killed_and_resumed_equals_one_that_was_not(tmp_path, monkeypatch):
    task = make_task("xor", 6)
    schedule = Schedule(batch_size=4, updates=30, threshold=0.0, validation_size=4)
    whole = train(TINY, task, schedule, [0, 1], [0.01, 0.02])
    monkeypatch.setattr(checkpoint, "SAVES_APART", 0)
    save = checkpoint.Checkpoint.save

    def killed(saved, state, **options):
        save(saved, state, **options)
        if state["done"] == 20:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.Checkpoint, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        train(TINY, task, schedule, [0, 1], [0.01, 0.02], folder=tmp_path)
    assert (tmp_path / qrnn_training.CHECKPOINT).exists()
    monkeypatch.setattr(checkpoint.Checkpoint, "save", save)
    message = r"`folder` must hold this training, .*training\.npz was made with other settings\.spreads \(.*\), seeds "
    with pytest.raises(ValueError, match=message + r"\(\[0, 1\], now \[0, 2\]\); delete it or use another folder"):
        wider = dataclasses.replace(TINY, spreads=(0.2, 0.01, 0.01))
        train(wider, task, schedule, [0, 2], [0.01, 0.02], folder=tmp_path)
    resumed = train(TINY, task, schedule, [0, 1], [0.01, 0.02], folder=tmp_path)
    for a, b in zip(jax.tree.leaves(whole.params), jax.tree.leaves(resumed.params), strict=True):
        assert (a == b).all()
    assert all((whole.history[name] == resumed.history[name]).all() for name in whole.history)
    assert not list(tmp_path.iterdir())


def test_losses_and_projections_that_fail_are_named():
    good = dict.fromkeys(qrnn_training.HISTORY, np.array([0.1, 0.2]))
    active = np.array([True, True])
    bad = {**good, "projection": np.array([0.1, 0.0])}
    with pytest.raises(FloatingPointError, match="projection of seed 5 had probability 0 within 10 updates"):
        qrnn_training.require_going(bad, active, [4, 5], 10)
    with pytest.raises(FloatingPointError, match="training_loss of seed 4 became nan within 10 updates"):
        qrnn_training.require_going({**good, "training_loss": np.array([np.nan, 0.0])}, active, [4, 5], 10)
    qrnn_training.require_going(bad, np.array([True, False]), [4, 5], 10)
    assert qrnn_training.fails(bad).tolist() == [False, True] and not qrnn_training.fails(good).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": "adagrad"}, "`optimizer` must be one of"),
        ({"watched": "test"}, "`watched` must be 'validation' or 'training'"),
        ({"batch_size": 0}, "`batch_size` must be at least 1"),
        ({"updates": 15}, "`updates` must be a multiple of 10"),
        ({"threshold": math.nan}, "`threshold` must be finite"),
    ],
)
def test_bad_schedules(change, message):
    with pytest.raises(ValueError, match=message):
        Schedule(**change)


# --- settings, published numbers, claims --------------------------------------------------------------------------


def test_defaults_have_the_published_parameter_counts():
    for task, parameters in (("memorise", 1162), ("xor", 264), ("letters", 789), ("dna", 837), ("mnist", 1212)):
        (first, *_) = runs(QrnnSettings(task=task).resolved())
        assert first.network.n_parameters == parameters and first.length == DEFAULTS[task].lengths[0]


def test_the_learning_rate_falls_with_the_length_without_the_leak_unless_it_is_given():
    rates = {(run.task, run.length): run.learning_rate for run in runs(QrnnSettings(task="dna").resolved())}
    assert {rates["dna", length] for length in (10, 50, 200, 1000)} == {0.01}
    assert rates["dna-clean", 10] == 0.003 and rates["dna-clean", 200] == 0.04 / 200
    given = runs(QrnnSettings(task="dna", learning_rate=0.02).resolved())
    assert {run.learning_rate for run in given} == {0.02}


def test_every_experiment_has_cells_with_keys_of_their_own():
    for task, names in (
        ("memorise", ("training", "optimizers", "hessian", "neuron")),
        ("xor", ("initial", "topology")),
        ("dna", ("training", "baselines", "gradients")),
    ):
        found = runs(QrnnSettings(task=task, experiments=names).resolved())
        assert {run.experiment for run in found} == set(names)
        assert len({run.key.casefold() for run in found}) == len(found)
        json.dumps([run.settings for run in found])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "quotes"}, "`task` must be one of"),
        ({"experiments": ("train",)}, "`experiments` must hold names of .* but holds 'train'"),
        ({"experiments": ()}, "`experiments` must hold at least one value"),
        ({"optimizer": "adagrad"}, "`optimizer` must be one of"),
        ({"seeds": (1, 1)}, "`seeds` must hold at least one value and none twice"),
        ({"seeds": (-1,)}, "`seeds` must hold numbers of at least 0"),
        ({"learning_rate": 0.0}, "`learning_rate` must be a positive number"),
    ],
)
def test_bad_settings(change, message):
    with pytest.raises(ValueError, match=message):
        QrnnSettings(**change)


def test_published_numbers_agree_with_the_formula_and_each_other():
    paper = qjaxsim_data.load("qrnn")
    for row in paper["parameter_counts"]:
        sizes = {name: row[name] for name in ("width", "workspace", "stages", "degree")}
        assert QrnnTopology(**sizes).n_parameters == row["parameters"]
    lengths = {p["length"] for p in paper["dna_updates"] if p["network"] == "qrnn"}
    assert lengths == {p["length"] for p in paper["dna_updates"] if p["network"] == "lstm"}
    assert min(paper["xor_by_bias"], key=lambda p: p["updates"])["bias"] == pytest.approx(math.pi / 2)
    cells = [p["updates"] for p in paper["letters_cells"]]
    assert cells == sorted(cells) and set(paper["units"]) >= {"loss", "accuracy", "updates"}


def dna_row(task, length, **change):
    return {
        "experiment": "training", "task": task, "length": length, "network": "qrnn", "workspace": 5, "stages": 1,
        "degree": 3, "seeds": 2, "batch_size": 128, "updates": 100.0, "updates_mean": 100.0, "reached": 1.0,
        "threshold": 1e-3, "accuracy_blanked_inputs": 1.0, "accuracy_all_sampled": 0.2, "overhead_peak": 9.0, **change,
    }  # fmt: skip


def test_claims_on_memory_depend_on_the_leak_and_on_the_clean_task():
    leaky = [dna_row("dna", 10), dna_row("dna", 50)]
    clean = {"accuracy_blanked_inputs": 0.25, "accuracy_all_sampled": 0.9}
    flat, memory = claims(leaky)
    assert flat.verdict == HOLDS and memory.verdict == NOT_SEEN and "inputs blanked" in memory.evidence
    assert claims([*leaky, dna_row("dna-clean", 10, accuracy_argmax=0.5)])[1].verdict == NOT_SEEN
    some = claims(
        [*leaky, dna_row("dna-clean", 10, accuracy_argmax=0.99), dna_row("dna-clean", 50, accuracy_argmax=0.3)]
    )
    assert some[1].verdict == RESERVATION
    assert "L 10: 99% after 100 updates, L 50: 30% after 100 updates with words" in some[1].evidence
    assert "at most 20% with all sampled" in some[1].evidence
    honest = [dna_row("dna", 10, **clean), dna_row("dna-clean", 10, accuracy_argmax=0.95)]
    assert claims(honest)[1].verdict == HOLDS
    assert claims([dna_row("dna", 10), dna_row("dna", 50, updates=500.0)])[0].verdict == RESERVATION
    assert claims([dna_row("dna", 10), dna_row("dna", 50, reached=0.5)])[0].verdict == NOT_SEEN
    assert claims(leaky[:1])[0].verdict == claims(leaky[1:])[0].verdict == NOT_TESTED  # growth needs two lengths


def test_comparison_takes_the_published_value_of_the_same_setting():
    found = {row["quantity"]: row for row in comparison_rows([dna_row("dna", 10)])}
    updates = found["updates, dna, L 10, qrnn, W 5 S 1 d 3"]
    assert updates["published"] == 80 and updates["difference"] == 20.0 and updates["comparable"] is True
    blanked = found["accuracy_blanked_inputs, dna, L 10"]
    assert blanked["published"] == 1.0 and blanked["difference"] is None and "batch 32" in blanked["comparable"]
    assert comparison_rows([dna_row("dna-clean", 10)]) == []


def grid_row(bias, spread_phi, updates, reached=1.0):
    more = {"spread_theta": 0.1, "spread_phi": spread_phi, "spread_rotation": 0.01}
    return dna_row("xor", 36, updates=updates, updates_mean=updates, reached=reached) | {
        "experiment": "initial", "bias": bias, **more,
    }  # fmt: skip


def test_marginals_compare_cells_that_differ_by_one_setting_alone():
    rows = [grid_row(0.0, 0.01, 800.0), grid_row(math.pi / 2, 0.01, 300.0), grid_row(math.pi / 2, 1.0, 900.0)]
    assert {bias: len(cells) for bias, cells in balanced(rows, "bias").items()} == {0.0: 1, math.pi / 2: 1}
    assert {spread: cells[0]["updates"] for spread, cells in balanced(rows, "spread_phi").items()} == {
        0.01: 300,
        1: 900,
    }
    assert balanced(rows, "degree") == {3: rows}
    found = {row["quantity"]: row for row in comparison_rows(rows)}
    best = found["updates, xor, all with bias 1.57"]
    assert best["ours"] == 300 and best["published"] == 475 and "over 1 spreads" in best["comparable"]


def test_means_over_topologies_stand_beside_the_published_ones():
    rows = [
        dna_row("letters", 36, updates_mean=updates) | {"experiment": "topology", "workspace": w, "degree": 2}
        for w, updates in ((5, 100.0), (5, 300.0), (6, 50.0))
    ]
    found = {row["quantity"]: row for row in comparison_rows(rows)}
    mean = found["updates, letters, mean of all with workspace 5"]
    assert mean["ours"] == 200 and mean["published"] == 583 and "over 3 topologies" in mean["comparable"]


# --- the study ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The command of a small study, its folder and what it printed."""
    out = tmp_path_factory.mktemp("study") / "run"
    command = ["study", "qrnn", "--task", "xor", "--experiments", "hessian,neuron", "--out", str(out)]
    command += ["--workspace", "2", "--degree", "1", "--seeds", "0,3", "--batch-size", "4", "--updates", "10"]
    command += ["--lengths", "6"]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert cli.main(command) == 0
    return command, out, printed.getvalue()


def test_trained_networks_come_out_of_the_folder(finished):
    _, out, _ = finished
    run = qj.load_run(out)
    (key,) = run
    arrays = sweep.read_arrays(out, key)
    for seed, place in ((None, 0), (3, 1)):
        found = run.cell(key, seed=seed)
        assert found.seed == (0, 3)[place] and found.model == QuantumNetwork(
            QrnnTopology(2, 2, 1, 1), (0.1, 0.01, 0.01)
        )
        x, targets = found.train
        assert x.shape == targets.shape == (512, 6)
        # Lanes set to the targets where the task says so, here everywhere but at the words that are asked for.
        params = {name: arrays[f"params_{name}"][place] for name in found.params}
        first = simulate(found.model.topology, params, x[:4, :2], targets[:4, 1:3])
        np.testing.assert_array_equal(found.predict(x[:4], targets[:4])[:, :2], first.probabilities.argmax(axis=2))
        # Without targets each lane is set to the most probable word.
        free = simulate(found.model.topology, params, x[:4, :-1], choice="argmax")
        np.testing.assert_array_equal(found.predict(x[:4]), free.words)
    assert run_lines_of_page(out / "report.html") == f"{run.cell().predict(run.cell().train[0][:2])}\n"
    more = fit(
        found.loss, found.params, x[:64], targets[:64], TrainConfig(epochs=3, learning_rate=0.05), progress=False
    )
    assert more.history[more.best_epoch]["train_loss"] < more.history[0]["train_loss"]


def test_a_run_is_listed_and_compared(finished, tmp_path):
    assert_compares_with_itself(finished[1], tmp_path / "copy", "accuracy_argmax")


def test_neurons_go_to_qiskit(finished):
    pytest.importorskip("qiskit", reason="needs the qiskit extra")
    from qiskit.quantum_info import Statevector
    from qjaxsim_qiskit import to_qiskit

    found = qj.load_run(finished[1]).cell()
    circuits = found.circuits()
    assert list(circuits) == ["input0", "input1", "output0", "output1", "work0.0", "work0.1"]
    circuit, params = circuits["work0.1"]
    np.testing.assert_array_equal(params["numbers"], found.params["work"][0, 1])
    ours = np.asarray(qj.statevector(circuit)(params)).reshape((2,) * circuit.n_qubits)
    theirs = Statevector(to_qiskit(circuit, params)).data.reshape((2,) * circuit.n_qubits)
    np.testing.assert_allclose(ours, theirs.transpose(), atol=1e-5)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"x": [[0, 1, 4]]}, "`x` must hold words from 0 to 3, but goes from 0 to 4"),
        ({"x": [0, 1, 1]}, r"`x` must hold integers \(B, L\) of L at least 2, but is int64 of shape \(3,\)"),
        ({"x": [[0.0, 1.0]]}, "`x` must hold integers .* but is float64"),
        ({"x": [[0, 1, 1]], "targets": [[2, 2, 1]]}, r"must have one shape \(B, 6\), .* \(1, 3\) and \(1, 3\)"),
    ],
)
def test_bad_sequences(finished, choice, message):
    with pytest.raises(ValueError, match=message):
        qj.load_run(finished[1]).cell().predict(**choice)


def test_choices_that_a_network_does_not_have(finished):
    run = qj.load_run(finished[1])
    with pytest.raises(ValueError, match=r"`seed` must be one of \[0, 3\], but is 1"):
        run.cell(seed=1)
    with pytest.raises(
        TypeError, match=r"`seeds` is none of the choices \['seed', 'data_dir'\] .* \(did you mean 'seed'"
    ):
        run.cell(seeds=3)
    with pytest.raises(ValueError, match="`x` must be left out for neurons, which have no data"):
        run.cell().circuits([[0, 1]])
    with pytest.raises(ValueError, match="'neuron-xor.*' keeps no trained model"):
        run[run.cells[-1]]


def test_a_small_study_from_the_command_line_and_resumed(finished, capsys):
    command, out, shown = finished
    assert "Recurrent quantum network: xor" in shown and "results in" in shown and "claims" not in shown
    rows = json.loads((out / "summary.json").read_text())
    assert [row["experiment"] for row in rows] == ["hessian", "neuron"]
    assert all(json.loads((out / "columns.json").read_text()).values())
    assert {path.name for path in (out / "figures").iterdir()} == {"curves.png", "overhead.png", "spectrum.png"}
    assert "postselection" in (out / "report.html").read_text()
    trained, neuron = rows[0], rows[-1]
    arrays = sweep.read_arrays(out, trained["cell"])
    values = arrays["eigenvalues"]
    assert len(values) == trained["parameters"] and trained["lambda_max"] == values[-1] > 0
    assert trained["trace"] == pytest.approx(values.sum())
    failures = [neuron[f"failure_amplified_{k}"] for k in range(3)]
    assert failures[0] == pytest.approx(1 - neuron["success_postselected"], abs=1e-5) and failures[2] < failures[0] ** 4
    assert neuron["branch_shift_amplified_2"] < 0.3 * neuron["branch_shift_postselected"]
    # Trained parameters can be saved for others.
    topology = QrnnTopology(2, 2, 1, 1)
    path = save_params(out / "weights.npz", topology, {n: arrays[f"params_{n}"][0] for n in topology.shapes})
    assert load_params(path)[0] == topology
    before = (out / "summary.json").read_text()
    assert cli.main([*command, "--resume"]) == 0
    assert (out / "summary.json").read_text() == before
    capsys.readouterr()
    assert cli.main([*command[:-1], "8", "--resume"]) == 2
    assert "resume with the same settings" in capsys.readouterr().err


@pytest.mark.parametrize("network", mostly_slow(["qrnn", "lstm"], keep=1))
def test_gradient_norms_are_of_the_last_word_and_split_at_half_of_the_sequence(network):
    """The whole norm is that of the plain loss; the early part is what the first half's parameters change."""
    sizes = {"lengths": (6,), "seeds": (3,), "batch_size": 4, "workspace": 2, "stages": 0, "degree": 1}
    base = runs(QrnnSettings(task="dna", experiments=("gradients",), **sizes).resolved())
    run, task = next(run for run in base if run.key.startswith(f"gradients-dna-L6-{network}")), make_task("dna", 6)
    result = gradient_cell(run, task)
    root = jax.random.key(3)
    params = run.network.init(jax.random.fold_in(root, 0), jnp.float32)
    inputs, targets = task.draw({}, jax.random.fold_in(root, 1), 4)

    def loss(params):
        if network == "qrnn":
            return run.network.training_loss(params, task, inputs, targets)[0]
        p = jnp.exp(run.network.log_probabilities(params, inputs))[:, -1:]
        return published_loss(p, targets[:, -1:])

    whole = jax.jit(jax.grad(loss))(params)
    np.testing.assert_allclose(result.row["gradient_norm"], np.linalg.norm(ravel_pytree(whole)[0]), rtol=1e-4)
    assert result.arrays["gradient_norms"].shape == (1,)
    # Along the early gradient the loss changes by its norm, when only the first half's parameters move.
    early = result.row["gradient_norm_early"]
    slope = jax.jit(jax.grad(lambda e: run.network.last_loss(e, params, inputs, targets)))(params)
    np.testing.assert_allclose(early, np.linalg.norm(ravel_pytree(slope)[0]), rtol=1e-4)
    exact = {name: value.astype(jnp.float64) for name, value in params.items()}
    ahead, behind = ({name: exact[name] + sign * 1e-4 / early * slope[name].astype(jnp.float64) for name in exact}
                     for sign in (1, -1))  # fmt: skip
    last = jax.jit(run.network.last_loss)
    change = last(ahead, exact, inputs, targets) - last(behind, exact, inputs, targets)
    np.testing.assert_allclose(change, 2e-4 * early, rtol=1e-3)
    assert 0 < early < result.row["gradient_norm"]


def test_figures_of_every_experiment_from_rows_alone(tmp_path):
    curve = np.linspace(1, 0.1, 4)[:, None] * np.ones(2)
    arrays = {"history_validation_loss": curve, "history_projection": curve, "updates": np.array([40, 20])}
    arrays["every"] = np.array(10)
    rows = [dna_row(task, length, accuracy_sampled=1.0) for task in ("dna", "dna-clean") for length in (5, 10)]
    cells = [arrays] * len(rows)
    for experiment, name, values in (
        ("optimizers", "learning_rate", (0.1, 1.0)), ("topology", "workspace", (3, 4)), ("gradients", "length", (5, 9)),
    ):  # fmt: skip
        for value in values:
            more = {"optimizer": "adam", "validation_loss": 0.1, "learning_rate": 0.1}
            more |= {"gradient_norm": 0.2, "gradient_norm_early": 0.1}
            rows.append(dna_row("dna", 5, **more) | {"experiment": experiment, name: value})
            cells.append({})
    rows.append(dna_row("xor", 6) | {"experiment": "hessian"})
    cells.append(arrays | {"eigenvalues": np.array([-1e-3, 0.0, 2.0])})
    made = write_figures(rows, cells, tmp_path)
    names = ["curves", "overhead", "lengths", "controls", "optimizers", "topology", "gradients", "spectrum"]
    assert [figure.path.stem for figure in made] == names
    assert all(figure.path.read_bytes().startswith(b"\x89PNG") and figure.caption for figure in made)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--task", "quotes"], "Option --task must be one of"),
        (["--resume"], "Option --resume needs --out"),
        (["--seeds", "a"], "Option --seeds must be integers"),
        (["--updates", "7"], "Option --updates must be a multiple of 10"),
        (["--workspace", "0"], "Option --workspace must be at least 1"),
    ],
)
def test_bad_input_is_one_line(options, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["study", "qrnn", *options]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not list(tmp_path.iterdir())
