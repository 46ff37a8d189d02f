"""The study `noisy-fisher`: results folder, resuming, matrices against dense algebra, rules of the verdicts."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qjaxsim.circuits.reference import density_matrix, embed, pauli_sum_matrix
from qjaxsim.command.main import main
from qjaxsim.models.ising import ising_energy
from qjaxsim.report.verdict import HOLDS, NOT_SEEN, NOT_TESTED, RESERVATION
from qjaxsim.studies.noisy_fisher import claims
from qjaxsim.studies.noisy_fisher.cell import GLOBAL, LOCAL, MINIMUM, NONE, RANDOM
from qjaxsim.studies.noisy_fisher.columns import COLUMNS
from qjaxsim.studies.noisy_fisher.figures import _fisher, _panels
from qjaxsim.studies.noisy_fisher.model import (
    mixed_with_identity,
    noiseless_energy,
    noisy_circuit,
    noisy_matrices,
    weight_of,
)
from qjaxsim.studies.noisy_fisher.published import comparison_rows
from qjaxsim.studies.noisy_fisher.settings import NoisyFisherSettings
from qjaxsim.studies.noisy_fisher.study import STUDY
from qjaxsim.studies.shared.study import run_study
from qjaxsim.studies.shared.sweep import read_arrays

pytestmark = pytest.mark.thorough

SETTINGS = NoisyFisherSettings(qubits=3, layers=(3,), strengths=(1e-3, 0.03), seeds=(0, 4), steps=300)
NOISES = [(NONE, 0.0), (LOCAL, 1e-3), (GLOBAL, 1e-3), (LOCAL, 0.03), (GLOBAL, 0.03)]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    out = tmp_path_factory.mktemp("noisy-fisher") / "out"
    return out, run_study(STUDY, SETTINGS, out)


def test_rows_arrays_and_report(study):
    out, found = study
    rows = found.rows
    assert [(row["point"], row["seed"], row["noise"], row["strength"]) for row in rows] == [
        (point, seed, *noise) for point in (RANDOM, MINIMUM) for seed in (0, 4) for noise in NOISES
    ]
    assert set().union(*rows) <= {*COLUMNS, "cell"}
    arrays = read_arrays(out, "p3")
    assert arrays["angles"].shape == (4, 6) and arrays["fisher"].shape == arrays["hessian"].shape == (20, 6)
    page = (out / "report.html").read_text(encoding="utf-8")
    for words in ("Published claims", "Rank by threshold", "The Hessian under noise"):
        assert words in page
    assert len(list((out / "figures").glob("*.png"))) == 3
    assert json.loads((out / "summary.json").read_text(encoding="utf-8")) == rows
    # Finished cells are not run again.
    assert run_study(STUDY, SETTINGS, out, resume=True).rows == rows


def test_minima_are_ground_states(study):
    out, found = study
    ground = np.linalg.eigvalsh(pauli_sum_matrix(ising_energy(3, periodic=True), 3))[0]
    for row in found.rows:
        if (row["point"], row["noise"]) == (MINIMUM, NONE):
            assert row["energy"] == pytest.approx(ground, abs=1e-9) and row["hessian_negative"] == 0
            # There the two matrices have the same directions.
            assert row["hessian_rank"] == row["rank"] < row["angles"]


# --- matrices --------------------------------------------------------------------------------------------------------


def dense_fisher(rho, slopes):
    """By the symmetric logarithmic derivative, which solves rho L + L rho = 2 d rho."""
    d, eye = len(rho), np.eye(len(rho))
    operator = np.kron(rho, eye) + np.kron(eye, rho.T)
    derivatives = [(np.linalg.pinv(operator) @ (2 * slope).ravel()).reshape(d, d) for slope in slopes]
    return np.array([[np.trace(rho @ (a @ b + b @ a)).real / 2 for b in derivatives] for a in derivatives])


def slopes_of(function, angles):
    step = 1e-5
    return [
        (function(angles + step * unit) - function(angles - step * unit)) / (2 * step) for unit in np.eye(angles.size)
    ]


@pytest.mark.slow
def test_matrices_are_those_of_the_noisy_density_matrix():
    angles, strength = np.random.default_rng(1).uniform(0, np.pi, 4), 0.02
    circuit, energy = noisy_circuit(3, 2), pauli_sum_matrix(ising_energy(3, periodic=True), 3)

    def rho(at):
        return density_matrix(circuit, {"layers": at.reshape(2, 2), "strength": strength})

    taken = noisy_matrices(3, 2)(jnp.asarray(angles)[None], jnp.array([0.0, strength]))
    found = {name: np.asarray(value)[0, 1] for name, value in taken.items()}
    np.testing.assert_allclose(found["fisher"], dense_fisher(rho(angles), slopes_of(rho, angles)), atol=1e-6)
    assert found["purity"] == pytest.approx(np.trace(rho(angles) @ rho(angles)).real)
    assert found["energy"] == pytest.approx(np.trace(rho(angles) @ energy).real)
    slope = jax.grad(lambda at: taken_energy(circuit, at, strength))
    hessian = np.array(slopes_of(lambda at: np.asarray(slope(jnp.asarray(at))), angles))
    np.testing.assert_allclose(found["hessian"], hessian, atol=1e-7)
    # Without noise the energy is that of the circuit of gates.
    assert float(taken["energy"][0, 0]) == pytest.approx(float(noiseless_energy(3, 2)(angles)))


def taken_energy(circuit, angles, strength):
    from qjaxsim.running.simulate import expectation

    return expectation(circuit, ising_energy(3, periodic=True))({"layers": angles.reshape(2, 2), "strength": strength})


def test_noise_is_each_pauli_with_its_strength_after_every_gate():
    theta, phi, strength = 0.4, 1.1, 0.01
    x, y, z = np.array([[0, 1], [1, 0]]), np.array([[0, -1j], [1j, 0]]), np.diag([1, -1])
    hadamard, turn = (x + z) / np.sqrt(2), np.diag(np.exp([-0.5j * theta, 0.5j * theta]))
    turned = np.cos(phi / 2) * np.eye(2) - 1j * np.sin(phi / 2) * x
    gates = [(hadamard, (q,)) for q in range(3)]
    for pair in ((0, 1), (1, 2), (0, 2)):
        gates += [(np.eye(4)[[0, 1, 3, 2]], pair), (turn, pair[1:]), (np.eye(4)[[0, 1, 3, 2]], pair)]
    rho = np.diag([1.0 + 0j] + 7 * [0])
    for matrix, qubits in gates + [(turned, (q,)) for q in range(3)]:
        gate = embed(matrix, qubits, 3)
        rho = gate @ rho @ gate.conj().T
        for qubit in qubits:
            flipped = [embed(pauli, (qubit,), 3) for pauli in (x, y, z)]
            rho = (1 - 3 * strength) * rho + strength * sum(pauli @ rho @ pauli for pauli in flipped)
    found = density_matrix(noisy_circuit(3, 1), {"layers": np.array([[theta, phi]]), "strength": strength})
    np.testing.assert_allclose(found, rho, atol=1e-12)


def test_the_control_is_a_mixture_with_the_identity():
    rng = np.random.default_rng(2)
    psi = rng.normal(size=4) + 1j * rng.normal(size=4)
    psi /= np.linalg.norm(psi)
    generators = [a + a.conj().T for a in rng.normal(size=(2, 4, 4)) + 1j * rng.normal(size=(2, 4, 4))]
    pure, weight = np.outer(psi, psi.conj()), 0.3
    mixed = weight * pure + (1 - weight) * np.eye(4) / 4
    slopes = [-1j * (g @ pure - pure @ g) for g in generators]
    expected = dense_fisher(mixed, [weight * slope for slope in slopes])
    found = mixed_with_identity(weight, 4) * np.array(
        [[4 * (psi.conj() @ a @ b @ psi - psi.conj() @ a @ psi * (psi.conj() @ b @ psi)).real for b in generators]
         for a in generators]
    )  # fmt: skip
    np.testing.assert_allclose(found, expected, atol=1e-10)
    assert weight_of(np.trace(mixed @ mixed).real, 4) == pytest.approx(weight)
    assert mixed_with_identity(1.0, 4) == 1 and weight_of(0.25, 4) == 0


# --- verdicts --------------------------------------------------------------------------------------------------------


def made_rows(local=(6, 6), loose=6, coarse=4, rank=4, mixed=4, turned=(1e-4, 0.5), largest=(20.0, 5.0), control=None,
              smallest=(1e-6, 1e-5), hessian=(4, 6, 4), seeds=(0, 1)):  # fmt: skip
    """Rows of three layers at two strengths, 0.001 and 0.01."""
    control, rows = control or largest, []
    for point in (RANDOM, MINIMUM):
        for seed in seeds:
            cases = [(NONE, 0.0, rank, rank, 25.0, 0.0, 0.0, hessian[0])]
            for place, strength in enumerate((0.001, 0.01)):
                cases.append(
                    (LOCAL, strength, local[place], loose, largest[place], turned[place], smallest[place], hessian[1])
                )
                cases.append((GLOBAL, strength, mixed, mixed, control[place], 0.0, 0.0, hessian[2]))
            for noise, strength, own, wide, top, on, least, curved in cases:
                rows.append(
                    {"layers": 3, "angles": 6, "point": point, "seed": seed, "noise": noise, "strength": strength,
                     "rank": own, "rank_loose": wide, "rank_coarse": coarse, "largest": top, "kept": 1.0,
                     "turned_on": on, "smallest": least, "hessian_rank": curved, "hessian_negative": 1}
                )  # fmt: skip
    return rows


def test_as_many_strengths_as_one_likes_are_drawn_apart():
    noises = [(NONE, 0.0), *((LOCAL, 0.01 * place) for place in range(1, 10))]
    rows = [{"layers": 3, "point": RANDOM, "seed": 0, "noise": noise, "strength": p} for noise, p in noises]
    figure = _panels(rows, [{"fisher": np.arange(1.0, 7.0)}] * len(rows), "fisher", RANDOM, "", _fisher)
    handles = figure.axes[0].get_legend().legend_handles
    assert len({line.get_color() for line in handles}) == len(handles) == 10


def one_strength(rows):
    return [row for row in rows if row["strength"] < 0.01]


def unlike(**columns):
    """Two seeds, the second with other numbers."""
    return made_rows(turned=(1e-4, 1e-3), seeds=(0,)) + made_rows(seeds=(1,), **columns)


@pytest.mark.parametrize(
    ("claim", "rows", "verdict", "words"),
    [
        # Every seed counts, and of the ranks those that are not full without noise.
        (claims.turned_on, unlike(rank=6, mixed=6), HOLDS, "without noise 5, at 0.001 6"),
        (claims.coexist, unlike(turned=(0.15, 1e-3)), NOT_SEEN, "at 0.001 0.075 (0.0001 to 0.15)"),
        (claims.more_than_mixing, unlike(control=(23, 5)), NOT_SEEN, "(0.87 to 1)"),
        (claims.ill_defined, unlike(coarse=5), RESERVATION, "in 1 of 2"),
        (claims.hessian, unlike(hessian=(4, 4, 4)), RESERVATION, "in 1 of 2"),
        (claims.turned_on, made_rows(), HOLDS, "without noise 4, at 0.001 6, with the control 4"),
        (claims.turned_on, made_rows(loose=4), RESERVATION, "with 1e3 of the tolerance 4"),
        (claims.turned_on, made_rows(seeds=(3,)), RESERVATION, "a single seed"),
        (claims.turned_on, made_rows(mixed=5), NOT_SEEN, "control 5"),
        (claims.turned_on, made_rows(local=(4, 6)), NOT_SEEN, "at 0.001 4"),
        (claims.turned_on, made_rows(rank=6), NOT_TESTED, "--layers"),
        (claims.all_on, made_rows(), HOLDS, "above 1e-2 of the largest 4"),
        (claims.all_on, made_rows(loose=5), RESERVATION, "not with that"),
        (claims.all_on, made_rows(local=(5, 6)), NOT_SEEN, "ranks by layers 5"),
        (claims.all_on, made_rows(rank=6), NOT_TESTED, "no eigenvalue is zero without noise"),
        (claims.coexist, made_rows(turned=(1e-4, 1e-3)), HOLDS, "at 0.01 0.001"),
        (claims.coexist, made_rows(), RESERVATION, "not at 0.01"),
        (claims.coexist, made_rows(turned=(0.2, 1e-3)), NOT_SEEN, "at 0.001 0.2"),
        (claims.suppressed, made_rows(largest=(22.6, 9.2), smallest=(2e-6, 1e-6)), HOLDS, "0.904 at 0.001 (rate 101)"),
        (claims.suppressed, made_rows(largest=(24.9, 5), smallest=(2e-6, 1e-6)), RESERVATION, "by a factor of 40"),
        (claims.suppressed, made_rows(largest=(22.6, 9.2)), RESERVATION, "the smallest grow first, 1e-06, 1e-05"),
        (claims.suppressed, made_rows(largest=(20, 21)), NOT_SEEN, "0.84 at 0.01"),
        (claims.suppressed, one_strength(made_rows()), NOT_TESTED, "two --strengths"),
        # At full strength nothing is left: 0.25 of each Pauli operator makes every state the identity.
        (claims.suppressed, made_rows(largest=(22.6, 0.0)), RESERVATION, "0 at 0.01 (rate inf); rates differ by a"),
        (claims.more_than_mixing, made_rows(largest=(20.0, 0.0)), RESERVATION, "at 0.01 inf"),
        (claims.coexist, [{**row, "kept": -1e-15} for row in made_rows()], NOT_SEEN, "at 0.001 inf"),
        (claims.more_than_mixing, made_rows(), HOLDS, "at 0.01 1 (1 to 1)"),
        (claims.more_than_mixing, made_rows(control=(20, 10)), RESERVATION, "not at 0.01"),
        (claims.more_than_mixing, made_rows(control=(10, 5)), NOT_SEEN, "at 0.001 2"),
        (claims.ill_defined, made_rows(), HOLDS, "in 2 of 2"),
        (claims.ill_defined, made_rows(coarse=5), NOT_SEEN, "in 0 of 2"),
        (claims.ill_defined, made_rows(rank=6), NOT_TESTED, "--layers"),
        (
            claims.hessian,
            made_rows(),
            HOLDS,
            "without noise 4, at 0.001 6, with the control 4; of the QFIM 6; negative 1",
        ),
        (claims.hessian, made_rows(hessian=(4, 4, 4)), NOT_SEEN, "at 0.001 4"),
        (claims.hessian, made_rows(hessian=(6, 6, 6)), NOT_TESTED, "--layers"),
    ],
)
def test_verdicts(claim, rows, verdict, words):
    found = claim(rows)
    assert found.verdict == verdict and words in found.evidence


def test_published_numbers_beside_ours():
    rows = made_rows()
    for row in rows:
        row["strength"] = {0.001: 1e-4}.get(row["strength"], row["strength"])
    found = {row["quantity"]: row for row in comparison_rows(NoisyFisherSettings(), rows)}
    assert found["rank of the QFIM, 3 layers, local noise of 0.0001"]["difference"] == 0
    assert found["rank of the QFIM, 3 layers, no noise"]["difference"] == 0
    six = [{**row, "layers": 6} for row in rows]
    found = {row["quantity"]: row for row in comparison_rows(NoisyFisherSettings(qubits=5), six)}
    assert found["rank of the QFIM, 6 layers, global noise"]["comparable"] == "5 qubits against 4"
    top = found["largest eigenvalue of the QFIM, 6 layers, no noise"]
    assert (top["ours"], top["published"]) == (25.0, 6.6) and "a fourth of the QFIM" in top["comparable"]


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--strengths 0.1,0.3", "--strengths must hold probabilities up to 0.25, but holds 0.3"),
        ("--strengths 0", "--strengths must hold a positive number, but holds 0"),
        ("--strengths a", "--strengths must be numbers separated by commas, but is 'a'"),
        ("--qubits 7", "--qubits must be at most 6, but is 7"),
        ("--layers 2,2", "--layers must hold at least one value and none twice"),
        ("--tolerance 2", "--tolerance must be below 0.001, since a thousand times it is tried, too, but is 2.0"),
    ],
)
def test_refusals(words, message, capsys, tmp_path):
    assert main(["study", "noisy-fisher", "--out", str(tmp_path / "out"), *words.split()]) != 0
    assert message in capsys.readouterr().err
