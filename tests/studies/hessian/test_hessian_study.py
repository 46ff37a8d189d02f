"""The study `hessian` end to end at a small size: results, resume after SIGKILL, and bad input at the command line."""

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim import datasets
from qjaxsim.command import main as cli
from qjaxsim.common import memory
from qjaxsim.models.losses import cross_entropy
from qjaxsim.models.patches import readout
from qjaxsim.studies.hessian.examples import HessianExamples
from qjaxsim.studies.hessian.settings import HessianSettings
from qjaxsim.studies.shared import sweep
from qjaxsim.studies.shared.sweep import read_arrays
from qjaxsim.training import TrainConfig, fit
from tests.cases import assert_compares_with_itself, run_lines_of_page

COMMAND = str(Path(sys.executable).with_name("qjaxsim"))
SMALL = (
    "study", "hessian", "--patches", "1,4", "--layers", "1", "--qubits", "2", "--patch-size", "3",
    "--classes", "0,1,2", "--images", "60", "--epochs", "3", "--batch-size", "20", "--scale", "10",
    "--landscape-points", "4",
)  # fmt: skip
ONE_PATCH = ["1" if word == "1,4" else word for word in SMALL[: SMALL.index("--landscape-points")]]
TIMES = ("seconds_train", "seconds_hessian")
REQUIRED = (
    "patches", "layers", "qubits", "parameters", "seed", "images", "epochs", "train_loss", "train_accuracy",
    "test_loss", "test_accuracy", "lambda_max", "lambda_min", "trace", "gn_lambda_max", "residual_norm_ratio",
    "outliers_gap", "near_zero_fraction", "exact_zeros", "seconds_train", "seconds_hessian",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory):
    """The runs of this file start the same programs in new processes: compile them once."""
    folder = tmp_path_factory.mktemp("compiled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QJAXSIM_PROGRAMS", str(folder))
        yield


def start(*arguments: str, **options) -> subprocess.Popen:
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen([COMMAND, *arguments], env=environment, stdout=-1, stderr=-1, text=True, **options)


def summary(out: Path) -> list[dict]:
    """The summary without wall-clock times."""
    rows = json.loads((out / "summary.json").read_text())
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """An uninterrupted run, in this process: what it compiles, the tests use again."""
    out = tmp_path_factory.mktemp("study") / "run"
    with contextlib.redirect_stdout(io.StringIO()) as stdout:
        assert cli.main([*SMALL, "--out", str(out)]) == 0
    (out.parent / "stdout").write_text(stdout.getvalue())
    return out


def test_results_folder(finished):
    rows = json.loads((finished / "summary.json").read_text())
    assert [(row["patches"], row["layers"]) for row in rows] == [(1, 1), (4, 1)]
    for row in rows:
        assert set(REQUIRED) <= row.keys()
        assert row["parameters"] == row["patches"] * (6 * 2 + 2 * 9) + 64
        arrays = read_arrays(finished, row["cell"])
        values = arrays["eigenvalues"]
        assert len(values) == row["parameters"] and values[-1] == row["lambda_max"] and values[0] == row["lambda_min"]
        assert row["trace"] == pytest.approx(values.sum())
        assert row["gn_lambda_max"] == arrays["gn_eigenvalues"][-1]
        assert arrays["gn_eigenvalues"][0] > -1e-9 * row["gn_lambda_max"]
        # 60 images, 3 classes: the Gauss-Newton part has rank 120 at most.
        assert (arrays["gn_eigenvalues"] > 1e-9 * row["gn_lambda_max"]).sum() <= 60 * 2
        assert (
            arrays["history_train_loss"].min() == row["train_loss"] == arrays["history_train_loss"][row["best_epoch"]]
        )
        assert row["train_loss"] < 0.9 * arrays["history_train_loss"][0]
        assert arrays["landscape"].shape == (4, 4) and arrays["trajectory"].shape == (4, 2)
        np.testing.assert_allclose(arrays["eigen_values"], values[::-1][:2], rtol=1e-8)
        # Symmetric about the minimum, where the plane of eigenvectors is nearly quadratic: it rises as said.
        assert arrays["eigen_landscape"].shape == (4, 4) and arrays["eigen_landscape"].min() > 0.9 * row["train_loss"]
        assert row["lambda_max_lanczos"] == pytest.approx(row["lambda_max"], rel=1e-8)
        # By power iteration the largest in magnitude, which may be the lowest eigenvalue, and no closer than it stops.
        ends = [row["lambda_min"], row["lambda_max"]]
        assert min(abs(row["lambda_max_power"] / end - 1) for end in ends) < 0.05 and row["lambda_images"] == 60
        assert 0 < row["gradient_in_top_k"] <= 1 + 1e-9
        assert row["gn_block_lambda_max"] <= row["gn_lambda_max"] * (1 + 1e-12)
        assert row["control"] == "baseline" and row["point"] == "minimum"
        assert_class_means(row, arrays)
    # One 3 x 3 patch in the middle of an 8 x 8 image: the bias of the other 55 pixels does nothing.
    assert rows[0]["exact_zeros"] >= 55 > rows[1]["exact_zeros"]
    config = json.loads((finished / "config.json").read_text())
    assert config["settings"]["seeds"] == [1001] and config["settings"]["epochs"] == 3
    assert "scikit-learn" in config["settings"]["images_source"] and str(finished.parent) not in json.dumps(config)


def assert_class_means(row, arrays):
    """Three classes: projecting out their means, of rank three at most, moves eigenvalues down by three at most."""
    values, tested = arrays["eigenvalues"][::-1], row["class_tested"]
    assert tested == (row["outliers_gap"] or 2)
    np.testing.assert_allclose(arrays["class_values"], values[: len(arrays["class_values"])], rtol=1e-8)
    for name in ("left", "left_permuted", "left_random"):
        left = arrays[f"class_{name}"]
        room = 1e-8 * values[0]
        assert (left <= values[: len(left)] + room).all() and (left >= values[3 : 3 + len(left)] - room).all()
    assert (arrays["class_left_cross"] <= arrays["class_left"] + 1e-8 * values[0]).all()
    assert (arrays["gn_class_left"] <= arrays["gn_eigenvalues"][::-1][: len(arrays["gn_class_left"])] + room).all()
    assert ((arrays["gn_class_shares"] >= 0) & (arrays["gn_class_shares"] <= 1 + 1e-9)).all()
    gap = np.sqrt(values[tested - 1] * values[tested])
    assert row["class_removed"] == tested - (arrays["class_left"][:tested] > gap).sum()
    assert row["class_removed_permuted"] == tested - (arrays["class_left_permuted"][:tested] > gap).sum()
    assert row["class_removed_cross"] >= row["class_removed"] and 0 <= row["gn_class_removed"] <= tested
    assert row["g1_share"] == pytest.approx(arrays["class_shares"][:tested].mean(), rel=1e-9)
    assert min(row[f"g{part}_share"] for part in range(3)) >= 0
    parts = sum(arrays[f"class_{part}"].sum() for part in ("g0", "g1", "g2"))
    assert 0 < parts < arrays["gn_eigenvalues"].sum() and 0 < row["class_overlap"] <= 1 + 1e-9
    assert 0 < row["g1_lambda_max"] == arrays["class_g1"][0] < row["gn_lambda_max"]


def test_trained_models_come_out_of_the_folder(finished):
    rows = json.loads((finished / "summary.json").read_text())
    for key, row in ((None, rows[0]), (rows[1]["cell"], rows[1])):
        found = qj.load_run(finished).cell(key)
        assert (found.key, found.model.n_patches) == (row["cell"], row["patches"])
        x, y = found.train
        loss = cross_entropy(found.model.outputs(found.params, x), y).mean()
        assert float(loss) == pytest.approx(row["train_loss"], rel=1e-12)
        assert float(found.loss(found.params, x, y)) == pytest.approx(row["train_loss"], rel=1e-12)
        # Images as they come, scaled by the model itself.
        test = datasets.load("digits", "test")
        own = np.isin(test.labels, found.labels)
        raw, hits = test.images[own], found.predict(test.images[own]) == test.labels[own]
        assert hits.mean() == pytest.approx(row["test_accuracy"], abs=1e-12)
        np.testing.assert_array_equal(found.predict(raw[..., 0].astype(float)), found.predict(raw))
        assert found.predict(raw[:0]).shape == (0,)
        for images, message in (
            (np.zeros((2, 28, 28)), r"must have shape \(N, 8, 8\)"),
            (raw[0], r"must have shape \(N, 8, 8\)"),
            (raw / 16.0, "they are scaled already, and would be once more; multiply them by 16"),
            (raw * 15.9, "from 0 to 16, but goes from 0 to 254.4"),
            (-1.0 * raw, "must hold pixels from 0 to 16"),
            (raw * np.nan, "finite real numbers"),
        ):
            with pytest.raises(ValueError, match=message):
                found.predict(images)
    with jax.enable_x64(False):  # the study trained in doubles
        assert qj.load_run(finished).cell().params["weights"].dtype == np.float32


def test_circuits_of_a_trained_model_make_its_logits_here_and_in_qiskit(finished):
    pytest.importorskip("qiskit", reason="needs the qiskit extra")
    from qiskit.quantum_info import Statevector
    from qjaxsim_qiskit import assignment, to_qiskit, to_sparse_pauli_op

    found = qj.load_run(finished)["patches4-layers1-seed1001"]
    images = datasets.load("digits", "test").images[:3]
    logits = np.asarray(found.model.outputs(found.params, found.prepare(images)))
    observables = readout(3, 2)
    circuits = found.circuits(images)
    assert list(circuits) == ["patch0", "patch1", "patch2", "patch3"]
    ours = sum(np.asarray(qj.expectation(circuit, observables)(params)) for circuit, params in circuits.values())
    np.testing.assert_allclose(found.model.outputs.scale * ours, logits, rtol=1e-10, atol=1e-10)
    # Weights are put in, data stay open and are bound in Qiskit.
    theirs = np.zeros(3)
    for name, circuit in found.circuits().items():
        exported = to_qiskit(*circuit)
        data = {one: np.asarray(circuits[name].params[one][1]) for one in ("first", "second")}
        assert {str(p).split("[")[0] for p in exported.parameters} == set(data)
        state = Statevector(exported.assign_parameters(assignment(exported, data)))
        theirs += [state.expectation_value(to_sparse_pauli_op(one, 2)).real for one in observables]
    np.testing.assert_allclose(found.model.outputs.scale * theirs, logits[1], rtol=1e-9, atol=1e-9)


def test_training_goes_on_at_the_minimum_of_the_study(finished):
    trained = qj.load_run(finished)["patches4-layers1-seed1001"]
    config = TrainConfig(epochs=1, batch_size=20, learning_rate=0.001)
    result = fit(trained.loss, trained.params, *trained.train, config)
    kept = sweep.read_row(finished, trained.key)["train_loss"]
    assert result.history[0]["train_loss"] == pytest.approx(kept, rel=1e-12)


def test_a_run_is_listed_and_compared(finished, tmp_path):
    assert_compares_with_itself(finished, tmp_path / "copy", "lambda_max")


def test_a_cell_without_what_training_left_says_so(finished, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(finished, out, ignore=shutil.ignore_patterns("trajectory"))
    with pytest.raises(ValueError, match="must hold the parameters after epoch .* bring the cell's folder"):
        qj.load_run(out).cell()


def test_table_figures_and_page(finished):
    printed = (finished.parent / "stdout").read_text()
    row = json.loads((finished / "summary.json").read_text())[1]
    assert f"{row['lambda_max']:.4g}" in printed and "not comparable: data set digits against mnist" in printed
    for name in ("spectra", "class_means", "lambda_max", "landscape", "landscape_eigen", "training"):
        picture = (finished / "figures" / f"{name}.png").read_bytes()
        assert picture.startswith(b"\x89PNG") and len(picture) > 10_000
    page = (finished / "report.html").read_text()
    assert "not comparable: data set digits against mnist" in page and "not comparable: not" not in page
    assert page.count("data:image/") == 6 and "Outliers and class means" in page
    assert "<script src" not in page and "<link" not in page and page.count('class="panels"') == 6
    assert "qjaxsim study hessian --patches 1,4" in page
    images = datasets.load("digits", "train").images[:5]
    assert run_lines_of_page(finished / "report.html") == f"{qj.load_run(finished).cell().predict(images)}\n"


@pytest.mark.slow
def test_run_with_controls(finished, tmp_path, capsys):
    """Of the models of `finished`, whose programs it takes; without planes, and so slow that the losses stay apart."""
    options = (*SMALL[: SMALL.index("--landscape-points")], "--landscape", "none", "--learning-rate", "0.001")
    options = (*options, "--control", "scale,loss,initialisation")
    assert cli.main([*options, "--out", str(tmp_path / "run")]) == 0, capsys.readouterr().err
    rows = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert [(row["control"], row["patches"]) for row in rows] == [
        ("baseline", 1), ("baseline", 4), ("scale", 1), ("loss", 1), ("loss", 4), ("initialisation", 1),
        ("initialisation", 4),
    ]  # fmt: skip
    matched, starts = rows[3:5], rows[5:]
    assert all(row["point"] == "start" and row["best_epoch"] == 0 for row in starts)
    assert starts[1]["lambda_max"] == pytest.approx(matched[1]["lambda_max"], rel=1e-9)
    highest = max(row["train_loss"] for row in rows[:2])
    assert matched[0]["point"] == "matched loss" and matched[0]["train_loss"] == pytest.approx(highest, rel=1e-4)
    # The path of four patches begins below that loss.
    assert matched[1]["point"] == "start" and matched[1]["best_epoch"] == 0 and matched[1]["train_loss"] < highest
    assert rows[2]["scale"] == 2.5
    # Whoever has the highest minimum is matched at its own minimum.
    at = int(np.argmax([row["train_loss"] for row in rows[:2]]))
    assert matched[at]["lambda_max"] == pytest.approx(rows[at]["lambda_max"], rel=1e-3)
    printed = capsys.readouterr().out
    assert "Controls" in printed and "The fall with patches is more than the better fit." in printed
    # Sums of finished Hessians are not kept.
    assert not list((tmp_path / "run").rglob("*_so_far*"))


SECOND = "patches4-layers1-seed1001"


def assert_resumes_to(finished, out, capsys):
    """Going on leaves the first cell alone and ends with the same numbers."""
    first = out / "cells" / "patches1-layers1-seed1001" / "result.json"
    written = first.stat().st_mtime_ns
    assert cli.main([*SMALL, "--out", str(out), "--resume"]) == 0, capsys.readouterr().err
    assert summary(out) == summary(finished)
    assert first.stat().st_mtime_ns == written
    for row in summary(out):
        ours, theirs = (read_arrays(folder, row["cell"]) for folder in (out, finished))
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.thorough
def test_resumed_after_training_is_as_if_uninterrupted(finished, tmp_path, capsys):
    """From what a run leaves that is killed before the second cell's Hessian is there."""
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    for path in (out / "summary.json", out / "report.html", *(out / "cells" / SECOND).iterdir()):
        if path.is_file():
            path.unlink()
    assert (out / "cells" / SECOND / "training" / "checkpoints" / "epoch_0003.npz").exists()
    assert_resumes_to(finished, out, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["training", "hessian"])
def test_killed_and_resumed_is_as_if_uninterrupted(finished, tmp_path, moment, capsys):
    out = tmp_path / "run"
    process = start(*SMALL, "--out", str(out), start_new_session=True)
    checkpoints = out / "cells" / SECOND / "training" / "checkpoints"
    awaited = checkpoints / ("epoch_0001.npz" if moment == "training" else "epoch_0003.npz")
    deadline = time.monotonic() + 240
    while not awaited.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    cell = checkpoints.parent.parent
    assert awaited.exists() and not (cell / "result.json").exists() and not (out / "report.html").exists()
    assert (checkpoints / "epoch_0003.npz").exists() == (moment == "hessian")
    assert_resumes_to(finished, out, capsys)


@pytest.mark.slow
def test_lanczos_agrees_with_the_dense_spectrum(finished, tmp_path, capsys):
    options = ("--spectrum", "lanczos", "--top", "4", "--landscape", "eigen")
    assert cli.main([*ONE_PATCH, *options, "--out", str(tmp_path / "run")]) == 0, capsys.readouterr().err
    assert not list((tmp_path / "run").rglob("*_so_far*"))
    (row,), dense = json.loads((tmp_path / "run" / "summary.json").read_text()), summary(finished)[0]
    assert row["spectrum"] == "lanczos" and row["exact_zeros"] is None
    for name in ("lambda_max", "lambda_min", "gn_lambda_max"):
        assert row[name] == pytest.approx(dense[name], rel=1e-6)
    for name in ("train_loss", "gradient_norm"):
        assert row[name] == pytest.approx(dense[name], rel=1e-9)
    # Random estimates: twenty probes, whose spread is known to about a fifth; eight probes.
    assert row["trace"] == pytest.approx(dense["trace"], abs=5 * row["trace_error"])
    assert row["residual_norm_ratio"] == pytest.approx(dense["residual_norm_ratio"], abs=5 * row["residual_norm_error"])
    arrays = read_arrays(tmp_path / "run", row["cell"])
    exact = read_arrays(finished, row["cell"])["eigenvalues"][::-1][:4]
    np.testing.assert_allclose(arrays["lanczos_values"], exact, rtol=1e-6)
    # The minimum is the middle of the plane of eigenvectors.
    assert np.abs(arrays["eigen_trajectory"][int(arrays["minimum"])]).max() < 1e-9


def test_curvature_is_taken_at_the_best_checkpoint_not_the_last(tmp_path, monkeypatch):
    import jax
    import jax.numpy as jnp

    from qjaxsim.models.losses import cross_entropy
    from qjaxsim.models.patches import PatchesModel
    from qjaxsim.studies.hessian import cell as hessian_cell
    from qjaxsim.studies.shared.sweep import Progress
    from qjaxsim.training import TrainResult

    model = PatchesModel(
        1, 1, 2, image_size=8, patch_size=3, n_classes=3, scale=10.0
    )  # whose programs `finished` takes
    best, last = model.init(jax.random.key(1)), model.init(jax.random.key(2))
    entry = dict.fromkeys(("train_loss", "train_accuracy", "test_loss", "test_accuracy", "seconds"), 0.5)
    flat = np.stack([np.concatenate([p["bias"].reshape(-1), p["weights"].reshape(-1)]) for p in (best, last)])
    trained = TrainResult(last, best, 0, [entry, entry], flat)
    monkeypatch.setattr(hessian_cell, "train", lambda *arguments: trained)
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 1, (60, 8, 8)), rng.integers(0, 3, 60)
    examples = HessianExamples(x, y, x, y, 3, "random", chosen=lambda images: (x, y))
    settings = HessianSettings(patches=(1,), layers=(1,), seeds=(1,), landscape=()).resolved()
    row, _ = hessian_cell.run_cell(settings, model, examples, tmp_path, Progress())
    loss = lambda p: cross_entropy(model.outputs(p, jnp.asarray(x)), jnp.asarray(y)).mean()  # noqa: E731
    gradients = jax.jit(jax.grad(loss))(best)
    norm = np.sqrt(sum(float((g**2).sum()) for g in jax.tree.leaves(gradients)))
    assert row["gradient_norm"] == pytest.approx(norm, rel=1e-10)


# --- bad input -------------------------------------------------------------------------------------------------------


def test_folder_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert cli.main([*SMALL, "--out", str(tmp_path / "file")]) == 2
    assert "must be a folder that can be written" in capsys.readouterr().err


def test_folder_with_results_is_kept(finished, capsys):
    before = (finished / "summary.json").read_bytes()
    assert cli.main([*SMALL, "--out", str(finished)]) == 2
    assert "already holds results; pass --resume" in capsys.readouterr().err
    other = ["11" if word == "10" else word for word in SMALL]
    assert cli.main([*other, "--out", str(finished), "--resume"]) == 2
    assert "--scale = 10.0, but this one has 11.0" in capsys.readouterr().err
    assert (finished / "summary.json").read_bytes() == before


def test_dense_hessian_that_does_not_fit(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(memory, "available_bytes", lambda: 2**21)
    out = tmp_path / "run"
    words = [word for word in SMALL if word != "--layers"]
    words[words.index("1")] = "--layers=40"
    assert cli.main([*words, "--spectrum", "dense", "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert (
        "The dense Hessian of 562 parameters needs 0.012 GiB, but 0.002 GiB are free" in error
        and "use Lanczos" in error
    )
    assert not out.exists()
