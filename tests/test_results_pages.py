"""Tables of results that are written by hand hold the kept numbers: of the column, images and seeds that they name."""

import json
import re

import numpy as np
import pytest
from qjaxsim_data import load

from docs.make.pages import DOCS
from docs.make.results import KEPT


def kept(name):
    return json.loads((KEPT / f"{name}.json").read_text(encoding="utf-8"))


def rows_of(name):
    """Rows of a published run, of all its pieces."""
    return [row for piece in kept(name)["pieces"] for row in piece["rows"]]


def table(page, *head, row=""):
    """The whole head, and the rows, of the table of a page whose head begins so, and which has such a row."""
    text = (DOCS / page).read_text(encoding="utf-8")
    begins = re.escape(f"| {' | '.join(head)} |")
    found = re.findall(rf"^{begins}.*\n\|[-|]+\|\n(?:\|.*\n)+", text, flags=re.MULTILINE)
    (found,) = [each for each in found if f"\n| {row}" in each]
    whole, _, *rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in found.splitlines()]
    return whole, rows


def says(cell, *values):
    """Whether a cell holds these numbers, each to the last digit that is written."""
    written = cell.split(", ") if len(values) > 1 else [cell.replace(",", "").removesuffix(" %")]
    halves = [0.5001 / 10 ** len(number.partition(".")[2]) for number in written]
    return all(abs(float(number) - value) <= half for number, value, half in zip(written, values, halves, strict=True))


@pytest.mark.parametrize(
    ("cell", "values", "right"),
    [
        ("0.0214", [0.02135], True),
        ("0.0214", [0.02134], False),
        ("96.9 %", [96.92], True),
        ("5,668", [5668], True),
        ("0, 8, 0", [0, 8, 0], True),
        ("19.8, 19.0", [19.81, 19.06], False),
    ],
)
def test_a_cell_is_read_to_its_last_digit(cell, values, right):
    assert says(cell, *values) == right


def test_the_published_model_is_of_the_columns_and_images_that_its_table_names():
    early = kept("hessian_mnist_layers50_cpu")["published_settings"]
    of_all, of_some = (early[f"lambda_max_on_{images}_images"]["lanczos"] for images in (60_000, 2_000))
    runs = {f"seed {early['seed']}": (early["train_loss"], early["test_accuracy"], of_all, of_some)}
    for row in rows_of("published_patches_50_layers"):
        assert (row["layers"], row["lambda_images"], row["curvature_images"]) == (50, 60_000, 2_000)
        if row["patches"] == 4:
            numbers = (row[name] for name in ("train_loss", "test_accuracy", "lambda_max_lanczos", "lambda_max"))
            runs[f"seed {row['seed']}, a later version"] = tuple(numbers)
    paper = load("patches_hessian")
    minimum, largest = (
        next(row for row in paper[name] if (row["patches"], row["layers"]) == (4, 50))
        for name in ("minima", "lambda_max")
    )
    runs["published"] = (minimum["train_loss"], minimum["test_accuracy"], largest["lambda_max"], None)
    (_, *names), rows = table("results/hessian.md", "4 circuits x 50 layers, 50 epochs")
    words = ("training loss", "test accuracy", "largest eigenvalue on all 60,000 images", "the same on 2,000 images")
    assert tuple(row[0] for row in rows) == words
    for at, (_, *cells) in enumerate(rows):
        for run, cell in zip(names, cells, strict=True):
            value = runs[run][at]
            assert cell == "" if value is None else says(cell, value), (words[at], run, cell, value)


def test_class_means_of_the_published_model_are_those_kept():
    found = {row["seed"]: row for row in rows_of("published_patches_50_layers") if row["patches"] == 4}
    assert {row["class_tested"] for row in found.values()} == {9}
    (_, *seeds), rows = table("results/hessian.md", "leading eigenvalues, of nine", "1001")
    names = ("class_removed", "class_removed_permuted", "class_removed_random", "g1_share")
    for name, (_, *cells) in zip(names, rows, strict=True):
        for seed, cell in zip(seeds, cells, strict=True):
            assert says(cell, found[int(seed)][name] * (100 if name == "g1_share" else 1)), (name, seed, cell)


def test_spectra_of_ten_layers_are_those_kept():
    found = kept("hessian_mnist_layers10_cpu")["rows"]
    names = ("lambda_max", "train_loss", "test_accuracy", "outliers_gap")
    for patches, parameters, *cells in table("results/hessian.md", "patches", "parameters")[1]:
        own = [row for row in found if row["patches"] == int(patches)]
        assert [row["seed"] for row in own] == [1001, 1002, 1003]
        assert says(parameters, own[0]["parameters"])
        for name, cell in zip(names, cells, strict=True):
            assert says(cell, *(row[name] for row in own)), (patches, name, cell)


def test_attention_at_the_published_budget_is_that_kept():
    ours = {(row["attention"], row["seed"]): row["test_accuracy"] for row in rows_of("published_attention_50_epochs")}
    mnist = [row for row in load("quantum_annealing_attention")["accuracy"] if row["dataset"] == "mnist"]
    published = {(row["attention"], 1): row["last"] for row in mnist}
    kinds = {"random selection": "random", "annealed": "qama-v2"}
    _, rows = table("results/attention.md", "attention", "seed")
    assert len(rows) == len(ours)
    for words, seed, here, theirs in rows:
        key = kinds.get(words, words), int(seed)
        assert says(here, 100 * ours[key]), (key, here)
        assert says(theirs, 100 * published[key]) if key in published else theirs == "", (key, theirs)


def test_variances_and_accuracies_on_all_images_are_those_kept():
    def mean(name, **settings):
        own = [row for row in found if settings.items() <= row.items()]
        assert [row["seed"] for row in own] == [0, 1, 2, 3, 4]
        return np.mean([row[name] for row in own])

    found = [row for row in rows_of("published_gradient_variance_60000") if row["control"] == "baseline"]
    paper, page = load("gradient_variance"), "results/gradient_variance.md"
    published = {row["batch"]: row["variance"] for row in paper["variance_by_batch"]}
    for batch, first, first_theirs, last, last_theirs in table(page, "batch size (4 qubits, 3 layers)")[1]:
        settings = {"batch": int(batch), "qubits": 4, "layers": 3}
        for epoch, here, theirs in ((1, first, first_theirs), (5, last, last_theirs)):
            assert says(here, mean("grad_var", epoch=epoch, **settings)), (batch, epoch, here)
            assert says(theirs, published[int(batch)][epoch - 1]), (batch, epoch, theirs)
    by_qubits, by_layers = (
        {row[name]: row["accuracy"] for row in paper[f"accuracy_by_{name}"]} for name in ("qubits", "layers")
    )
    for words, here, theirs in table(page, "test accuracy, per cent")[1]:
        qubits, layers = map(int, re.findall(r"\d+", words))
        accuracy = mean("accuracy_test", epoch=5, batch=16, qubits=qubits, layers=layers)
        assert says(here, 100 * accuracy), (words, here)
        assert says(theirs, by_qubits[qubits] if layers == 3 else by_layers[layers]), (words, theirs)


@pytest.mark.parametrize(
    ("page", "head", "words"),
    [
        ("qrnn.md", "length", ("updates, batch 128", "published, batch 128", "RNN: updates", "LSTM: the same")),
        (
            "results/qrnn.md",
            "as published, with the leak: updates until the end",
            ("here, batch 128", "published, batch 128", "RNN of equal size", "LSTM of equal size"),
        ),
    ],
)
def test_updates_on_long_sequences_are_those_kept(page, head, words):
    rows = [row for run in (10, 11, 16) for row in kept("qrnn_study_cpu")[run]["rows"]]
    for length in (200, 1000):
        rows += rows_of(f"published_qrnn_dna_{length}") + rows_of(f"published_qrnn_dna_{length}_baselines")
    rows = [row for row in rows if row["task"] == "dna"]
    assert {(row["batch_size"], row["seeds"], row["reached"]) for row in rows} == {(128, 3, 1.0)}
    ours = {(row["network"], row["length"]): row["updates"] for row in rows}
    paper = {row["length"]: row["updates"] for row in load("qrnn")["dna_updates"] if row["network"] == "qrnn"}
    (_, *lengths), rows = table(page, head, row=words[0])
    for at, length in enumerate(int(each.removeprefix("length ")) for each in lengths):
        wanted = (ours["qrnn", length], paper[length], ours["rnn", length], ours["lstm", length])
        for begins, value in zip(words, wanted, strict=True):
            (cells,) = [cells for name, *cells in rows if name.startswith(begins)]
            assert says(cells[at], value), (begins, length, cells[at])


def test_shots_of_a_noisy_hessian_are_those_kept():
    (run,) = kept("noisy_hessian_mnist_cpu")
    assert {row["evaluations"] for row in run["rows"]} == {1177}
    shots = {row[0]: row[1] for row in table("results/noisy_hessian.md", "on MNIST")[1] if "halves" not in row[0]}
    places = {0.0: "shots of each of 1,177 evaluations", 0.01: "at strength 0.01", 0.1: "at strength 0.1"}
    for strength, begins in places.items():
        noise = "local" if strength else "none"
        own = [r["shots_edge_min"] for r in run["rows"] if (r["noise"], r["strength"]) == (noise, strength)]
        assert len(own) == 3
        (cell,) = [words for name, words in shots.items() if name.startswith(begins)]
        numbers = [
            float(number.replace(",", "")) * (1e6 if million else 1)
            for number, million in re.findall(r"([\d,]*\d)( million)?", cell)
        ]
        wanted = [max(own)] if cell.startswith("up to") else [min(own), max(own)]
        assert numbers == pytest.approx(wanted, rel=0.06), (strength, cell)


def test_accuracies_on_ten_digits_are_those_kept():
    found = [run["rows"][0] for run in kept("qrnn_letters_digits_cpu") if run["rows"][0]["task"] == "mnist"]
    (_, *features), rows = table("qrnn.md", "features", row="coordinates x bits")
    assert len(features) == len(found) == 4
    assert {row["seeds"] for row in found} == {3}
    names = {
        "parameters": "parameters",
        "updates": "updates",
        "Adam's rate": "learning_rate",
        "one network, arg-max: median": "test_accuracy_argmax",
        "one network, arg-max: best": "test_accuracy_argmax_best",
        "one network, sampled: median": "test_accuracy_sampled",
        "three networks, mean distribution": "test_accuracy_ensemble",
        "the table's accuracy": "lookup_accuracy",
    }
    cells = {words: each for words, *each in rows}
    for words, name in names.items():
        for cell, row in zip(cells[words], found, strict=True):
            assert says(cell, row[name] * (100 if "accuracy" in name else 1)), (words, cell, row[name])


def means(rows, *columns, **settings):
    """Means over the rows that have these settings."""
    own = [row for row in rows if settings.items() <= row.items()]
    assert own, settings
    return tuple(float(np.mean([row[name] for row in own])) for name in columns)


def test_healed_perplexities_are_those_kept():
    model = [row for row in rows_of("published_disentangler_healing") if row["part"] == "model"]
    assert {row["dense"] for row in model if "dense" in row} == {98_304}
    for words, *cells in table("results/disentangler.md", "of 98,304 numbers left")[1]:
        numbers, chi = re.fullmatch(r"([\d,]+) \(bond (\d+)\)", words).groups()
        total, *circuits = means(
            model, "total", "perplexity_bond", "perplexity_circuits", method="explicit", chi=int(chi)
        )
        others = [
            means(model, "perplexity_bond", method=m, chi=int(chi))[0] for m in ("mpo-balanced-total", "svd-total")
        ]
        assert says(numbers, total)
        for cell, value in zip(cells, (*circuits, *others), strict=True):
            assert says(cell, value), (words, cell, value)


def test_errors_of_the_encoders_layers_are_those_kept():
    rows = [row for row in rows_of("published_disentangler_encoder") if row["part"] == "layers"]
    names = {
        "query": "attention.self.query",
        "value": "attention.self.value",
        "intermediate (1536 x 384)": "intermediate.dense",
    }
    for words, *cells in table("results/disentangler.md", "layer, bond 16")[1]:
        kind, block = words.split(", ")
        layer = f"encoder.layer.{ {'first block': 0, 'last block': 5}[block] }.{names[kind]}.weight"
        for method, cell in zip(("explicit", "mpo", "svd-total"), cells, strict=True):
            (value,) = means(rows, "error", method=method, layer=layer, source="file", chi=16)
            assert says(cell, value), (words, method, cell, value)


def test_the_healed_encoder_is_that_kept():
    rows = [row for row in rows_of("published_disentangler_encoder_healing") if row["part"] == "model"]
    methods = {
        "SVD": ("svd-total", "bond"),
        "operator on few sites": ("mpo-balanced-total", "bond"),
        "plain operator": ("mpo", "bond"),
        "operator and circuits": ("explicit", "bond"),
        "the same, gates healed, too": ("explicit", "circuits"),
        "nothing": ("zero", None),
        "noise": ("noise", None),
    }
    page = "results/disentangler.md"
    distances = [
        (words, *cells) for words, _, *cells in table(page, "in place of all 18 layers, bond 48, five seeds")[1]
    ]
    kept_neighbours = table(page, "in place of all 18 layers")[1]
    for column, factor, cells in (("distance", 1, distances), ("agreement", 100, kept_neighbours)):
        for words, before, after in cells:
            method, healed = methods[words]
            assert says(before, factor * means(rows, column, method=method)[0]), (words, column, before)
            if healed is None:
                assert after == ""
            else:
                value = factor * means(rows, f"{column}_{healed}", method=method)[0]
                assert says(after, value), (words, column, after, value)


def test_estimators_on_small_tables_are_as_good_as_kept():
    found = kept("own_models_cpu")["rows"]
    estimators = ({"majority", "mean"}, {"logistic regression", "ridge regression"}, {"SVM, RBF"}, {"angle"},
                  {"angle, 3 uploads"}, {"zz"})  # fmt: skip
    for words, *cells in table("own_models.md", "data (samples, features)")[1]:
        data, samples, features = re.match(r"([a-z ]+) \(([\d,]+), (\d+)\)", words).groups()
        for names, cell in zip(estimators, cells, strict=True):
            (row,) = [row for row in found if row["data"] == data and row["estimator"] in names]
            assert says(samples, row["samples"]) and says(features, row["features"])
            mean, _, spread = cell.partition(" ± ")
            assert says(mean, row["mean"]), (words, names, cell)
            assert not spread or says(spread, np.std(row["folds"])), (words, names, cell)


def test_memory_of_a_state_over_devices_is_that_kept():
    found = {row["devices"]: row for row in kept("state_memory_cpu")["rows"]}
    rows = table("large_states.md", "devices", "scratch, MiB")[1]
    assert [int(row[0]) for row in rows] == sorted(found)
    for devices, scratch, exchanges in rows:
        assert says(scratch, found[int(devices)]["scratch_mib"]) and says(exchanges, found[int(devices)]["exchanges"])
