"""Products kept in a file: whatever asks for them goes on after a stop, and takes nothing of another computation."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.common import files
from qjaxsim.common.checkpoint import NoCheckpointError, OtherComputationError
from qjaxsim.curvature import (
    LinearOperator,
    hessian_operator,
    kept_products,
    matrix_operator,
    power_iteration,
    spectral_density,
    spectrum_report,
    top_eigenpairs,
    trace_estimate,
)
from qjaxsim.models.losses import cross_entropy
from tests.cases import layered, network, network_problem

SIZE = 90
RNG = np.random.default_rng(3)
BASIS = np.linalg.qr(RNG.normal(size=(SIZE, SIZE)))[0]
VALUES = np.concatenate([[40.0, -25.0, 12.0], RNG.uniform(0, 1, SIZE - 3)])
MATRIX = BASIS @ np.diag(VALUES) @ BASIS.T
KEY = jax.random.key(4)

RUNS = {
    "lanczos": lambda operator: top_eigenpairs(operator, 3, key=KEY),
    "lowest": lambda operator: top_eigenpairs(-operator, 1, key=KEY, copies=False),
    "block": lambda operator: top_eigenpairs(operator.block(np.arange(5, 80)), 1, key=KEY, copies=False),
    "power": lambda operator: power_iteration(operator, key=KEY, tol=1e-5),
    "density": lambda operator: spectral_density(operator, key=KEY, steps=9, probes=3),
    "trace": lambda operator: trace_estimate(operator, key=KEY, probes=12, method="xtrace"),
}


class Computed:
    """An operator of a dense matrix that counts its products and can be stopped after some."""

    def __init__(self, matrix=MATRIX, dtype=jnp.float64, most=10**9):
        self.calls, self.most = 0, most
        self.matrix = jnp.asarray(matrix, dtype)
        self.operator = LinearOperator(len(matrix), dtype, self.rows)

    def rows(self, vectors):
        if self.calls == self.most:
            raise KeyboardInterrupt
        self.calls += 1
        return vectors @ self.matrix


def assert_same(found, wanted):
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("dtype", [jnp.float32, pytest.param(jnp.float64, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("name", RUNS)
def test_runs_go_on_where_they_were_stopped(tmp_path, name, dtype):
    whole = Computed(dtype=dtype)
    wanted = RUNS[name](whole.operator)
    if name == "lanczos":
        np.testing.assert_allclose(wanted.values, [40, 12, VALUES[3:].max()], atol=40 * jnp.finfo(dtype).eps ** 0.5)
    path, half = tmp_path / "products.bin", whole.calls // 2
    with pytest.raises(KeyboardInterrupt):
        RUNS[name](kept_products(Computed(dtype=dtype, most=half).operator, path))
    again = Computed(dtype=dtype)
    assert_same(RUNS[name](kept_products(again.operator, path)), wanted)
    assert again.calls == whole.calls - half + 1  # the first one is compared
    last = Computed(dtype=dtype)
    assert_same(RUNS[name](kept_products(last.operator, path)), wanted)
    assert last.calls == 1


def test_products_asked_for_twice_are_computed_once(tmp_path):
    computed = Computed()
    kept = kept_products(computed.operator, tmp_path / "products.bin")
    vectors = jnp.asarray(RNG.normal(size=(SIZE, 11)))
    for _ in range(3):
        np.testing.assert_allclose(kept @ vectors, MATRIX @ vectors, atol=1e-12)
    assert computed.calls == 2  # eight columns and the rest
    np.testing.assert_allclose(kept @ vectors[:, 0], MATRIX @ vectors[:, 0], atol=1e-12)
    assert computed.calls == 3


@pytest.fixture
def stored(tmp_path):
    """A file with the products of five vectors, and these."""
    path, vectors = tmp_path / "products.bin", jnp.asarray(RNG.normal(size=(5, SIZE)))
    kept = kept_products(Computed().operator, path, of={"w": jnp.arange(3.0)})
    for vector in vectors:
        kept.matvec(vector)
    return path, vectors


@pytest.mark.parametrize("torn", [1, 8 * SIZE, 8 * SIZE + 1, 8 * SIZE + 71, 8 * SIZE + 72])
def test_a_torn_last_record_is_cut_off(stored, torn):
    """Anywhere in the images of the last one, or in what stands before them."""
    path, vectors = stored
    whole = path.read_bytes()
    os.truncate(path, len(whole) - torn)
    computed = Computed()
    kept = kept_products(computed.operator, path, of={"w": jnp.arange(3.0)})
    assert path.stat().st_size == len(whole) - 8 * SIZE - 72
    for vector in vectors:
        np.testing.assert_allclose(kept.matvec(vector), MATRIX @ vector, atol=1e-12)
    assert computed.calls == 2 and path.read_bytes() == whole


def test_what_was_changed_is_computed_again(stored):
    path, vectors = stored
    content = bytearray(path.read_bytes())
    content[-3] ^= 255  # of the last images
    path.write_bytes(content)
    computed = Computed()
    kept = kept_products(computed.operator, path, of={"w": jnp.arange(3.0)})
    for vector in vectors[::-1]:
        np.testing.assert_allclose(kept.matvec(vector), MATRIX @ vector, atol=1e-12)
    assert computed.calls == 2  # that one, and the first found


def test_two_processes_at_one_file_both_keep(tmp_path):
    path, vectors = tmp_path / "products.bin", jnp.asarray(RNG.normal(size=(6, SIZE)))
    one, other = (kept_products(Computed().operator, path) for _ in range(2))
    for place, vector in enumerate(vectors):
        (one, other)[place % 2].matvec(vector)
    computed = Computed()
    again = kept_products(computed.operator, path)
    for vector in vectors:
        np.testing.assert_allclose(again.matvec(vector), MATRIX @ vector, atol=1e-12)
    assert computed.calls == 1


def test_other_computations_are_refused(stored):
    path, vectors = stored
    before = path.read_bytes()
    with pytest.raises(OtherComputationError, match=r"^Argument `checkpoint` must name .* made with other of; delete"):
        kept_products(Computed().operator, path, of={"w": jnp.arange(3.0) + 1e-9})
    with pytest.raises(OtherComputationError, match="made with other of"):
        kept_products(Computed().operator, path)
    other = kept_products(Computed(MATRIX + 1e-5 * np.eye(SIZE)).operator, path, of={"w": jnp.arange(3.0)})
    other.matvec(vectors[0] + 1)  # not in the file
    before = path.read_bytes()
    with pytest.raises(OtherComputationError, match="made with other product"):
        other.matvec(vectors[0])
    assert path.read_bytes() == before


def test_files_of_others_are_left_alone(tmp_path):
    for name, content in {"notes.txt": b"my notes\n", "empty": b"", "table.json": b"[1, 2]\n"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(NoCheckpointError, match=f"^Argument `checkpoint` must .*{name} is none; use another path"):
            kept_products(Computed().operator, tmp_path / name)
        assert (tmp_path / name).read_bytes() == content
    with pytest.raises(NoCheckpointError, match="is none; use another path"):
        kept_products(Computed().operator, tmp_path)
    with pytest.raises(ValueError, match="Argument `checkpoint` must name a file or a folder, but is empty"):
        kept_products(Computed().operator, "")
    with pytest.raises(files.NotWrittenError, match="cannot be written"):
        kept_products(Computed().operator, tmp_path / "notes.txt" / "products.bin")


def test_a_file_removed_on_the_way_is_told(stored):
    path, vectors = stored
    kept = kept_products(Computed().operator, path, of={"w": jnp.arange(3.0)})
    path.unlink()
    with pytest.raises(files.NotWrittenError, match=r"products\.bin cannot be written: No such file"):
        kept.matvec(vectors[0] + 1)


def test_arguments(tmp_path):
    path = tmp_path / "products.bin"
    with pytest.raises(TypeError, match="Argument `operator` must be a LinearOperator"):
        kept_products(MATRIX, path)
    known = matrix_operator(jnp.eye(3))
    assert kept_products(known, path) is known and not path.exists()
    kept = kept_products(Computed().operator, path)
    with pytest.raises(TypeError, match="Argument `v` must be known where products are kept, but it is traced"):
        jax.jit(kept.matvec)(jnp.ones(SIZE))


def test_a_circuit_of_four_qubits(tmp_path):
    """Against the dense Hessian, in the middle of which the file was closed."""
    circuit = layered(4, 2, data=False)
    f = qj.expectation(circuit, qj.Z(0) @ qj.Z(1) + 0.5 * qj.X(2))
    params = {"w": jnp.asarray(RNG.normal(size=(2, 4, 3)))}
    dense = qj.hessian(f, params)
    path = tmp_path / "products.bin"
    kept_products(hessian_operator(f, params), path, of=params).matmat(jnp.eye(24)[:, :8])
    again = kept_products(hessian_operator(f, params), path, of=params)
    np.testing.assert_allclose(again.matmat(jnp.eye(24)), dense, atol=1e-12)


# --- reports ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [pytest.param(False, marks=pytest.mark.thorough), True])
def test_a_killed_report_without_a_matrix_goes_on(tmp_path, data):
    """From a file with the first half of its products, as a killed call leaves it."""
    params, x, y = network_problem(jnp.float64, n_samples=11)
    options = {"method": "lanczos", "planes": (), "progress": False, "top": 4, "checkpoint": tmp_path}
    if data:
        options |= {"loss": cross_entropy}
        call = lambda p: spectrum_report(network, p, (x, y), **options)  # noqa: E731
    else:
        call = lambda p: spectrum_report(lambda p: cross_entropy(network(p, x), y).mean(), p, **options)  # noqa: E731
    whole = call(params)
    path = tmp_path / "products_so_far.bin"
    content = path.read_bytes()
    os.truncate(path, len(content) // 2)
    again = call(params)
    assert path.read_bytes() == content  # those of before, and what followed from them to the last digit
    for ours, theirs in zip([again.numbers, *again.blocks], [whole.numbers, *whole.blocks], strict=True):
        assert list(map(str, ours.values())) == list(map(str, theirs.values()))  # where NaN is itself
    assert_same([again.arrays[name] for name in whole.arrays], whole.arrays.values())
    again.hessian.matvec(jnp.ones(again.hessian.size))  # the report itself keeps none
    assert path.read_bytes() == content
    other = jax.tree.map(lambda leaf: leaf + 1e-9, params)
    with pytest.raises(OtherComputationError, match="made with other params"):
        call(other)
