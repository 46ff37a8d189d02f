"""Controls of the study `hessian`: which cells they are, the point of a given loss."""

import math
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qjaxsim.models.losses import cross_entropy
from qjaxsim.models.patches import PatchesModel
from qjaxsim.studies.hessian import cell as hessian_cell
from qjaxsim.studies.hessian.cells import arms
from qjaxsim.studies.hessian.examples import HessianExamples
from qjaxsim.studies.hessian.settings import CONTROLS, HessianSettings
from qjaxsim.training import TrainResult


def cells(control: str, **settings) -> list[HessianSettings]:
    """Settings of a control's own cells."""
    found = arms(HessianSettings(controls=(control,), **settings).resolved())
    return [arm.settings for arm in found if arm.control == control]


def test_keys_differ_and_the_baseline_comes_first():
    found = arms(HessianSettings(controls=CONTROLS, seeds=(1, 2)).resolved())
    assert len({arm.cell.key.casefold() for arm in found}) == len(found)
    assert [arm.control for arm in found[:6]] == ["baseline"] * 6
    assert set(Counter(arm.control for arm in found)) == {"baseline", *CONTROLS}
    for arm in found:
        assert len(arm.settings.patches) == len(arm.settings.layers) == len(arm.settings.seeds) == 1
    assert [arm.cell.settings for arm in found[:1]] == [{"patches": 1, "layers": 2, "seed": 1}]


def test_no_cell_twice():
    """The scale of most patches, the depth of most patches and the first rate are the baseline's."""
    found = arms(HessianSettings(controls=CONTROLS).resolved())
    kept = [(arm.settings.patches, arm.settings.layers, arm.settings.seeds, arm.settings.scale, arm.settings.classes,
             arm.settings.aggregation, arm.settings.learning_rate, arm.point) for arm in found]  # fmt: skip
    assert len(set(kept)) == len(kept)
    assert [s.patches for s in cells("scale")] == [(1,), (4,)]
    assert [s.patches for s in cells("parameters")] == [(1,), (4,)]


def test_aggregation_and_scale():
    assert {s.aggregation for s in cells("aggregation")} == {"sum"}
    assert {s.aggregation for s in cells("aggregation", aggregation="sum")} == {"mean"}
    assert [s.scale / s.patches[0] for s in cells("scale")] == pytest.approx([100 / 9] * 2)


def test_parameters_are_as_equal_as_whole_layers_allow():
    def weights(patches: int, layers: int) -> int:
        return PatchesModel(patches, layers, 5, image_size=8, patch_size=4).n_parameters - 64

    total = weights(9, 2)
    for s in cells("parameters"):
        found = weights(s.patches[0], s.layers[0])
        one_more, one_less = (weights(s.patches[0], s.layers[0] + step) for step in (1, -1))
        assert abs(found - total) <= min(abs(one_more - total), abs(one_less - total))


def test_rates_and_depths():
    found = {(s.layers[0], s.learning_rate) for s in cells("learning-rate")}
    fixed = {(depth, 0.01) for depth in (4, 6, 8)}
    falling = {(4, 0.005), (6, 0.0025), (8, 0.001)}
    at_one_depth = {(2, 0.005), (2, 0.0025), (2, 0.001)}
    assert found == fixed | falling | at_one_depth
    assert {s.patches for s in cells("learning-rate")} == {(4,)}


def test_classes_seeds_nulls():
    assert [len(s.classes) for s in cells("classes")] == [2, 3, 5, 8]
    assert [s.classes for s in cells("classes", classes=(3, 1, 7))] == [(3, 1)]
    assert sorted({s.seeds[0] for s in cells("seeds", seeds=(5, 9))}) == [10, 11, 12, 13]
    (nulls,) = cells("nulls")
    assert 2 * nulls.layers[0] * 5 > 2 * (2**5 - 1) >= 2 * (nulls.layers[0] - 4) * 5


@pytest.mark.parametrize(("control", "point"), [("loss", "matched loss"), ("initialisation", "start")])
def test_cells_of_other_points_take_the_baselines_training(control, point):
    found = [arm for arm in arms(HessianSettings(controls=(control,)).resolved()) if arm.control == control]
    assert [arm.baseline_key for arm in found] == [f"patches{p}-layers2-seed1001" for p in (1, 4, 9)]
    assert {arm.point for arm in found} == {point}


# --- the point of a given loss ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def path():
    """A made-up training path of three checkpoints, from high to low loss and on."""
    model = PatchesModel(1, 1, 2, image_size=2, patch_size=2, n_classes=3, scale=5.0)
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 1, (40, 2, 2)), rng.integers(0, 3, 40)
    examples = HessianExamples(x, y, x, y, 3, "random", chosen=lambda images: (x, y))
    flat, unravel = jax.flatten_util.ravel_pytree(model.init(jax.random.key(1)))
    loss = jax.jit(lambda w: cross_entropy(model.outputs(unravel(w), jnp.asarray(x)), jnp.asarray(y)).mean())
    slope = jax.jit(jax.grad(loss))(flat)
    step = 0.05 * slope / jnp.linalg.norm(slope)
    trajectory = np.stack([flat + step, flat, flat - step])
    history = [{"train_loss": float(loss(w))} for w in trajectory]
    assert history[0]["train_loss"] > history[1]["train_loss"] > history[2]["train_loss"]
    best = unravel(jnp.asarray(trajectory[2]))
    return model, examples, TrainResult(best, best, 2, history, trajectory), loss


@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
@pytest.mark.parametrize("step", [0, 1])
def test_point_of_a_given_loss(path, step, share):
    model, examples, result, loss = path
    high, low = (result.history[step + i]["train_loss"] for i in (0, 1))
    wanted = share * low + (1 - share) * high
    point = hessian_cell.at_loss(model, examples, result, wanted)
    found = np.concatenate([point.params["bias"].ravel(), point.params["weights"].ravel()])
    assert step < point.epoch < step + 1
    assert float(loss(jnp.asarray(found))) == pytest.approx(wanted, rel=1e-5)
    assert point.metrics["train_loss"] == pytest.approx(wanted, rel=1e-5)
    ends = result.trajectory[step : step + 2]
    share = point.epoch - step
    np.testing.assert_allclose(found, (1 - share) * ends[0] + share * ends[1], rtol=1e-12)


def test_loss_at_the_ends_of_the_path(path):
    model, examples, result, _ = path
    losses = [row["train_loss"] for row in result.history]
    assert hessian_cell.at_loss(model, examples, result, losses[0]).epoch == 0
    start = hessian_cell.at_loss(model, examples, result, math.inf)
    assert start.epoch == 0 and start.metrics["train_loss"] == pytest.approx(losses[0], rel=1e-12)
    assert hessian_cell.at_loss(model, examples, result, losses[2]).epoch == pytest.approx(2, abs=1e-4)
    with pytest.raises(ValueError, match=r"`loss` must be at least the path's lowest, .*, but is 0"):
        hessian_cell.at_loss(model, examples, result, 0.0)
