"""The study `disentangler` of one matrix of a file, and its numbers by brute force."""

import json
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.datasets.weights import LoadedMatrix
from qjaxsim.models.disentangler.layer import DisentangledLayer
from qjaxsim.models.disentangler.low_rank import svd_layer
from qjaxsim.models.disentangler.mpo import Geometry, qubit_geometry
from qjaxsim.studies.disentangler import layer as layers
from qjaxsim.studies.disentangler.settings import DisentanglerStudySettings
from qjaxsim.studies.disentangler.study import STUDY
from qjaxsim.studies.shared.study import run_study
from tests.cases import mostly_slow, one, rows_where, run_lines_of_page

pytestmark = pytest.mark.thorough

# For a matrix of a file, of which there is no model to train or heal.
OF_FILE = DisentanglerStudySettings(
    layers=("all",), parts=("layers",), chi=(1, 2), depths=(2,), sweeps=4, balanced_sites=2
)


# --- one matrix of a file --------------------------------------------------------------------------------------------


def test_a_matrix_of_a_file(tmp_path):
    rng = np.random.default_rng(8)
    matrix, inputs = rng.normal(size=(6, 10)).astype(np.float32), rng.normal(size=(30, 10))
    loaded = LoadedMatrix(matrix, "h.0/attn.weight", "out-in", "named weight, as torch's Linear does")
    settings = replace(OF_FILE, seeds=(1, 2))
    rows = run_study(STUDY, settings, tmp_path / "out", loaded=loaded, inputs=inputs).rows
    assert {row["source"] for row in rows} == {"file", "noise"} and all("perplexity" not in row for row in rows)
    # The matrix itself once, noise with both seeds.
    wanted = {"part": "layers", "method": "explicit", "chi": 1}
    assert [row["seed"] for row in rows_where(rows, source="file", **wanted)] == [1]
    assert [row["seed"] for row in rows_where(rows, source="noise", **wanted)] == [1, 2]
    svd = one(rows, part="layers", source="file", method="svd-classical", chi=2)
    approximate = np.asarray(svd_layer(matrix, svd["rank"]).to_dense(), np.float64)
    expected = np.linalg.norm(inputs @ (matrix - approximate).T) / np.linalg.norm(inputs @ matrix.T)
    assert svd["activation_error"] == pytest.approx(expected, rel=1e-4)
    config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert config["settings"]["matrix"] == "h.0/attn.weight" and "torch" in config["settings"]["orientation"]
    assert "s1-layers-h.0_attn.weight-file-explicit-k2-d2" in config["cells"]
    found = qj.load_run(tmp_path / "out").cell()
    own = one(rows, source="file", part="layers", method="explicit", chi=2)
    distance = np.linalg.norm(inputs @ matrix.T - found.predict(inputs)) / np.linalg.norm(inputs @ matrix.T)
    assert found.key == own["cell"] and distance == pytest.approx(own["activation_error"], rel=1e-4)
    assert run_lines_of_page(tmp_path / "out" / "report.html") == f"{found.predict(np.ones(10))}\n"
    with pytest.raises(ValueError, match="with other content of inputs .*differs.; resume with the same or"):
        run_study(STUDY, settings, tmp_path / "out", resume=True, loaded=loaded, inputs=2 * inputs)
    with pytest.raises(ValueError, match=r"`inputs` must hold rows of 10 numbers, .* shape \(3, 4\)"):
        run_study(STUDY, settings, tmp_path / "two", loaded=loaded, inputs=np.ones((3, 4)))
    with pytest.raises(ValueError, match="`inputs` must hold finite numbers that are not all zero"):
        run_study(STUDY, settings, tmp_path / "two", loaded=loaded, inputs=np.zeros((3, 10)))
    with pytest.raises(ValueError, match="`layers` has an effect only without `weights`, but `weights` is h.0"):
        run_study(STUDY, replace(settings, layers=("block0.up",)), tmp_path / "two", loaded=loaded)
    with pytest.raises(ValueError, match="`parts` must not hold 'model' with a file"):
        run_study(STUDY, replace(settings, parts=("layers", "model")), tmp_path / "two", loaded=loaded)


@pytest.mark.parametrize("shape", [(2, 2), (1, 2)])
def test_a_matrix_of_one_site_has_no_bond_and_no_entropy(tmp_path, shape):
    matrix = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    settings = replace(OF_FILE, parts=("layers", "depth"), chi=(1,), profile_depths=(1, 2), profile_gate_qubits=(2,))
    found = run_study(STUDY, settings, tmp_path / "out", loaded=LoadedMatrix(matrix, "head", "out-in", "as asked for"))
    row = one(found.rows, part="depth", source="file", depth=2)
    assert row["entropy"] is None and row["error"] == pytest.approx(0, abs=1e-6)
    (verdict,) = [each for each in found.verdicts if each.claim.startswith("Bond entropy falls")]
    assert "more than two rows or columns" in verdict.evidence
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.parametrize("shape", mostly_slow([[1, 6], [5, 1], [1, 1]]))
def test_matrices_of_one_row_or_column_and_of_low_rank(tmp_path, shape):
    matrix = np.outer(np.arange(1.0, shape[0] + 1), np.arange(1.0, shape[1] + 1)).astype(np.float32)
    settings = replace(OF_FILE, chi=(1,))
    rows = run_study(STUDY, settings, tmp_path / "out", loaded=LoadedMatrix(matrix, "w", "out-in", "asked")).rows
    assert one(rows, source="file", method="mpo")["error"] <= 1
    assert (
        one(rows, source="file", method="explicit")["error"] <= one(rows, source="file", method="mpo")["error"] + 1e-6
    )


@pytest.mark.parametrize(("size", "way_out"), [(0.0, "has 0; choose another"), (1e-25, "has 1e-24; rescale it")])
def test_matrices_too_small_for_single_precision_are_refused(tmp_path, size, way_out):
    small = LoadedMatrix(np.full((20, 5), size, np.float32), "w", "out-in", "asked")
    with pytest.raises(ValueError, match=f"Array w must have a norm of at least 9e-13, .* but {way_out}"):
        run_study(STUDY, OF_FILE, tmp_path / "out", loaded=small)


@pytest.mark.slow
def test_both_methods_of_one_file_and_a_gate_wider_than_the_register(tmp_path):
    matrix = np.random.default_rng(3).normal(size=(8, 4)).astype(np.float32)
    settings = replace(
        OF_FILE, parts=("layers", "shots"), chi=(2,), gate_qubits=(9,), methods=("gradient", "explicit"),
        gradient_steps=30, shots=(9,),
    )  # fmt: skip
    rows = run_study(STUDY, settings, tmp_path / "out", loaded=LoadedMatrix(matrix, "w", "out-in", "asked")).rows
    plain = one(rows, source="file", method="mpo")["error"]
    for method in ("explicit", "gradient"):
        row = one(rows, part="layers", source="file", method=method)
        # One gate of three qubits and one of two, and both lower the error.
        assert row["register"] and row["circuit"] == 28 + 6 and row["error"] < plain
    assert one(rows, part="layers", source="file", method="gradient")["sweeps"] <= 30
    # Shots are of the first method's circuits.
    assert one(rows, part="shots")["method"] == "gradient"


# --- numbers ---------------------------------------------------------------------------------------------------------


def test_noise_has_the_norm_and_depends_on_the_seed():
    weight = np.arange(12.0, dtype=np.float32).reshape(3, 4)
    noise = layers.noise_like(weight, 1)
    assert noise.dtype == np.float32 and np.linalg.norm(noise) == pytest.approx(np.linalg.norm(weight), rel=1e-6)
    np.testing.assert_array_equal(noise, layers.noise_like(weight, 1))
    assert not np.allclose(noise, layers.noise_like(weight, 2))


def test_ranks_bonds_and_prices_by_brute_force():
    weight = np.random.default_rng(4).normal(size=(9, 6))
    for error in (1.0, 0.8, 0.5, 0.2, 1e-12):
        by_hand = next(
            rank for rank in range(7)
            if np.linalg.norm(weight - np.asarray(svd_layer(weight, rank).to_dense())) / np.linalg.norm(weight)
            <= error * (1 + 1e-9)
        )  # fmt: skip
        assert layers.rank_for(np.linalg.svd(weight, compute_uv=False), error) == by_hand
    geometry = qubit_geometry(20, 6)
    for budget in (0, 15, 16, 60, 200, 500, 10_000):
        by_hand = max((chi for chi in range(1, 65) if geometry.n_params(chi) <= budget), default=0)
        found = layers.bond_at(geometry, budget)
        assert found == by_hand or (found < by_hand and geometry.n_params(found) == geometry.n_params(by_hand))
    subject = layers.Subject("w", "file", weight, 0)
    counts = layers.numbers(subject, 10, 20)
    prices = layers.break_even(subject, counts, 0.5)
    assert prices["break_even_dense"] == (54 - 10) / 20
    assert (
        prices["break_even_svd"]
        == (min(layers.rank_for(np.linalg.svd(weight, compute_uv=False), 0.5) * 15, 54) - 10) / 20
    )
    assert layers.break_even(subject, layers.numbers(subject, 10, 0), 0.5) == {}


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_least_numbers_of_a_rank_are_the_dimension_of_its_family(rank):
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(6, rank)), rng.normal(size=(rank, 4))
    # Columns: how the product moves with each number of either factor.
    moves = [np.outer(unit, right[j]).ravel() for j in range(rank) for unit in np.eye(6)]
    moves += [np.outer(left[:, j], unit).ravel() for j in range(rank) for unit in np.eye(4)]
    dimension = np.linalg.matrix_rank(np.array(moves))
    assert layers.minimal_rank_at((6, 4), int(dimension)) == rank
    assert layers.minimal_rank_at((6, 4), int(dimension) - 1) == rank - 1


def test_balanced_geometries():
    assert layers.balanced_or_none((12, 8), 3) == Geometry(out=(3, 2, 2), in_=(2, 2, 2))
    assert layers.balanced_or_none((6, 8), 3) == Geometry(out=(3, 2), in_=(4, 2))
    assert layers.balanced_or_none((7, 8), 3) is None


def test_the_plain_operator_is_the_cropped_mpo():
    weight = np.random.default_rng(4).normal(size=(6, 10))
    full = layers.plain_operator(weight, qubit_geometry(6, 10), 64)
    assert isinstance(full, DisentangledLayer) and full.n_circuit == 0
    np.testing.assert_allclose(full.to_dense(), weight, atol=1e-12)
    x = np.random.default_rng(1).normal(size=(3, 10))
    np.testing.assert_allclose(full.apply(jnp.asarray(x)), x @ weight.T, atol=1e-12)
