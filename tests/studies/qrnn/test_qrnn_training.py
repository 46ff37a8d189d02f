"""Sequences, classical networks, training and resuming of the recurrent networks."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qjaxsim.common import checkpoint
from qjaxsim.common.progress import Progress
from qjaxsim.models.qrnn_topology import QrnnTopology
from qjaxsim.studies.qrnn import training as qrnn_training
from qjaxsim.studies.qrnn.cell import training_cell
from qjaxsim.studies.qrnn.cells import runs
from qjaxsim.studies.qrnn.networks import ClassicalNetwork, QuantumNetwork
from qjaxsim.studies.qrnn.settings import QrnnSettings
from qjaxsim.studies.qrnn.tasks import make_task
from qjaxsim.studies.qrnn.training import Schedule, train
from tests.cases import mostly_slow

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
