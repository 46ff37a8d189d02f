"""Landscapes of a cell of the study `hessian`: what a killed one keeps, and when it is used."""

import itertools
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from qjaxsim.common.progress import Progress
from qjaxsim.models.losses import cross_entropy, metrics
from qjaxsim.models.patches import PatchesModel
from qjaxsim.studies.hessian import planes as hessian_planes
from qjaxsim.studies.hessian.examples import HessianExamples
from qjaxsim.studies.hessian.planes import planes
from qjaxsim.studies.hessian.settings import HessianSettings
from qjaxsim.training import Evaluation, TrainResult

SETTINGS = HessianSettings(patches=(1,), layers=(1,), landscape=("pca", "eigen"), landscape_points=4).resolved()
MODEL = PatchesModel(1, 1, 3, image_size=4, patch_size=4, n_classes=3, scale=5.0)


@pytest.fixture(scope="module")
def cell():
    """Examples, a made-up training path of four checkpoints, and two made-up leading eigenpairs."""
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 1, (12, 4, 4)), rng.integers(0, 3, 12)
    examples = HessianExamples(x, y, x, y, 3, "random", chosen=lambda images: (x, y))
    flat, unravel = ravel_pytree(MODEL.init(jax.random.key(1)))
    trajectory = np.asarray(flat) + rng.normal(size=(4, flat.size))
    best = unravel(jax.numpy.asarray(trajectory[3]))
    result = TrainResult(best, best, 3, [{"train_loss": 1.0}] * 4, trajectory)
    vectors = np.linalg.qr(rng.normal(size=(flat.size, 2)))[0].T
    return examples, result, (np.array([3.0, 2.0]), vectors)


def evaluated(cell, folder: Path) -> dict[str, np.ndarray]:
    examples, result, leading = cell
    return planes(SETTINGS, MODEL, examples, result, leading, Progress(), folder)


@pytest.fixture
def lines(monkeypatch):
    """Lines that are evaluated; set `stop_after` to be interrupted."""

    class Lines:
        done = 0
        stop_after = 1000

    def counted(*args):
        if Lines.done == Lines.stop_after:
            raise KeyboardInterrupt
        Lines.done += 1
        return plain(*args)

    plain = hessian_planes.losses
    monkeypatch.setattr(hessian_planes, "losses", counted)
    monkeypatch.setattr("qjaxsim.common.checkpoint.SAVES_APART", 0)
    return Lines


def test_interrupted_and_resumed_is_the_same_and_loses_the_line_in_flight(cell, tmp_path, lines):
    whole = evaluated(cell, tmp_path / "whole")
    assert lines.done == 8 and whole["landscape"].shape == whole["eigen_landscape"].shape == (4, 4)
    assert len(np.unique(whole["landscape"])) == len(np.unique(whole["eigen_landscape"])) == 16
    lines.done, lines.stop_after = 0, 6
    with pytest.raises(KeyboardInterrupt):
        evaluated(cell, tmp_path / "stopped")
    lines.done, lines.stop_after = 0, 1000
    resumed = evaluated(cell, tmp_path / "stopped")
    assert lines.done == 2 + 2  # and the first of each plane, by which the function is known
    assert set(resumed) == set(whole)
    for name, array in whole.items():
        np.testing.assert_array_equal(resumed[name], array)


def test_lines_of_another_plane_are_not_taken(cell, tmp_path, lines):
    examples, result, (values, vectors) = cell
    evaluated(cell, tmp_path)
    lines.done = 0
    other = evaluated((examples, result, (values, vectors[::-1])), tmp_path)
    assert lines.done == 4 + 1  # the plane of eigenvectors, and the first line of the other
    assert not np.array_equal(other["eigen_landscape"], evaluated(cell, tmp_path / "new")["eigen_landscape"])


def test_planes_compile_no_evaluation_beside_that_of_training(cell, tmp_path, caplog):
    examples, result, _ = cell
    data = {"train": (examples.x_train, examples.y_train), "test": (examples.x_test[:7], examples.y_test[:7])}
    jax.clear_caches()
    compiled = []
    for run in (
        lambda: Evaluation(metrics(MODEL), result.params_best, data, 1000)(result.params_best),
        lambda: evaluated(cell, tmp_path),
    ):
        caplog.clear()
        with jax.log_compiles():
            run()
        compiled.append(caplog.text.count("Finished XLA compilation of jit(measured)"))
    assert compiled == [1, 0]


def test_a_plane_holds_the_mean_loss_at_its_points(cell, tmp_path):
    examples, result, _ = cell
    found = evaluated(cell, tmp_path)
    loss = jax.jit(lambda p: cross_entropy(MODEL.outputs(p, examples.x_train), examples.y_train).mean())
    flat, unravel = ravel_pytree(result.params_best)
    for (j, b), (i, a) in itertools.product(
        enumerate(found["eigen_landscape_b"]), enumerate(found["eigen_landscape_a"])
    ):
        wanted = loss(unravel(flat + np.array([a, b]) @ cell[2][1]))
        assert found["eigen_landscape"][j, i] == pytest.approx(float(wanted), rel=1e-12)
