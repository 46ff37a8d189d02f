"""The study `disentangler` of a published encoder: distances by NumPy, healing, resuming, report, refusals."""

import json
import re
from dataclasses import replace

import jax
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.command import main as cli
from qjaxsim.common.progress import Progress
from qjaxsim.datasets.text import load_text, sentences
from qjaxsim.datasets.weights import LoadedMatrix
from qjaxsim.models.disentangler.low_rank import svd_layer
from qjaxsim.studies.disentangler.columns import COLUMNS
from qjaxsim.studies.disentangler.encoder_cell import EncoderCells
from qjaxsim.studies.disentangler.healing import heal
from qjaxsim.studies.disentangler.settings import DisentanglerStudySettings
from qjaxsim.studies.disentangler.study import STUDY
from qjaxsim.studies.shared import sweep
from qjaxsim.studies.shared.study import run_study
from tests.cases import one
from tests.encoders import by_hand, small_arrays, write_encoder

pytestmark = pytest.mark.thorough

VALUE, UP = "encoder.layer.1.attention.self.value", "encoder.layer.0.intermediate.dense"
SMALL = DisentanglerStudySettings(
    layers=(VALUE, UP), parts=("layers", "model"), chi=(2,), depths=(2,), sweeps=3, heal_updates=3, batch_size=4,
    context=8, test_windows=20, balanced_sites=2, healing=("bond",),
)  # fmt: skip


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    rng = np.random.default_rng(0)
    words = ("one", "two", "three", "four", "five", "fourteen")
    made = [" ".join(rng.choice(words, rng.integers(5, 9))) + ".\n\n" for _ in range(300)]
    path = tmp_path_factory.mktemp("text") / "t.txt"
    path.write_text("".join(dict.fromkeys(made)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("encoder") / "small")


@pytest.fixture(scope="module")
def study(tmp_path_factory, encoder, text):
    out = tmp_path_factory.mktemp("study") / "out"
    return out, run_study(STUDY, SMALL, out, text=text, encoder=encoder).rows


@pytest.fixture(scope="module")
def cells(tmp_path_factory, encoder, text):
    return EncoderCells(SMALL, tmp_path_factory.mktemp("cells"), Progress(), encoder, text)


def test_distances_and_neighbours_are_those_of_numpy(study, cells, text):
    layer = one(study[1], part="layers", layer=VALUE, method="zero", source="trained")
    wanted = load_text(text)
    assert len(sentences(wanted.decode(wanted.test))) >= 20
    tokens = cells.sentences.test
    assert tokens.shape == (20, 8)
    arrays = small_arrays()
    before, after = (
        np.array([by_hand(these, row[row != 0]) for row in tokens])
        for these in (arrays, arrays | {f"{VALUE}.weight": np.zeros((8, 8))})
    )
    assert layer["distance"] == pytest.approx(1 - (before * after).sum(1).mean(), abs=1e-6)
    same = []
    for place in range(20):
        others = [other for other in range(20) if other != place]
        was, now = (max(others, key=lambda other: vectors[place] @ before[other]) for vectors in (before, after))
        same.append(was == now)
    assert layer["agreement"] == np.mean(same) < 1
    original = one(study[1], method="original")
    assert original["distance"] == 0 and original["agreement"] == 1
    assert original["model_parameters"] == sum(array.size for array in arrays.values())


def test_weights_are_compressed_once_and_noise_by_seed(study, encoder, text):
    out, rows = study
    assert set().union(*rows) <= set(COLUMNS)
    healed = one(rows, part="model", method="explicit")
    assert healed["seconds"] > 0 and "seconds" not in one(rows, part="model", method="zero")
    assert healed["layer"] == "2 layers" and {"distance_bond", "agreement_bond"} <= set(healed)
    parts = [one(rows, part="layers", layer=n, source="trained", method="explicit", chi=2) for n in SMALL.layers]
    assert healed["total"] == sum(row["total"] for row in parts)
    # What begins as the encoder is has nothing to learn.
    assert not {"dense", "adapter-cayley", "adapter-triangular"} & {row["method"] for row in rows}
    cells = EncoderCells(replace(SMALL, seeds=(1, 2)), out, Progress(), encoder, text).cells
    second = {key for key in cells if key.startswith("s2-")}
    assert not any("trained" in key for key in second)
    assert {key.replace("s2-", "s1-") for key in second} < cells.keys() - second
    # The same operators before, other sentences while healing.
    again = cells["s2-model-all-explicit-chi2-k2-d2"](out).row
    assert again["seed"] == 2 and again["distance"] == healed["distance"]
    assert again["distance_bond"] != healed["distance_bond"]


def test_activation_errors_are_of_the_encoders_inputs(study, cells):
    row = one(study[1], part="layers", layer=UP, method="svd-total", source="trained", chi=2)
    weight = small_arrays()[f"{UP}.weight"].astype(np.float64)
    other = np.asarray(svd_layer(weight, row["rank"]).to_dense())
    seen = jax.jit(lambda params: cells.model.inputs_of(params, cells.sentences.test))(cells.evaluation.params)
    x = np.asarray(seen[UP], np.float64)
    expected = np.linalg.norm(x @ (weight - other).T) / np.linalg.norm(x @ weight.T)
    assert row["activation_error"] == pytest.approx(expected, rel=1e-4)
    first = cells.model.inputs_of(cells.evaluation.params, cells.sentences.test[:1])
    np.testing.assert_allclose(cells.evaluation.inputs[UP], first[UP], atol=1e-5)


def test_healing_brings_sentences_back(cells):
    weight = np.asarray(cells.model.weight(cells.evaluation.params, UP))
    broken = {UP: svd_layer(weight, 1)}
    settings = replace(SMALL, heal_updates=60, heal_learning_rate=1e-2)
    healed = heal(cells.evaluation, broken, "bond", settings, 1, Progress())
    before, after = (cells.evaluation.score({n: o.to_dense() for n, o in which.items()}) for which in (broken, healed))
    assert after["distance"] < 0.7 * before["distance"]
    x, y = cells.evaluation.examples
    assert float(cells.evaluation.loss(cells.evaluation.params, x, y)) == pytest.approx(0, abs=1e-6)


def test_a_folder_has_layers_report_and_resumes(study, encoder, text):
    out, rows = study
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))["settings"]
    assert config["encoder"] == "small" and len(config["encoder_sha256"]) == 64
    assert config["sentences"]["test"] == 20 and config["layer_shapes"][UP] == [16, 8]
    key = f"s1-layers-{UP}-trained-explicit-k2-d2"
    found = qj.load_run(out).cell(key, chi=2)
    row = one(rows, part="layers", layer=UP, source="trained", method="explicit", chi=2)
    weight = small_arrays()[f"{UP}.weight"]
    distance = np.linalg.norm(weight - found.predict(np.eye(8)).T) / np.linalg.norm(weight)
    assert distance == pytest.approx(row["error"], rel=1e-4)
    assert {path.stem for path in (out / "figures").glob("*.png")} == {"errors", "profile", "model"}
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "nearest neighbours kept" in page and "mean distance of sentences" in page
    (sweep.cell_folder(out, key) / "result.json").unlink()
    again = run_study(STUDY, SMALL, out, text=text, encoder=encoder, resume=True).rows
    for before, after in zip(rows, again, strict=True):
        assert {k: v for k, v in before.items() if k != "seconds"} == {k: v for k, v in after.items() if k != "seconds"}
    other = write_encoder(encoder.parent / "other", arrays=small_arrays(1))
    with pytest.raises(ValueError, match="holds a sweep with .*encoder"):
        run_study(STUDY, SMALL, out, text=text, encoder=other, resume=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "--epochs 2",
            "Option --epochs has an effect only without --weights and without --encoder, but --encoder is given; leave",
        ),
        ("--adapter-block 2", "Option --adapter-block has an effect only"),
        ("--context 13", "Option --context must be at most the 12 tokens that the encoder takes, but is 13"),
        ("--layers block0.value", "--layers must name .*encoder.layer.0.attention.self.query.* but has 'block0.value'"),
        ("--weights w.npy", "Option --encoder has an effect only without .*weights"),
        ("--test-windows 999999", "--test-windows must be at most the .* sentences of the text's test part, but is"),
        ("--test-windows 2", "Option --test-windows must be at least 3 with an encoder, but is 2"),
        ("--chi 99", "Option --chi must be at most the 8 of a full bond"),
    ],
)
def test_what_does_not_go_together(encoder, tmp_path, capsys, words, message):
    np.save(tmp_path / "w.npy", np.eye(4))
    given = words.replace("w.npy", str(tmp_path / "w.npy")).split()
    assert cli.main(["study", "disentangler", "--encoder", str(encoder), "--out", str(tmp_path / "o"), *given]) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert re.search(message, shown), shown


def test_a_folder_that_is_none_and_a_text_without_sentences(encoder, tmp_path, capsys):
    assert cli.main(["study", "disentangler", "--encoder", str(tmp_path), "--out", str(tmp_path / "o")]) == 2
    assert "Option --encoder must be a folder with config.json" in " ".join(capsys.readouterr().err.split())
    matrix = LoadedMatrix(np.eye(4), "w", "out-in", "asked")
    with pytest.raises(ValueError, match="`encoder` must be left out with `loaded`"):
        run_study(STUDY, SMALL, tmp_path / "o", encoder=encoder, loaded=matrix)
    text = tmp_path / "t.txt"
    text.write_text("one two " * 100, encoding="utf-8")
    with pytest.raises(ValueError, match="`text` must have 3 sentences of five words in each part, but its train"):
        run_study(STUDY, SMALL, tmp_path / "o", text=text, encoder=encoder)


def test_a_plan_counts_the_encoders_layers(encoder, capsys):
    assert cli.main(["study", "disentangler", "--encoder", str(encoder), "--dry-run", "--parts", "layers"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    # One row a shape: 8 x 8, 16 x 8 and 8 x 16.
    assert all(f"({shape}), bond 2, 2-qubit gates" in shown for shape in ("8 x 8", "16 x 8", "8 x 16"))
