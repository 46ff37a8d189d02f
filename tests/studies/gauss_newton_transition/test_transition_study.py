"""The study `gauss-newton-transition`: results folder, resuming, descents and splits against NumPy, fits, verdicts."""

import json

import numpy as np
import pytest

from qjaxsim.circuits import reference
from qjaxsim.command.main import main
from qjaxsim.report.verdict import HOLDS, NOT_SEEN, NOT_TESTED, RESERVATION
from qjaxsim.studies.gauss_newton_transition import claims
from qjaxsim.studies.gauss_newton_transition.cell import EXPONENTIAL, POWER
from qjaxsim.studies.gauss_newton_transition.columns import COLUMNS
from qjaxsim.studies.gauss_newton_transition.decay import fit_decay
from qjaxsim.studies.gauss_newton_transition.model import chain, descend, haar_unitary, problem_of, random_string
from qjaxsim.studies.gauss_newton_transition.settings import SPANS, TransitionSettings
from qjaxsim.studies.gauss_newton_transition.study import STUDY
from qjaxsim.studies.shared.study import run_study
from qjaxsim.studies.shared.sweep import read_arrays

pytestmark = pytest.mark.thorough

SETTINGS = TransitionSettings(
    targets=(1.0, 0.0, -1.0), angles=(10, 3), learning_rates=(0.02, 0.01), steps=1200, seeds=(1,)
)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    out = tmp_path_factory.mktemp("transition") / "out"
    return out, run_study(STUDY, SETTINGS, out)


def test_rows_arrays_and_report(study):
    out, found = study
    rows = found.rows
    cells = ((10, 0.02), (3, 0.02), (10, 0.01))
    assert [(row["angles"], row["learning_rate"], row["target"]) for row in rows] == [
        (*cell, target) for cell in cells for target in SETTINGS.targets
    ]
    assert set().union(*rows) <= {*COLUMNS, "cell"}
    arrays = read_arrays(out, "angles10-rate0.02-s1")
    assert arrays["errors"].min() >= 0 and arrays["errors"].shape == (3, 1201) and arrays["residual"].shape == (3, 10)
    np.testing.assert_allclose(arrays["errors"][1, [300, 600, 1200]], [rows[1][name] for name in (
        "error_quarter", "error_half", "error")])  # fmt: skip
    page = (out / "report.html").read_text(encoding="utf-8")
    for words in ("Published claims", "Published numbers beside ours", "How errors fall", "Which part is left"):
        assert words in page
    assert len(list((out / "figures").glob("*.png"))) == 2
    assert json.loads((out / "summary.json").read_text(encoding="utf-8")) == rows
    # Finished cells are not run again.
    assert run_study(STUDY, SETTINGS, out, resume=True).rows == rows


def test_the_parts_of_the_hessian_are_what_theory_says(study):
    """At a target that is reached R is zero, below the least value G; at it R is (<O> - O0) times the same matrix."""
    out, found = study
    above, _, below = found.rows[:3]
    assert above["gauss_newton_rank"] == 1 and above["residual_share"] < 1e-6
    assert below["residual_rank"] == 6 and below["residual_share"] > 1 - 1e-6
    # The last steps of gradient descent shrink the one direction that is left by 1 - rate times curvature.
    assert above["rate"] == pytest.approx(-np.log1p(-0.02 * above["hessian_max"]), rel=0.02)
    arrays = read_arrays(out, "angles10-rate0.02-s1")
    for place in (0, 2):
        parts = arrays["gauss_newton"][place], arrays["residual"][place]
        np.testing.assert_allclose(arrays["hessian"][place], max(parts, key=np.linalg.norm), atol=1e-5)


def test_descent_follows_the_gradient_of_shifted_circuits():
    """Two steps of gradient descent by the parameter-shift rule."""
    problem = problem_of(3, 4, 5)
    target, angles = problem.least + 2, problem.start.copy()

    def value(at):
        return float(problem.energy({"weights": at, **problem.fixed}))

    met = []
    for _ in range(2):
        met.append(value(angles))
        shifts = np.pi / 2 * np.eye(4)
        slope = np.array([value(angles + shift) - value(angles - shift) for shift in shifts]) / 2
        angles = angles - 0.05 * (met[-1] - target) * slope
    last, found = descend(problem.energy, problem.fixed, problem.start, np.array([target]), 0.05, 2)
    np.testing.assert_allclose(last[0], angles, atol=1e-10)
    np.testing.assert_allclose(found[:, 0], [*met, value(angles)], atol=1e-10)


def test_circuit_is_rotations_about_random_strings_between_haar_unitaries():
    """The draws again, as a product of dense matrices."""
    problem, rng = problem_of(3, 5, 8), np.random.default_rng(8)
    angles = np.random.default_rng(1).uniform(-1, 1, 5)
    state = np.eye(8)[0].astype(complex)
    for angle in angles:
        state = haar_unitary(8, rng) @ state
        string = random_string(3, rng)
        assert np.allclose(string @ string, np.eye(8)) and abs(np.trace(string)) < 1e-12
        state = np.cos(angle / 2) * state - 1j * np.sin(angle / 2) * string @ state
    state = haar_unitary(8, rng) @ state
    value = (state.conj() @ reference.pauli_sum_matrix(chain(3), 3) @ state).real
    assert float(problem.energy({"weights": angles, **problem.fixed})) == pytest.approx(value, abs=1e-10)


def test_observable_is_the_chain_and_its_least_value_a_bound():
    pauli = reference.PAULI
    two = -(np.kron(pauli["X"], pauli["X"]) + np.kron(pauli["Y"], pauli["Y"]) + 2 * np.kron(pauli["Z"], pauli["Z"]))
    two = two - 2 * (np.kron(pauli["Z"], np.eye(2)) + np.kron(np.eye(2), pauli["Z"]))
    np.testing.assert_allclose(reference.pauli_sum_matrix(chain(2), 2), two, atol=1e-12)
    # All spins up: -2 (n - 1) - 2 n.
    assert [problem_of(n, 2, 0).least for n in (2, 3)] == pytest.approx([-6, -10])
    spans = {n: np.ptp(np.linalg.eigvalsh(reference.pauli_sum_matrix(chain(n), n))) for n in (2, 3)}
    assert spans == pytest.approx(SPANS) and np.ptp(np.linalg.eigvalsh(two)) == pytest.approx(SPANS[2])
    matrix = haar_unitary(8, np.random.default_rng(0))
    np.testing.assert_allclose(matrix @ matrix.conj().T, np.eye(8), atol=1e-12)


def test_fits_tell_an_exponential_from_a_power():
    steps = np.arange(6001)
    noise = 1 + 0.1 * np.sin(steps)
    found = fit_decay(noise * 3 * np.exp(-0.02 * steps))
    assert found.is_exponential and found.rate == pytest.approx(0.02, rel=0.02)
    found = fit_decay(noise * 10 / (1 + steps))
    assert not found.is_exponential and found.exponent == pytest.approx(-1, abs=0.02)
    assert fit_decay(np.full(100, 0.5)) is None and fit_decay(np.exp(-3.0 * steps)) is None


# --- verdicts --------------------------------------------------------------------------------------------------------

TESTED = TransitionSettings(seeds=(0, 1))


def made_rows(settings=TESTED, **changes):
    """Rows as claimed; `changes` maps a control ("angles", "rate", "few") or "main" to columns that differ there."""
    rows = []
    for angles, rate in [(64, 0.002), *claims.controls(settings)]:
        name = "few" if angles == 4 else "angles" if angles != 64 else "rate" if rate != 0.002 else "main"
        for seed in settings.seeds:
            for target in settings.targets:
                up, at = target > 0, target == 0
                row = {
                    "seed": seed, "angles": angles, "learning_rate": rate, "target": target,
                    "residual_share": 1e-12 if up else 0.1 if at else 1.0, "decay": POWER if at else EXPONENTIAL,
                    "exponent": -1.0 if at else -9.0, "rate": 0.01, "slowest": 10 * abs(target),
                    "gauss_newton_rank": 1 if up or at else 0, "residual_rank": 0 if up else 6,
                }  # fmt: skip
                change = changes.get(name, {}) if not at or "exponent" in changes.get(name, {}) else {}
                rows.append({**row, **change})
    return rows


@pytest.mark.parametrize(
    ("claim", "changes", "verdict", "words"),
    [
        (claims.carries, {}, HOLDS, "R has up to 1.0e-12 of the norm above, G up to 0.0e+00 below"),
        (claims.carries, {"main": {"residual_share": 0.5}}, NOT_SEEN, "the other part is left at 14 of 14 targets"),
        (claims.carries, {"rate": {"residual_share": 0.5}}, RESERVATION, "at a rate of 0.001 the other part is left"),
        (claims.carries, {"few": {"residual_share": 0.5}}, HOLDS, "with 4 angles, too few for all states, the other"),
        (claims.converges, {}, HOLDS, "power -1 (-1 to -1, 2 seeds) at the transition; rates of 0.01 to 0.01"),
        (claims.converges, {"main": {"exponent": -1.15}}, NOT_SEEN, "not at 2 of 16 targets"),
        (claims.converges, {"angles": {"decay": POWER}}, RESERVATION, "with 32 angles not at 14 of 16 targets"),
        (claims.linear, {}, HOLDS, "log-log slope 1 (1 to 1, 2 seeds) above and 1 (1 to 1, 2 seeds) below"),
        (claims.linear, {"main": {"slowest": 3.0}}, NOT_SEEN, "0.00 to"),
        (claims.counted, {}, HOLDS, "1 above and 6 below, where 6 are expected; so it is with 32 angles"),
        (claims.counted, {"main": {"residual_rank": 5}}, NOT_SEEN, "5 below"),
    ],
)
def test_verdicts(claim, changes, verdict, words):
    found = claim(TESTED, made_rows(**changes))
    assert found.verdict == verdict and words in found.evidence


def test_as_many_angles_as_directions_are_not_too_few():
    settings = TransitionSettings(seeds=(0, 1), angles=(64, 6))
    found = claims.counted(settings, made_rows(settings, angles={"residual_rank": 5}))
    assert found.verdict == RESERVATION and "with 6 angles 5 below" in found.evidence


def test_verdicts_that_were_not_asked_for():
    settings = TransitionSettings(targets=(1.0, 2.0))
    assert {one.verdict for one in claims.transition_verdicts(settings, made_rows(settings))} == {NOT_TESTED}


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--targets a", "--targets must be numbers separated by commas, but is 'a'"),
        ("--targets nan", "--targets must hold a finite number of at least -100, but holds nan"),
        ("--targets 1,1", "--targets must hold at least one value and none twice"),
        ("--targets 1,10.5", "--targets must hold distances up to 10, where the largest value of <O> of 2 qubits is"),
        ("--qubits 3 --targets 18", "--targets must hold distances up to 17.46, where the largest value of <O> of 3"),
        ("--qubits 1", "--qubits must be at least 2, but is 1"),
        ("--learning-rates 0", "--learning-rates must hold a positive number, but holds 0"),
        ("--steps 10", "--steps must be at least 100, but is 10"),
    ],
)
def test_refusals(words, message, capsys, tmp_path):
    assert main(["study", "gauss-newton-transition", "--out", str(tmp_path / "out"), *words.split()]) != 0
    assert message in capsys.readouterr().err
