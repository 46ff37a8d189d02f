"""The study `lie-variance`: results folder, resuming, circuits and algebras against NumPy, errors, verdicts."""

import itertools
import json

import numpy as np
import pytest

from qjaxsim.circuits import reference
from qjaxsim.command.main import main
from qjaxsim.report.verdict import HOLDS, NOT_SEEN, NOT_TESTED, RESERVATION
from qjaxsim.studies.lie_variance import claims
from qjaxsim.studies.lie_variance.cell import drawn_values, moments_of
from qjaxsim.studies.lie_variance.circuits import OBSERVABLE, closed_form, generators, layer_of, plus, theory
from qjaxsim.studies.lie_variance.columns import COLUMNS
from qjaxsim.studies.lie_variance.published import comparison_rows
from qjaxsim.studies.lie_variance.settings import CHAIN, FULL, LieVarianceSettings
from qjaxsim.studies.lie_variance.study import STUDY
from qjaxsim.studies.shared.study import run_study
from qjaxsim.studies.shared.sweep import read_arrays

pytestmark = pytest.mark.thorough

SETTINGS = LieVarianceSettings(qubits=(3, 4), depths=(1, 6), draws=200, seeds=(1,))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    out = tmp_path_factory.mktemp("variance") / "out"
    return out, run_study(STUDY, SETTINGS, out)


def test_rows_arrays_and_report(study):
    out, found = study
    rows = found.rows
    assert [(row["circuit"], row["qubits"], row["depth"]) for row in rows] == list(
        itertools.product((CHAIN, FULL), (3, 4), (1, 6))
    )
    assert set().union(*rows) <= {*COLUMNS, "cell"}
    values = read_arrays(out, "chain-n3-s1")["values"]
    assert values.shape == (2, 200) and np.abs(values).max() <= 1 + 1e-6
    assert rows[0]["variance"] == pytest.approx(values[0].var(ddof=1))
    page = (out / "report.html").read_text(encoding="utf-8")
    for words in ("Published claims", "Published numbers beside ours", "Variance by qubits and depth"):
        assert words in page
    assert len(list((out / "figures").glob("*.png"))) == 2
    assert [row["published"] for row in found.comparison] == [0.2035, 0.1434]
    assert {row["comparable"] for row in found.comparison} == {"6 layers against deep circuits"}
    deep = comparison_rows([{**row, "depth": 21 * row["depth"]} for row in rows])
    assert [row["difference"] for row in deep] == [row["ours"] - row["published"] for row in found.comparison]
    assert json.loads((out / "summary.json").read_text(encoding="utf-8")) == rows
    # Finished cells are not run again.
    assert run_study(STUDY, SETTINGS, out, resume=True).rows == rows


@pytest.mark.parametrize("name", [CHAIN, FULL])
def test_values_are_those_of_dense_products(name):
    found = drawn_values(name, 3, [1, 2], 4, np.random.default_rng(5))
    rng, layer = np.random.default_rng(5), layer_of(name, 3)
    states = np.broadcast_to(plus(3), (4, 8)).astype(complex)
    observable = reference.pauli_sum_matrix(OBSERVABLE, 3)
    for depth in range(2):
        angles = {one: rng.uniform(-np.pi, np.pi, (4, *shape)) for one, shape in sorted(layer.parameters.items())}
        matrices = [reference.unitary(layer, {one: each[i] for one, each in angles.items()}) for i in range(4)]
        states = np.stack([matrix @ state for matrix, state in zip(matrices, states, strict=True)])
        expected = np.einsum("bi,ij,bj->b", states.conj(), observable, states).real
        np.testing.assert_allclose(found[depth], expected, atol=1e-5)


@pytest.mark.parametrize(("name", "qubits"), [(CHAIN, 3), (CHAIN, 4), (FULL, 3), (FULL, 6)])
def test_theory_is_the_closed_form(name, qubits):
    found = theory(name, qubits)
    gates = {"rx": qubits, "rzz": qubits - 1, **({} if name == CHAIN else {"rz": qubits})}
    assert layer_of(name, qubits).count_ops() == gates and len(generators(name, qubits)) == sum(gates.values())
    assert found.dimension == (qubits * (2 * qubits - 1) if name == CHAIN else 4**qubits - 1)
    assert found.variance == pytest.approx(closed_form(name, qubits), rel=1e-12)
    assert found.spanned == (name == CHAIN or qubits < 5)


def test_theory_is_an_average_over_the_group():
    """Products of many random rotations about the generators, in NumPy."""
    rng, count = np.random.default_rng(6), 3000
    matrices = [reference.pauli_sum_matrix(one, 3) for one in generators(CHAIN, 3)]
    states = np.broadcast_to(plus(3), (count, 8)).astype(complex)
    for _ in range(12):
        for matrix in matrices:
            half = rng.uniform(-np.pi, np.pi, (count, 1)) / 2
            states = np.cos(half) * states - 1j * np.sin(half) * states @ matrix.T
    values = np.einsum("bi,ij,bj->b", states.conj(), reference.pauli_sum_matrix(OBSERVABLE, 3), states).real
    found = moments_of(values)
    assert abs(found["variance"] - theory(CHAIN, 3).variance) < 4 * found["variance_error"]


def test_standard_errors_are_the_scatter_of_repetitions():
    rng = np.random.default_rng(7)
    drawn = [moments_of(rng.uniform(-1, 1, 400)) for _ in range(400)]
    assert np.std([one["variance"] for one in drawn]) == pytest.approx(drawn[0]["variance_error"], rel=0.15)
    assert np.mean([one["variance"] for one in drawn]) == pytest.approx(1 / 3, abs=4e-3)


# --- verdicts --------------------------------------------------------------------------------------------------------


def made_rows(scale=1.0, before=1.0, shallow=2.0, seeds=(0, 1), qubits=(3, 4, 6), error=0.01, predicted=1.0):
    """Variances at depths 1, 2 and 4, as multiples of what is predicted."""
    return [
        {
            "circuit": circuit, "qubits": n, "seed": seed, "depth": depth, "variance": ratio * closed_form(circuit, n),
            "variance_error": error * closed_form(circuit, n), "predicted": predicted * closed_form(circuit, n),
            "closed_form": closed_form(circuit, n), "spanned": circuit == CHAIN or n < 5,
        }
        for circuit in (CHAIN, FULL)
        for n in qubits
        for depth, ratio in ((1, shallow), (2, before), (4, scale))
        for seed in seeds
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("claim", "rows", "verdict", "words"),
    [
        (claims.formula, made_rows(), HOLDS, "at 4 layers, predicted in brackets: chain 3 qubits 0.2000 +- 0.0014"),
        (claims.formula, made_rows(scale=1.1), NOT_SEEN, "off by more than 3 errors: chain 3 by 14.1"),
        (claims.formula, made_rows(scale=0.97), NOT_SEEN, "off by more than 3 errors: chain 3 by -4.2"),
        (claims.formula, made_rows(before=1.1), RESERVATION, "not converged with depth: chain 3, chain 4"),
        (claims.formula, made_rows(seeds=(0,)), RESERVATION, "a single seed"),
        (claims.polynomial, made_rows(), HOLDS, "by qubits: 1.000 +- 0.007 at 3"),
        (claims.polynomial, made_rows(predicted=0.99), NOT_SEEN, "1.000 +- 0.007 at 3"),
        (claims.polynomial, made_rows(qubits=(3, 4)), NOT_TESTED, "--circuits chain and three numbers of qubits"),
        (claims.exponential, made_rows(), HOLDS, "taken for all of su(2^n) at 6 qubits"),
        (claims.exponential, made_rows(scale=0.9), NOT_SEEN, "0.900 +- 0.007 at 3"),
        (claims.deep, made_rows(), HOLDS, "met to three errors: 2 for chain 3 qubits"),
        (claims.deep, made_rows(shallow=1.0), NOT_SEEN, "met at 1 for chain 3"),
        (claims.deep, made_rows(scale=1.1), NOT_TESTED, "--depths at which the formula is met"),
        (claims.deep, made_rows(qubits=(3,)) + made_rows(scale=1.1, qubits=(4,)), RESERVATION, "no depth for chain 4"),
    ],
)
def test_verdicts(claim, rows, verdict, words):
    found = claim(rows)
    assert found.verdict == verdict and words in found.evidence


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--circuits ring", "--circuits must hold names of ['chain', 'full'], but holds 'ring'"),
        ("--qubits 2", "--qubits must hold numbers of at least 3, but holds 2"),
        ("--depths 0", "--depths must hold numbers of at least 1, but holds 0"),
        ("--draws 10", "--draws must be at least 100, but is 10"),
    ],
)
def test_refusals(words, message, capsys, tmp_path):
    assert main(["study", "lie-variance", "--out", str(tmp_path / "out"), *words.split()]) != 0
    assert message in capsys.readouterr().err
