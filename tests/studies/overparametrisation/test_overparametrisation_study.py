"""The study `overparametrisation`: results folder, resuming, matrices against dense algebra, rules of the verdicts."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qjaxsim.circuits.reference import pauli_sum_matrix, statevector
from qjaxsim.command.main import main
from qjaxsim.models.ising import ising_energy, ising_parts
from qjaxsim.report.verdict import HOLDS, NOT_SEEN, NOT_TESTED, RESERVATION
from qjaxsim.studies.overparametrisation import claims, training
from qjaxsim.studies.overparametrisation.cell import RANKS, TRAINING, _reached, _stalled
from qjaxsim.studies.overparametrisation.columns import COLUMNS
from qjaxsim.studies.overparametrisation.figures import by_angles, by_rank, by_steps
from qjaxsim.studies.overparametrisation.fisher import fisher, rank_and_gap, ranks
from qjaxsim.studies.overparametrisation.problems import PRODUCT, Problem, random_unitary
from qjaxsim.studies.overparametrisation.published import comparison_rows
from qjaxsim.studies.overparametrisation.settings import (
    ADAM,
    NATURAL,
    OPEN,
    RING,
    UNITARY,
    OverparametrisationSettings,
)
from qjaxsim.studies.overparametrisation.study import STUDY
from qjaxsim.studies.shared.study import run_study
from qjaxsim.studies.shared.sweep import read_arrays

pytestmark = pytest.mark.thorough

SETTINGS = OverparametrisationSettings(
    problems=(OPEN,), qubits=(4,), ratios=(1.0, 1.5), starts=2, steps=30, natural_steps=25, draws=1
)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    out = tmp_path_factory.mktemp("overparametrisation") / "out"
    return out, run_study(STUDY, SETTINGS, out)


def test_rows_arrays_and_report(study):
    out, found = study
    rows = found.rows
    assert [(row["part"], row.get("optimiser"), row.get("angles")) for row in rows] == [
        (RANKS, None, None), (TRAINING, ADAM, 8), (TRAINING, ADAM, 12), (TRAINING, NATURAL, 8)
    ]  # fmt: skip
    assert set().union(*rows) <= {*COLUMNS, "cell"}
    assert read_arrays(out, "open-q4-m12")["angles"].shape == (2, 12)
    page = (out / "report.html").read_text(encoding="utf-8")
    for words in ("Published claims", "Ranks at random angles", "Trainings that succeed by steps"):
        assert words in page
    assert len(list((out / "figures").glob("*.png"))) == 3
    assert json.loads((out / "summary.json").read_text(encoding="utf-8")) == rows
    # Finished cells are not run again.
    assert run_study(STUDY, SETTINGS, out, resume=True).rows == rows


def test_ranks_are_those_of_free_fermions(study):
    """n^2 / 2 of the open chain, n^2 without its symmetries, and the published n (n - 1) where X_0 counts for a ZZ."""
    row = study[1].rows[0]
    assert (row["rank"], row["angles_needed"], row["rank_slip"], row["rank_elsewhere"], row["algebra"]) == (
        8, 8, 12, 16, 16
    )  # fmt: skip
    assert row["rank_strict"] == row["rank_loose"] == 8 and row["gap"] < 1e-9
    published = {row["quantity"]: row["difference"] for row in study[1].comparison}
    assert published["rank of the QFIM, open, 4 qubits"] == -4
    slip = "rank of the QFIM, open, 4 qubits, derivative in the ZZ with the first X as in the public code"
    assert published[slip] == 0


def test_training_goes_down_from_the_same_starts(study):
    out, found = study
    problem = Problem(OPEN, 4)
    for row in found.rows[1:]:
        before = np.asarray(problem.cost(row["layers"])(problem.starts(2, row["layers"], 0, 0)))
        after = read_arrays(out, row["cell"])["costs"]
        assert (after > -1e-12).all() and (after < before).all()
        assert row["cost"] == pytest.approx(np.median(after)) and row["share"] == (after < 1e-5).mean()


# --- problems --------------------------------------------------------------------------------------------------------


def dense_fisher(circuit, params_of, angles):
    """Four times the real part of the geometric tensor, by differences of the reference's states."""
    step = 1e-5
    psi = statevector(circuit, params_of(angles))
    moved = [
        statevector(circuit, params_of(angles + sign * step * unit)) for unit in np.eye(angles.size) for sign in (1, -1)
    ]
    slopes = np.array([(a - b) / (2 * step) for a, b in zip(moved[::2], moved[1::2], strict=True)])
    along = slopes.conj() @ psi
    return 4 * (slopes.conj() @ slopes.T - np.outer(along, along.conj())).real


@pytest.mark.parametrize("problem", [Problem(RING, 3), Problem(UNITARY, 2)])
def test_matrices_of_shorter_circuits_are_leading_blocks(problem):
    angles = problem.starts(2, 2, 0, 5)
    found = np.asarray(fisher(problem, 2)(angles))
    shorter = problem.angles(1)
    expected = dense_fisher(problem.circuit(1), problem.params, angles[1, :shorter])
    np.testing.assert_allclose(found[1, :shorter, :shorter], expected, atol=1e-7)
    own = ranks(found, 1e-9)
    assert own.by_angles[0] == own.weakest[0] == 1 and (np.diff(own.by_angles) >= 0).all()
    last = np.linalg.eigvalsh(found)
    assert own.weakest[-1] == pytest.approx(np.median(last[:, -own.largest] / last[:, -1]), rel=1e-6)


def test_the_slip_is_the_published_derivative():
    """Shifting the ZZ and the first X of a layer together, from another start as well."""
    problem, angles = Problem(OPEN, 3), Problem(OPEN, 3).starts(1, 2, 0, 7)[0]
    circuit = problem.circuit(2, start=PRODUCT, slip=True)

    def params(vector):
        theta, phi = vector.reshape(2, 2).T
        moved = theta - angles.reshape(2, 2)[:, 0]
        return {"layers": np.stack([angles.reshape(2, 2)[:, 0], phi], axis=1), "slip": moved}

    found = np.asarray(fisher(problem, 2, start=PRODUCT, slip=True)(angles))
    np.testing.assert_allclose(found, dense_fisher(circuit, params, angles), atol=1e-7)


def test_costs_vanish_at_their_minima():
    energies = np.linalg.eigvalsh(pauli_sum_matrix(ising_energy(4, periodic=True), 4))
    problem = Problem(RING, 4)
    angles = np.zeros((1, 4))  # |+>, of energy - n
    assert float(problem.cost(2)(angles)[0]) == pytest.approx(-4 - energies[0], abs=1e-10)
    bonds, fields = ising_parts(3, periodic=True)
    assert len(bonds.terms) == len(fields.terms) == 3
    # A state that is U x 1 on the pairs has infidelity 0: with no angles it is 1 less |tr U|^2 / d^2.
    unitary = Problem(UNITARY, 2, seed=3)
    target = random_unitary(4, 3)
    np.testing.assert_allclose(target @ target.conj().T, np.eye(4), atol=1e-12)
    layer = np.diag([1, 1, 1, -1])  # what is left of one without angles
    expected = 1 - abs(np.trace(target.conj().T @ layer)) ** 2 / 16
    assert float(unitary.cost(1)(np.zeros(unitary.angles(1)))) == pytest.approx(expected, abs=1e-10)


def test_layers_have_the_published_angles():
    assert [Problem(UNITARY, 3).angles(layers) for layers in (7, 10)] == [62, 86]
    for problem in (Problem(UNITARY, 3), Problem(UNITARY, 4), Problem(OPEN, 5)):
        assert problem.circuit(2).n_parameters == problem.angles(2)
        assert problem.angles(problem.layers(20)) >= 20 > problem.angles(problem.layers(20) - 1)


def test_every_angle_of_a_layer_turns_something_else():
    problem = Problem(UNITARY, 3)
    assert ranks(fisher(problem, 1)(problem.starts(1, 1, 0, 0)), 1e-9).largest == problem.angles(1) == 14


def test_training_in_pieces_is_training(monkeypatch):
    problem, made = Problem(RING, 3), []
    starts = problem.starts(2, 1, 0, 0)
    whole = training.train(problem, 1, starts, ADAM, 0.1, 5, made.append)
    monkeypatch.setattr(training, "_AT_ONCE", 3)
    pieces = training.train(problem, 1, starts, ADAM, 0.1, 5, made.append)
    assert made == [5, 3, 2] and whole.costs.shape == (2, 6)
    np.testing.assert_allclose(pieces.costs, whole.costs, rtol=1e-12)
    np.testing.assert_allclose(pieces.costs[:, 0], problem.cost(1)(starts), rtol=1e-12)
    np.testing.assert_allclose(pieces.costs[:, -1], problem.cost(1)(pieces.angles), rtol=1e-12)


def test_starts_do_not_depend_on_how_many_there_are():
    problem = Problem(OPEN, 4)
    np.testing.assert_array_equal(problem.starts(5, 3, 0, 1)[:2], problem.starts(2, 3, 0, 1))
    assert (problem.starts(50, 3, 0, 1) < np.pi).all()


def test_ranks_gaps_and_steps():
    assert rank_and_gap([0.0, 1e-12, 2.0, 4.0], 1e-9) == (2, pytest.approx(5e-13))
    assert rank_and_gap([1.0, 2.0], 1e-9) == (2, 0.0)
    below = np.array([[False, True, False, True, True], [True] * 5])
    assert _reached(below) == 1.5 and _reached(below[:0]) is None
    still, moving = np.ones(31), np.geomspace(1, 0.1, 31)
    assert _stalled(np.stack([still, moving])) == 0.5 and _stalled(np.ones((0, 31))) is None
    assert _stalled(np.geomspace(1, 0.1, 4)[None]) == 0.0  # fewer than ten steps: the last one


def test_ranks_by_other_tolerances_are_the_largest_over_angles_too():
    """A large eigenvalue that the last angle adds lifts what counts above others that did before."""
    found = ranks(np.diag([1.0, 1e-9, 1e-9, 1e5])[None], 1e-10)
    assert found.by_angles.tolist() == [1, 2, 3, 2] and found.largest == found.largest_at(1e-10) == 3
    assert found.largest_at(1e-13) == 3 and found.largest_at(1e-16) == 4 and found.largest_at(1e-7) == 2


def test_as_many_sizes_as_one_likes_are_drawn_apart():
    rows = [
        {"part": RANKS, "problem": RING, "qubits": qubits, "algebra": 3 * qubits - 1, "angles_most": 4,
         "angles_needed": 2}
        for qubits in range(3, 13)
    ]  # fmt: skip
    rows += [{**row, "part": TRAINING, "optimiser": ADAM, "angles": 2, "share": 1.0} for row in rows]
    for figure in (by_rank(rows, [{"by_angles": np.arange(4)}] * len(rows)), by_angles(rows)):
        handles = figure.axes[0].get_legend().legend_handles
        assert len({line.get_color() for line in handles}) == len(handles) == 10


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_shares_that_are_all_the_same_keep_their_place_on_the_axis(share):
    rows = [{"part": RANKS, "problem": RING, "qubits": 3, "algebra": 8, "angles_most": 4, "angles_needed": 2}]
    rows.append({**rows[0], "part": TRAINING, "optimiser": ADAM, "angles": 2, "share": share})
    cells = [{}, {"shown": np.array([1, 10]), "shares": np.full(2, share)}]
    for figure in (by_angles(rows), by_steps(rows, cells)):
        low, high = figure.axes[0].get_ylim()
        assert low < 0 < 1 < high < 2


def test_hessian_at_a_zero_of_the_infidelity_is_half_the_fisher_matrix():
    problem = Problem(UNITARY, 2)
    angles = problem.starts(1, 3, 0, 2)[0]
    state = statevector(problem.circuit(3), problem.params(angles))

    def infidelity(at):
        from qjaxsim.running.simulate import statevector as run

        return 1 - jnp.abs(jnp.vdot(jnp.asarray(state), run(problem.circuit(3))(problem.params(at)))) ** 2

    half = np.asarray(fisher(problem, 3)(angles)) / 2
    np.testing.assert_allclose(jax.hessian(infidelity)(jnp.asarray(angles)), half, atol=1e-10)


# --- verdicts --------------------------------------------------------------------------------------------------------


def made_rows(
    shares, controls=None, rank=8, algebra=16, hessian=8, problem=OPEN, slip=12, loose=8, ranks_here=(4, 8, 8)
):
    """Rows of a chain of four qubits at 4, 8 and 12 angles."""
    found = [
        {"part": RANKS, "problem": problem, "qubits": 4, "rank": rank, "rank_strict": rank, "rank_loose": loose,
         "rank_slip": slip, "rank_elsewhere": 16, "algebra": algebra}
    ]  # fmt: skip
    for name, own in {ADAM: shares, **(controls or {})}.items():
        for angles, share, here in zip((4, 8, 12), own, ranks_here, strict=True):
            found.append(
                {"part": TRAINING, "problem": problem, "qubits": 4, "optimiser": name, "angles": angles, "share": share,
                 "rank_here": here, "weakest": 1e-6, "starts": 20, "stalled": 0.5,
                 "hessian_rank": hessian if angles == 12 else None}
            )  # fmt: skip
    return found


def one_start(rows):
    return [{**row, "starts": 1} if row["part"] == TRAINING else row for row in rows]


@pytest.mark.parametrize(
    ("claim", "rows", "verdict", "words"),
    [
        (claims.sets_in, made_rows((0, 0.6, 1)), HOLDS, "8 (weakest eigenvalue 1e-06 of the largest), where 0.60"),
        (claims.sets_in, made_rows((0, 0.1, 1)), NOT_SEEN, "half of them do from 12 with adam on"),
        (claims.sets_in, made_rows((0, 0.1, 0.2)), NOT_SEEN, "from none with adam on"),
        (claims.sets_in, made_rows((0, 0.6, 1), {NATURAL: (0.5, 1, 1)}), RESERVATION, "; not with natural for open 4"),
        (claims.sets_in, made_rows((0, 0.1, 1), {NATURAL: (0, 1, 1)}), RESERVATION, "not with adam for open 4"),
        (claims.sets_in, made_rows((0, 0, 0), ranks_here=(4, 6, 7)), NOT_TESTED, "--ratios"),
        (claims.sets_in, made_rows((0.6, 0.6, 1), ranks_here=(8, 8, 8)), NOT_TESTED, "--ratios, below 1"),
        # A control that was given too few angles to saturate the rank says nothing.
        (claims.sets_in, made_rows((0, 0.6, 1)) + made_rows((0, 0, 0), {NATURAL: (0, 0, 0)})[4:5], HOLDS,
         "half of them do from 8 with adam on"),
        (claims.sets_in, one_start(made_rows((0, 1, 1))), RESERVATION, "; a single start"),
        (claims.fails_below, one_start(made_rows((0, 1, 1))), RESERVATION, "; a single start"),
        (claims.no_traps, one_start(made_rows((0, 1, 1))), RESERVATION, "; a single start"),
        (claims.fails_below, made_rows((0.4, 1, 1)), HOLDS, "adam: up to 0.40 (open 4, 4)"),
        (claims.fails_below, made_rows((0.2, 0.4, 0.5), ranks_here=(4, 6, 8)), HOLDS, "up to 0.40 (open 4, 8)"),
        (claims.fails_below, made_rows((0.4, 1, 1), {NATURAL: (0.5, 1, 1)}), RESERVATION, "not with natural"),
        (claims.fails_below, made_rows((0.6, 1, 1)), NOT_SEEN, "up to 0.60"),
        (claims.fails_below, made_rows((0, 1, 1), ranks_here=(8, 8, 8)), NOT_TESTED, "--ratios"),
        (claims.fails_below, made_rows((0, 0, 0)), NOT_TESTED, "more starts that succeed with some number of angles"),
        (claims.fails_below, made_rows((0.4, 1, 1)) + made_rows((0.45, 0, 0), problem=RING), HOLDS, "0.40 (open 4, 4)"),
        (claims.no_traps, made_rows((0, 1, 1)), HOLDS, "1.00 of 20 at 12"),
        (claims.no_traps, made_rows((0, 1, 0.9)), NOT_SEEN, "of the others 0.50 stand still"),
        (claims.no_traps, made_rows((0, 1, 1)) + made_rows((0, 0, 0), problem=RING), RESERVATION, "not for ring 4"),
        (claims.no_traps, made_rows((0, 1, 1))[:1], NOT_TESTED, "trainings"),
        (claims.bounded, made_rows((0, 0, 0)), HOLDS, "8 of 16"),
        (claims.bounded, made_rows((0, 0, 0), algebra=8), HOLDS, "8 of 8"),
        (claims.bounded, made_rows((0, 0, 0), loose=7), RESERVATION, "7 at 1e3"),
        (claims.bounded, made_rows((0, 0, 0), algebra=7), NOT_SEEN, "8 of 7"),
        (claims.equals_algebra, made_rows((0, 0, 0)), NOT_SEEN, "8, 16 from a state without its symmetries of 16"),
        (claims.equals_algebra, made_rows((0, 0, 0), algebra=8), HOLDS, "of 8"),
        (claims.equals_algebra, made_rows((0, 0, 0)) + made_rows((0, 0, 0), problem=RING, algebra=8), RESERVATION,
         "not for open 4"),
        (claims.published_ranks, made_rows((0, 0, 0)), NOT_SEEN, "8 against 12, with the slip of the public code 12"),
        (claims.published_ranks, made_rows((0, 0, 0), rank=12), HOLDS, "12 against 12"),
        (claims.published_ranks, made_rows((0, 0, 0)) + made_rows((0, 0, 0), problem=RING, rank=4), RESERVATION,
         "not for open 4"),
        (claims.published_ranks, made_rows((0, 0, 0), problem=UNITARY), NOT_TESTED, "--problems"),
        (claims.hessians, made_rows((0, 1, 1)), HOLDS, "open 4: 8 and 8"),
        (claims.hessians, made_rows((0, 1, 1), hessian=7), NOT_SEEN, "7 and 8"),
        (claims.hessians, made_rows((0, 1, 1)) + made_rows((0, 0, 0), problem=RING, hessian=7), RESERVATION, "ring 4"),
        (claims.hessians, made_rows((0, 1, 1), hessian=None), NOT_TESTED, "--steps"),
    ],
)  # fmt: skip
def test_verdicts(claim, rows, verdict, words):
    found = claim(rows)
    assert found.verdict == verdict and words in found.evidence


def test_published_numbers_beside_ours():
    rows = made_rows((0, 0.1, 0.6)) + made_rows((0, 0, 0), problem=UNITARY, rank=255)
    for row in rows:
        row["qubits"] = 4
    found = {row["quantity"]: row for row in comparison_rows(OverparametrisationSettings(), rows)}
    share = found["share of 20 starts, open, 4 qubits, 8 angles"]
    assert (share["published"], share["comparable"]) == (0.08, True)
    first = found["fewest angles with which half of the starts succeed, open, 4 qubits"]
    assert (first["ours"], first["published"], first["comparable"]) == (12, 12, "angles tried 4, 8, 12")
    assert found["rank of the QFIM, unitary, 4 qubits"]["difference"] == 0
    assert found["rank of the Hessian at the solution, open, 4 qubits, 12 angles"]["difference"] == 0
    other = comparison_rows(OverparametrisationSettings(steps=10), rows)
    assert "steps 10 against 3000" in {row["quantity"]: row for row in other}[share["quantity"]]["comparable"]
    other = comparison_rows(OverparametrisationSettings(threshold=0.1), rows)
    assert {row["quantity"]: row for row in other}[share["quantity"]]["comparable"] == "threshold 0.1 against 1e-05"


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--problems opne", "--problems must hold names of ['open', 'ring', 'unitary'], but holds 'opne'"),
        ("--qubits 2", "--qubits must hold numbers of at least 3, but holds 2"),
        ("--qubits 4,x", "--qubits must be integers separated by commas, but is '4,x'"),
        ("--ratios 0", "--ratios must hold a positive number, but holds 0"),
        ("--tolerance 1", "--tolerance must be below 0.001, since a thousand times it is tried, too, but is 1.0"),
        (
            "--problems unitary --qubits 5",
            "--qubits has an effect only with --problems open or ring, but --problems is",
        ),
        ("--problems open --unitary-qubits 3", "--unitary-qubits has an effect only with --problems unitary"),
        (
            "--problems ring --controls fast",
            "--controls has an effect only with --problems open, but --problems is ring",
        ),
        (
            "--controls fast --natural-steps 7",
            "--natural-steps has an effect only with --controls natural and --problems open",
        ),
        ("--qubits 12 --starts 100000", "choose fewer --qubits or --starts, or smaller --ratios"),
    ],
)
def test_refusals(words, message, capsys, tmp_path):
    assert main(["study", "overparametrisation", "--out", str(tmp_path / "out"), *words.split()]) != 0
    assert message in capsys.readouterr().err
