"""Handwritten digits for the recurrent network: words, labels of two words, scores, drawing, the study."""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qjaxsim import datasets
from qjaxsim.command import main as cli
from qjaxsim.models.qrnn import simulate
from qjaxsim.models.qrnn_topology import QrnnTopology
from qjaxsim.report.verdict import HOLDS, NOT_SEEN, RESERVATION
from qjaxsim.studies.qrnn import digits as qrnn_mnist
from qjaxsim.studies.qrnn import digits_scores as qrnn_mnist_scores
from qjaxsim.studies.qrnn.cells import runs
from qjaxsim.studies.qrnn.claims import claims
from qjaxsim.studies.qrnn.digits import DigitWords, generation_task, lookup, mnist_task, with_labels
from qjaxsim.studies.qrnn.encoding import Encoding
from qjaxsim.studies.qrnn.networks import ClassicalNetwork, QuantumNetwork
from qjaxsim.studies.qrnn.published import comparison_rows
from qjaxsim.studies.qrnn.settings import QrnnSettings
from qjaxsim.studies.shared import sweep
from tests.cases import mostly_slow

ALL = tuple(range(10))


# --- words --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "sizes"),
    [
        (Encoding(), (2, 100, 1)),
        (Encoding(ALL), (2, 100, 2)),
        (Encoding(ALL, features="pca", coordinates=8, bits=4), (4, 8, 1)),
        (Encoding(ALL, features="tsne", coordinates=2, bits=8), (2, 8, 2)),
        (Encoding(ALL, features="umap", coordinates=3, bits=4), (3, 4, 2)),
        (Encoding(ALL, features="umap", coordinates=4, bits=3), (4, 3, 1)),
        (Encoding((1, 2, 3), features="umap", coordinates=1, bits=5), (1, 5, 2)),
    ],
)
def test_words_of_an_encoding(encoding, sizes):
    assert (encoding.width, encoding.steps, encoding.label_words) == sizes
    count, classes = len(encoding.digits), np.arange(len(encoding.digits))
    words = np.ones((count, encoding.steps), np.int32)
    inputs, targets = (np.asarray(part) for part in with_labels(encoding, words, classes))
    assert inputs.shape == targets.shape == (count, encoding.length)
    assert (inputs[:, : encoding.steps] == 1).all() and (inputs[:, encoding.steps :] == 0).all()
    assert (targets[:, : encoding.steps] == 0).all()
    numbers = [int("".join(format(w, f"0{encoding.width}b") for w in row), 2) for row in targets[:, encoding.steps :]]
    assert numbers == classes.tolist() and targets.max() < 2**encoding.width


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"digits": (3,)}, "`digits` must be two to ten different digits"),
        ({"digits": (3, 10)}, "`digits` must be two to ten different digits"),
        ({"features": "lda"}, "`features` must be one of"),
        ({"features": "tsne", "coordinates": 4, "bits": 2}, "`coordinates` must be from 1 to 3 for features='tsne'"),
        ({"features": "pca", "coordinates": 4, "bits": 9}, "`bits` must be from 1 to 8 for features='pca', but is 9"),
        ({"bits": 2}, "`bits` must be left out for features='pixels'"),
    ],
)
def test_bad_encodings(change, message):
    with pytest.raises(ValueError, match=message):
        Encoding(**change)


def random_words(encoding, seed=0, per_digit=4):
    rng = np.random.default_rng(seed)
    parts = [
        [rng.integers(0, 2**encoding.width, (per_digit, encoding.steps)) for _ in encoding.digits] for _ in range(3)
    ]
    return DigitWords(encoding, *parts, source="random")


def test_labels_are_counted_and_nothing_before_them_is_sampled():
    words = random_words(Encoding(ALL, features="tsne", coordinates=2, bits=3))
    task = mnist_task(words)
    assert task.counted.tolist() == [False] * 3 + [True] * 2 and (task.forced == ~task.counted).all()
    inputs, targets = task.draw(task.arrays, jax.random.key(0), 20)
    classes = 4 * targets[:, 3] + targets[:, 4]
    assert sorted(classes.tolist()) == sorted(2 * list(ALL))
    for row, digit in zip(np.asarray(inputs), classes.tolist(), strict=True):
        assert any((row[:3] == known).all() for known in words.train[digit])


def test_drawing_reads_the_digit_first_and_is_scored_on_the_image():
    words = random_words(Encoding())
    task = generation_task(words)
    inputs, targets = (np.asarray(part) for part in task.held_out(task.arrays, jax.random.key(0), 6))
    assert inputs[:, 0].tolist() == [0, 0, 0, 1, 1, 1] and (inputs[:, 1:] == targets[:, 1:]).all()
    assert task.counted.tolist() == [False] + [True] * 99 and not task.forced.any()
    for row, digit in zip(targets, inputs[:, 0], strict=True):
        assert any((row == known).all() for known in words.validation[digit])


def test_a_table_of_training_sequences_takes_the_commonest_digit():
    rows = [np.array([[k, k]]) for k in range(4)]
    train = [np.concatenate([rows[0], rows[0], rows[1]]), np.concatenate([rows[0], rows[1], rows[1], rows[2]])]
    test = [np.concatenate([rows[0], rows[1]]), np.concatenate([rows[2], rows[3]])]
    words = DigitWords(Encoding(), train, train, test, source="by hand")
    assert lookup(words) == (0.5, 3)
    assert words.duplicates() == [1.0, 0.5]


# --- scores -------------------------------------------------------------------------------------------------------

TWO_WORDS = Encoding(ALL, features="tsne", coordinates=2, bits=3)


def test_label_distributions_are_the_products_of_conditional_ones(key):
    """Each label's words are forced in turn, and their probabilities multiplied."""
    topology, words = QrnnTopology(2, 3, 1, 2), random_words(TWO_WORDS)
    params = jax.vmap(lambda k: topology.init(k, weight_spread=1.0))(jax.random.split(key))
    rows = np.concatenate(words.test)[:6]
    got = qrnn_mnist_scores.label_distributions(QuantumNetwork(topology), mnist_task(words), params, words, rows)
    assert got.shape == (2, 6, 16)
    np.testing.assert_allclose(got.sum(axis=-1), 1, atol=1e-12)
    for seed, label in itertools.product(range(2), (0, 5, 9, 14)):
        inputs, targets = with_labels(TWO_WORDS, rows, np.full(6, label))
        one = {name: value[seed] for name, value in params.items()}
        out = simulate(topology, one, np.asarray(inputs)[:, :-1], np.asarray(targets)[:, 1:])
        np.testing.assert_allclose(got[seed, :, label], out.projection[:, -2:].prod(axis=1), atol=1e-12)


@pytest.mark.slow
def test_a_classical_network_labels_with_independent_words(key):
    network, words = ClassicalNetwork("lstm", 2, 3), random_words(TWO_WORDS)
    params = jax.vmap(lambda k: network.init(k, jnp.float64))(jax.random.split(key, 1))
    rows = np.concatenate(words.test)[:5]
    got = qrnn_mnist_scores.label_distributions(network, mnist_task(words), params, words, rows)
    one = {name: value[0] for name, value in params.items()}
    inputs, _ = with_labels(TWO_WORDS, rows, np.zeros(5, np.int32))
    p = np.exp(network.log_probabilities(one, inputs))[:, -2:]
    np.testing.assert_allclose(got[0].reshape(5, 4, 4), p[:, 0, :, None] * p[:, 1, None, :], atol=1e-12)


def test_columns_count_digits_words_and_votes(monkeypatch):
    words = random_words(TWO_WORDS, per_digit=1)
    p = np.full((3, 10, 16), 0.01)
    guesses = np.tile(ALL, (3, 1))
    # Two of three vote 0 for digit 1, one of them weakly; digit 7 = (1, 3) is taken for (2, 3) by all.
    guesses[:2, 1], guesses[:, 7] = 0, 11
    p[np.arange(3)[:, None], np.arange(10)[None, :], guesses] = 0.85
    p[1, 1, 0], p[1, 1, 1] = 0.45, 0.41
    monkeypatch.setattr(qrnn_mnist_scores, "label_distributions", lambda *_: p)
    row = qrnn_mnist_scores.test_columns(None, None, None, words)
    assert row["test_images"] == 10 and row["test_accuracy_argmax"] == 0.8 and row["test_accuracy_argmax_best"] == 0.9
    assert row["test_accuracy_vote"] == 0.8 and row["test_accuracy_ensemble"] == 0.8
    assert row["test_accuracy_by_digit"] == [1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0]
    # Of seed 0: digit 1 loses its second word, digit 7 its first.
    assert row["test_word_accuracy_argmax"] == pytest.approx(0.9)
    truth = p[:, np.arange(10), np.arange(10)].mean(axis=1)
    assert row["test_accuracy_sampled"] == pytest.approx(np.median(truth))
    split = p.reshape(3, 10, 4, 4)
    first = split.sum(axis=3)[:, np.arange(10), np.arange(10) // 4]
    second = split.sum(axis=2)[:, np.arange(10), np.arange(10) % 4]
    assert row["test_word_accuracy_sampled"] == pytest.approx(np.median((first + second).mean(axis=1) / 2))


def test_drawn_images_begin_with_the_digit_and_are_compared_with_real_ones(key):
    """An untrained network draws each bit by itself: its two scans agree in about half of the pixels."""
    topology, words = QrnnTopology(2, 1, 0, 1), random_words(Encoding())
    params = topology.init(key, bias_spread=0.0, weight_spread=0.0)
    params = {name: value[None] for name, value in params.items()}
    row, arrays = qrnn_mnist_scores.drawn_columns(QuantumNetwork(topology), params, words)
    assert arrays["drawn"].shape == (2, 8, 2, 10, 10) and arrays["drawn"].dtype == bool
    assert arrays["drawn"][:, :, :, 0, 0].all()
    assert row["drawn_agreement"] == pytest.approx(0.5, abs=0.06)
    np.testing.assert_allclose(row["drawn_ink"], 0.5, atol=0.08)
    real = [1 - np.mean(part // 2) for part in words.train]
    np.testing.assert_allclose(row["real_ink"], real)


def test_the_mean_distribution_decides_between_equal_votes():
    p = np.array([[[0.6, 0.4]], [[0.1, 0.9]]])
    assert qrnn_mnist_scores.majority(p.argmax(axis=-1), p).tolist() == [1]
    p = np.array([[[0.9, 0.1]], [[0.4, 0.6]], [[0.4, 0.6]]])
    assert qrnn_mnist_scores.majority(p.argmax(axis=-1), p).tolist() == [1] and p.mean(axis=0).argmax() == 0


# --- the study ----------------------------------------------------------------------------------------------------


def test_settings_of_features_and_grids():
    settings = QrnnSettings(task="mnist", features="umap", digits=ALL).resolved()
    (run,) = runs(settings)
    assert run.network.n_parameters == 713 and run.length == 4 and settings.lengths == (4,)
    sizes = {"coordinates": 3, "bits": 4, "workspace": 7, "degree": 3}
    (run,) = runs(QrnnSettings(task="mnist", features="umap", digits=ALL, **sizes).resolved())
    assert run.network.n_parameters == 3134 and run.length == 6
    (run,) = runs(QrnnSettings(task="mnist", features="tsne", digits=ALL).resolved())
    assert run.network.n_parameters == 3396 and run.schedule.batch_size == 640
    (run,) = runs(QrnnSettings(task="mnist", features="pca", bits=2, digits=ALL).resolved())
    assert run.network.topology.width == 2 and run.length == 10
    (run,) = runs(QrnnSettings(task="mnist-generate").resolved())
    assert run.network.n_parameters == 1212 and run.length == 100
    classical = runs(QrnnSettings(task="mnist", experiments=("baselines",)).resolved())
    assert [run.network.kind for run in classical] == ["rnn", "lstm"]
    for run in classical:
        sizes = [ClassicalNetwork(run.network.kind, 2, hidden).n_parameters for hidden in range(1, 60)]
        assert abs(run.network.n_parameters - 1212) == min(abs(size - 1212) for size in sizes)
    for task, experiment, count in (("xor", "initial", 500), ("letters", "topology", 96)):
        found = runs(QrnnSettings(task=task, experiments=(experiment,), full=True).resolved())
        assert len({run.key.casefold() for run in found}) == len(found) == count


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "xor", "features": "pca"}, "`features` and `deskew` are for tasks on images, but `task` is 'xor'"),
        ({"task": "mnist-generate", "features": "pca"}, "`features` must be 'pixels' for mnist-generate"),
        ({"task": "mnist", "lengths": (50,)}, "`lengths` must be left out for mnist"),
        ({"task": "mnist", "digits": (1,)}, "`digits` must be two to ten"),
        ({"task": "mnist", "experiments": ("hessian",)}, "must not hold 'hessian' for the task 'mnist'"),
    ],
)
def test_bad_settings(change, message):
    with pytest.raises(ValueError, match=message):
        QrnnSettings(**change)


def test_comparison_with_what_is_published_on_the_same_digits_and_features():
    row = {
        "experiment": "training", "task": "mnist", "network": "qrnn", "optimizer": "adam", "seeds": 4,
        "duplicates_in_train": [0.0, 0.5], "test_word_accuracy_sampled": 0.95,
        **{f"test_accuracy_{name}": 0.9 for name in ("sampled", "argmax", "ensemble", "vote")},
    }  # fmt: skip
    found = {one["quantity"]: one for one in comparison_rows([row], Encoding())}
    assert found["test accuracy, ensemble, against ensemble of 4"]["published"] == 0.996
    assert found["test accuracy, argmax, against one network, Adam"]["published"] == 0.992
    assert found["share of test digit 1 in training"]["published"] == 0.53
    tsne = Encoding(ALL, features="tsne", coordinates=2, bits=8)
    found = {one["quantity"]: one for one in comparison_rows([row], tsne)}
    assert found["test word accuracy sampled, against the released model"]["published"] == 0.938
    assert not any("share" in name for name in found)
    assert comparison_rows([row], Encoding(dataset="fashion_mnist")) == []
    (slanted, *_) = comparison_rows([row | {"duplicates_in_train": [0.0, 0.0]}], Encoding((3, 6)))
    assert "deskewed" in slanted["comparable"]
    drawn = {"experiment": "training", "task": "mnist-generate", "network": "qrnn", "drawn_agreement": 0.9}
    best, _ = comparison_rows([drawn | {"validation_loss_best": 0.3}], Encoding(deskew=True))
    assert best["difference"] == pytest.approx(-0.01)


@pytest.mark.parametrize(
    ("sampled", "argmax", "best", "verdict"),
    [(0.97, 0.983, 0.99, HOLDS), (0.96, 0.975, 0.985, RESERVATION), (0.9, 0.93, 0.95, NOT_SEEN)],
)
def test_the_claim_on_digits_holds_within_a_point(sampled, argmax, best, verdict):
    row = {
        "experiment": "training", "task": "mnist", "network": "qrnn", "seeds": 4, "parameters": 1212, "updates": 100.0,
        "test_accuracy_sampled": sampled, "test_accuracy_argmax": argmax, "test_accuracy_argmax_best": best,
        "test_accuracy_ensemble": 0.99, "duplicates_in_train": [0.0, 0.54],
    }  # fmt: skip
    (claim,) = claims([row], Encoding())
    assert claim.verdict == verdict and "54% of a digit's test sequences occur in training" in claim.evidence
    assert claims([row], Encoding((1, 7))) == [] == claims([row])


@pytest.fixture
def blobs(monkeypatch):
    """A small set of images in place of MNIST: digit k is a bright square whose place tells k."""

    def load(name, split, *, data_dir=None):
        labels = np.repeat(np.arange(10, dtype=np.int32), 30)
        images = np.random.default_rng(len(split)).integers(0, 60, (300, 28, 28, 1)).astype(np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[5 + 3 * (label // 4) :, 5 + 4 * (label % 4) :][:7, :7] = 250
        return datasets.Dataset(images, labels, tuple("0123456789"), name, split, "drawn here")

    monkeypatch.setattr(datasets, "load", load)
    monkeypatch.setattr(qrnn_mnist, "VALIDATION_PER_DIGIT", 5)


@pytest.mark.parametrize("split", ["train", "test"])
def test_images_that_the_words_are_not_made_of(monkeypatch, split):
    def load(name, part, *, data_dir=None):
        side = 14 if part == split else 28
        images, labels = np.zeros((30, side, side, 1), np.uint8), np.arange(30, dtype=np.int32) % 3
        return datasets.Dataset(images, labels, tuple("012"), name, part, "drawn here")

    monkeypatch.setattr(datasets, "load", load)
    with pytest.raises(ValueError, match=f"`dataset` must name grey .* mnist for {split}ing have shape 14 x 14 x 1"):
        qrnn_mnist.load_digit_words(Encoding((0, 2)))


@pytest.mark.parametrize(("digits", "has"), [((0, 1), "5 and 3 of 1"), ((0, 2), "9 and 0 of 2")])
def test_too_few_images_of_a_digit(monkeypatch, digits, has):
    def load(name, split, *, data_dir=None):
        labels = np.repeat(np.arange(3, dtype=np.int32), {"train": (9, 5, 9), "test": (3, 3, 0)}[split])
        return datasets.Dataset(np.zeros((len(labels), 28, 28, 1), np.uint8), labels, tuple("012"), name, split, "here")

    monkeypatch.setattr(datasets, "load", load)
    monkeypatch.setattr(qrnn_mnist, "VALIDATION_PER_DIGIT", 5)
    with pytest.raises(ValueError, match=f"`digits` must name digits with more than 5 .* mnist has {has}; choose"):
        qrnn_mnist.load_digit_words(Encoding(digits))


@pytest.mark.parametrize(
    ("options", "expected"),
    mostly_slow(
        [
            (
                ["--task", "mnist", "--digits", "0,1,2,3,4", "--features", "pca", "--coordinates", "3", "--bits", "2"],
                150,
            ),
            (["--task", "mnist-generate", "--deskew"], None),
        ],
        keep=0,
    ),
)
def test_digits_from_the_command_line(options, expected, blobs, tmp_path, capsys):
    command = ["study", "qrnn", *options, "--out", str(tmp_path / "run"), "--seeds", "0,1", "--updates", "10"]
    command += ["--workspace", "1", "--degree", "1", "--batch-size", "6"]
    assert cli.main(command) == 0, capsys.readouterr().err
    (row,) = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert all(json.loads((tmp_path / "run" / "columns.json").read_text()).values())
    figures = {path.name for path in (tmp_path / "run" / "figures").iterdir()}
    if expected is None:
        assert 0 <= row["drawn_agreement"] <= 1 and len(row["drawn_ink"]) == 2 and "drawn.png" in figures
        drawn = sweep.read_arrays(tmp_path / "run", row["cell"])["drawn"]
        assert drawn.shape == (2, 8, 2, 10, 10)
    else:
        assert row["test_images"] == expected and len(row["test_accuracy_by_digit"]) == 5
        assert 0 <= row["test_accuracy_sampled"] <= row["test_word_accuracy_sampled"] <= 1
    assert jnp.isfinite(row["validation_loss"])
