"""The study `gradient-variance` end to end at a small size: results, resume, controls, bad input."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import qjaxsim_data

import qjaxsim as qj
from qjaxsim import datasets
from qjaxsim.command import main as cli
from qjaxsim.report import style
from qjaxsim.studies.gradient_variance import study as gradient_variance
from qjaxsim.studies.gradient_variance.cells import arms
from qjaxsim.studies.gradient_variance.figures import accuracy, write_gradient_figures
from qjaxsim.studies.gradient_variance.figures_controls import _shots
from qjaxsim.studies.gradient_variance.settings import CONTROLS, GradientSettings
from qjaxsim.studies.gradient_variance.tables import accuracy_table, comparability, published, variance_table
from qjaxsim.studies.shared.sweep import read_arrays
from tests.cases import assert_compares_with_itself, run_lines_of_page

pytestmark = pytest.mark.thorough

SMALL = (
    "study", "gradient-variance", "--qubits", "2", "--layers", "1", "--batches", "8,16", "--centre", "2,1,16",
    "--seeds", "5,6", "--images", "40", "--test-images", "20", "--epochs", "2", "--learning-rate", "0.01",
    "--control", "updates", "--hessian", "--hessian-images", "12",
)  # fmt: skip
REQUIRED = (
    "qubits", "layers", "batch", "seed", "epoch", "updates", "grad_mean", "grad_var", "loss", "accuracy_train",
    "accuracy_test",
)  # fmt: skip


def summary(out: Path) -> list[dict]:
    return json.loads((out / "summary.json").read_text())


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """An uninterrupted run."""
    out = tmp_path_factory.mktemp("study") / "run"
    with pytest.MonkeyPatch.context() as patch:
        # Promotion of a command is JAX's standard one.
        patch.setattr("sys.argv", ["qjaxsim", *SMALL])
        assert cli.main([*SMALL, "--out", str(out)]) == 0
    return out


def test_trained_models_come_out_of_the_folder_and_agree_with_aer(finished, capsys):
    rows = [row for row in summary(finished) if row["control"] == "baseline" and row["epoch"] == 2]
    for key, seed in ((None, None), (rows[-1]["cell"], 6)):
        found = qj.load_run(finished).cell(key, seed=seed)
        (row,) = (row for row in rows if (row["cell"], row["seed"]) == (found.key, found.seed))
        x = jnp.asarray(found.examples.x_test, jnp.float32)
        hits = np.asarray(found.model.outputs(found.params, x)).argmax(axis=1) == found.examples.y_test
        assert hits.mean() == pytest.approx(row["accuracy_test"], abs=1e-6)
        # The study's images back to pixels are what a user has.
        pixels = np.rint(16 * found.examples.x_test).astype(np.uint8)
        assert (found.predict(pixels) == found.examples.y_test).mean() == hits.mean()
        with pytest.raises(ValueError, match="they are scaled already"):
            found.predict(found.examples.x_test)
        # Circuit, then post-layer, are the whole model; its loss is the row's.
        circuit, params = found.circuits(pixels)["circuit"]
        values = qj.expectation(circuit, [qj.Z(q) for q in range(circuit.n_qubits)])(params)
        np.testing.assert_allclose(
            found.model.classify(found.params, values), found.model.outputs(found.params, x), rtol=1e-5, atol=1e-5
        )
        assert found.circuits()["circuit"].params.keys() == {"weights"}
        assert float(found.loss(found.params, *found.train)) == pytest.approx(row["loss"], rel=1e-5)
    with pytest.raises(ValueError, match=r"must be a finished cell of .* \(qubits2-layers1-batch16, .*, but is 'nope'"):
        qj.load_run(finished)["nope"]
    with pytest.raises(ValueError, match=r"Argument `seed` must be one of \[5, 6\], but is 7"):
        qj.load_run(finished).cell(seed=7)
    with pytest.raises(ValueError, match="'hessian-qubits2-layers1-batch16' keeps no trained model"):
        qj.load_run(finished)["hessian-qubits2-layers1-batch16"]
    images = datasets.load("digits", "train").images[:5]
    first = qj.load_run(finished).cell().predict(images)
    assert run_lines_of_page(finished / "report.html") == f"{first}\n"
    assert cli.main(["crosscheck", "--model", "patches", "--run", str(finished)]) == 2
    assert "--run must be a results folder of the study 'hessian', but" in capsys.readouterr().err
    words = ["crosscheck", "--model", "hybrid", "--run", str(finished), "--images", "2", "--qnn"]
    assert cli.main(words) == 0
    printed = capsys.readouterr().out
    assert "hybrid, qubits2-layers1-batch16, seed 5: 2 qubits" in printed
    assert "EstimatorQNN: gradients in weights" in printed and printed.rstrip().endswith("agrees")


def test_a_run_is_listed_and_compared(finished, tmp_path):
    assert_compares_with_itself(finished, tmp_path / "copy", "accuracy_test")


def test_rows(finished):
    rows = summary(finished)
    trained = [row for row in rows if row["control"] in ("baseline", "updates")]
    assert len(trained) == 4 * 2 * 2
    for row in trained:
        assert all(isinstance(row[name], int | float) for name in REQUIRED)
        assert row["grad_var"] > 0 and 0 <= row["accuracy_test"] <= 1
    baseline = {(row["qubits"], row["batch"]): row["updates"] for row in trained if row["control"] == "baseline"}
    # 40 images: three updates an epoch at batch 16, five at batch 8.
    assert baseline == {(2, 16): 6, (2, 8): 10}
    columns = json.loads((finished / "columns.json").read_text())
    assert all(columns.values()) and set(columns) == {name for row in rows for name in row}


def test_the_control_compares_equal_updates(finished):
    own = [row for row in summary(finished) if row["control"] == "updates"]
    assert {(row["batch"], row["epoch"], row["updates"]) for row in own} == {
        (8, 1, 5), (8, 2, 10), (16, 1, 5), (16, 2, 10),
    }  # fmt: skip
    for row in own:
        assert read_arrays(finished, row["cell"])["grad_var"].shape == (2, 2, 5)


def test_spectra_of_start_and_end(finished):
    own = [row for row in summary(finished) if row["control"] == "hessian"]
    assert [(row["seed"], row["epoch"], row["updates"]) for row in own] == [(5, 0, 0), (5, 2, 6), (6, 0, 0), (6, 2, 6)]
    arrays = read_arrays(finished, own[0]["cell"])
    for row, name in zip(own, ("5/start", "5/end", "6/start", "6/end"), strict=True):
        assert arrays[name].shape == (row["parameters"],) and arrays[name][-1] == row["lambda_max"]
        assert row["block_difference"] < 1e-9
    assert not np.allclose(arrays["5/start"], arrays["5/end"])


def test_as_many_numbers_of_shots_as_one_likes_are_drawn_apart():
    row = {"batch": 8, "qubits": 2, "layers": 1, "epoch": 1, "grad_var": 0.1}
    rows = [{**row, "control": "baseline"}, *({**row, "control": "shots", "shots": 2**n} for n in range(9))]
    axes = style.new_figure(4, 3).subplots()
    _shots(axes, rows, {"batch": 8, "qubits": 2, "layers": 1})
    assert len({line.get_color() for line in axes.lines}) == len(axes.lines) == 10


def test_figures_and_page(finished):
    page = (finished / "report.html").read_text()
    assert page.count("data:image/") == 5 and 'src="http' not in page
    for name in ("variance", "accuracy", "updates", "controls", "hessian"):
        picture = (finished / "figures" / f"{name}.png").read_bytes()
        assert picture.startswith(b"\x89PNG") and len(picture) > 10_000
    for text in ("Table 2", "Table 3", "Table 4", "Published claims", "data set digits against MNIST"):
        assert text in page
    # Published at 4 qubits and 3 layers, which is not where these sweeps are.
    assert "the largest values of three curves." not in page
    assert "0.003200" not in page and "Published sweeps keep 4 qubits, 3 layers" in page
    assert "Ours are of 2 epochs, published are 5" in page
    assert "qjaxsim study gradient-variance --qubits 2 " in page


@pytest.mark.parametrize(
    ("centre", "along"),
    [((4, 3, 16), {"batch", "qubits", "layers"}), ((4, 3, 8), {"batch"}), ((8, 3, 16), {"qubits"}),
     ((4, 2, 16), {"layers"}), ((2, 2, 16), set())],
)  # fmt: skip
def test_published_numbers_stand_beside_the_sweeps_of_their_sizes(centre, along, finished):
    # Each published table varies one size and keeps the two others at 4 qubits, 3 layers, batch size 16.
    settings = GradientSettings(centre=centre)
    theirs = published(settings)
    tables = {"batch": "variance_by_batch", "qubits": "accuracy_by_qubits", "layers": "accuracy_by_layers"}
    assert {name for name, table in tables.items() if theirs[table]} == along
    assert bool(theirs["largest_variance_by_layers"]) == ("layers" in along)
    assert ("Published sweeps keep" in comparability(settings)) == (centre != (4, 3, 16))
    row = next(row for row in summary(finished) if row["control"] == "baseline")
    rows = [{**row, **dict(zip(("qubits", "layers", "batch"), centre, strict=True))}]
    assert (variance_table(settings, rows, "batch")[0].get("published_1") is not None) == ("batch" in along)
    for name in ("qubits", "layers"):
        assert (accuracy_table(settings, rows, name)[0]["published"] is not None) == (name in along)
    figure = accuracy(rows, dict(zip(("qubits", "layers", "batch"), centre, strict=True)), theirs)
    # Means are drawn beside the seeds of their value, not at the other end of an axis of one value.
    assert all(np.ptp(one.get_xlim()) >= 1 for one in figure.axes)
    axes = dict(zip(("qubits", "layers"), figure.axes, strict=True))
    drawn = {name for name, one in axes.items() if "published" in one.get_legend_handles_labels()[1]}
    assert drawn == along - {"batch"}


def test_captions_name_what_is_published_where_it_is_drawn(finished, tmp_path, monkeypatch):
    small = style.png_bytes(style.new_figure(1, 1))
    monkeypatch.setattr(style, "png_bytes", lambda figure: small)
    row = next(row for row in summary(finished) if row["control"] == "baseline")
    steps = read_arrays(finished, row["cell"])
    for centre, said in {
        (4, 3, 16): "Table 2 in the first panel, and in the last the largest values of three curves",
        (4, 3, 8): "published: Table 2 in the first panel. Their data",
        (4, 2, 16): "published: in the last the largest values of three curves, drawn at the last epoch. Their data",
        (2, 2, 16): "",
    }.items():
        sizes = dict(zip(("qubits", "layers", "batch"), centre, strict=True))
        theirs = published(GradientSettings(centre=centre))
        rows = [{**row, **sizes, "layers": layers} for layers in (centre[1], 4)]
        made = write_gradient_figures(rows, tmp_path, centre=sizes, published=theirs, steps=steps, spectra={})
        by_epoch, last, _ = [figure.caption for figure in made]
        assert ("published" in by_epoch) == bool(said) and said in by_epoch
        assert ("Diamonds" in last) == any(theirs[f"accuracy_by_{name}"] for name in ("qubits", "layers"))


def test_a_seed_that_diverges_is_named(tmp_path, capsys):
    words = [*SMALL[: SMALL.index("--learning-rate")], "--learning-rate", "1e38", "--out", str(tmp_path / "run")]
    assert cli.main(words) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: The ") and "of seed 5 is not finite in epoch 1" in last
    assert last.endswith("at learning rate 1e+38; lower --learning-rate.")


@pytest.mark.slow
def test_resumed_is_as_if_uninterrupted(finished, tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    run, calls = gradient_variance._run, []

    def failing(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise RuntimeError("power cut")
        return run(*arguments)

    monkeypatch.setattr(gradient_variance, "_run", failing)
    assert cli.main([*SMALL, "--out", str(out)]) == 1
    assert len(summary(out)) == 2 * 4 and not (out / "report.html").exists()
    assert cli.main([*SMALL, "--out", str(out), "--resume"]) == 0
    assert len(calls) == 3 + 3
    assert summary(out) == summary(finished)
    for cell in {row["cell"] for row in summary(out)}:
        ours, theirs = (read_arrays(folder, cell) for folder in (out, finished))
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    printed = capsys.readouterr().out
    assert "Table 2: mean gradient variance" in printed and "Published claims" in printed


def test_cells_of_all_controls():
    settings = GradientSettings(controls=CONTROLS, hessian=True)
    found = arms(settings, n_images=100)
    keys = [arm.cell.key for arm in found]
    assert len(set(keys)) == len(keys) and len({(arm.control, arm.run) for arm in found}) == len(found)
    baseline = [arm.run for arm in found if arm.control == "baseline"]
    sizes = {(run.qubits, run.layers, run.batch) for run in baseline}
    setting = qjaxsim_data.load("gradient_variance")["setting"]
    q, n, b = (setting["centre"][name] for name in ("qubits", "layers", "batch"))
    assert sizes == (
        {(x, n, b) for x in setting["qubits"]}
        | {(q, x, b) for x in setting["layers"]}
        | {(q, n, x) for x in setting["batch"]}
    )
    by_control = {name: [arm.run for arm in found if arm.control == name] for name in CONTROLS}
    assert {run.batch * run.updates for run in by_control["updates"]} == {25 * x for x in setting["batch"]}
    assert all(run.frozen for run in by_control["scale"])
    assert [run.shots for run in by_control["shots"]] == [128, 1024]
    assert {run.pairing for run in by_control["pairing"]} == {"both", "chain", "ring"}
    assert {run.pre for run in by_control["pre-layer"]} == {"tanh", "conv"}
    assert {run.learning_rate for run in by_control["learning-rate"]} == {1e-4, 1e-2}
    assert [run.qubits for run in by_control["initialisations"]] == [2, 4, 6, 8]
    ends = {(run.qubits, run.layers, run.batch) for run in by_control["pre-layer"]}
    assert ends == {(4, 3, 16), (2, 3, 16), (8, 3, 16), (4, 2, 16), (4, 6, 16), (4, 3, 4), (4, 3, 64)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--qubits", "1,2"), "--qubits must hold numbers of at least 2, but holds 1"),
        (("--layers", "0"), "--layers must hold numbers of at least 1, but holds 0"),
        (("--batches", "4,4"), "--batches must hold at least one value and none twice"),
        (("--batches", "four"), "--batches must be integers separated by commas, but is 'four'"),
        (("--batches", "4,2000"), "--batches must hold at most the number of training images, 1438, but holds 2000"),
        (("--centre", "4,3"), "--centre must be qubits (2 or more), layers and batch size, but is [4, 3]"),
        (("--seeds", "-1"), "--seeds must hold numbers of at least 0, but holds -1"),
        (("--images", "5000"), "--images must be at most the 1,438"),
        (("--images", "1"), "--images must be at least 2, but is 1"),
        (("--epochs", "0"), "--epochs must be at least 1, but is 0"),
        (("--learning-rate", "nan"), "--learning-rate must be a positive number, but is nan"),
        (("--pre", "relu"), "--pre must be one of ['linear', 'tanh', 'conv'], but is 'relu'"),
        (("--pairing", "star"), "--pairing must be one of ['alternate', 'both', 'chain', 'ring'], but is 'star'"),
        (("--dtype", "float16"), "--dtype must be one of ['float32', 'float64'], but is 'float16'"),
        (("--control", "luck"), "--control must hold names of ['updates', "),
        (("--shots", "0"), "--shots must hold numbers of at least 1, but holds 0"),
        (("--draws", "3"), "--draws must be at least 20, but is 3"),
        (("--hessian-images", "0"), "--hessian-images must be at least 1, but is 0"),
        (("--dataset", "imagenet"), "imagenet"),
        (("--dataset", "mnist", "--data-dir", "nowhere"), "qjaxsim data prepare mnist"),
        (("--resume",), "--resume needs --out"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(options, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    out = () if "--resume" in options else ("--out", "run")
    assert cli.main(["study", "gradient-variance", *options, *out]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and message in error and "\n" not in error
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_results_is_kept(finished, capsys):
    before = (finished / "summary.json").read_bytes()
    assert cli.main([*SMALL, "--out", str(finished)]) == 2
    assert "already holds results; pass --resume" in capsys.readouterr().err
    assert cli.main([*SMALL, "--pre", "tanh", "--out", str(finished), "--resume"]) == 2
    assert '--pre = "linear", but this one has "tanh"' in capsys.readouterr().err
    assert (finished / "summary.json").read_bytes() == before
