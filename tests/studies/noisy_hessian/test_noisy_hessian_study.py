"""The study `noisy-hessian`: results folder, resuming, curvature and errors against independent sums, verdicts."""

import json

import jax
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.command.main import main
from qjaxsim.report.verdict import HOLDS, NOT_SEEN, NOT_TESTED, RESERVATION
from qjaxsim.studies.noisy_hessian import claims
from qjaxsim.studies.noisy_hessian.cell import GLOBAL, LOCAL, NONE, _shots
from qjaxsim.studies.noisy_hessian.columns import COLUMNS
from qjaxsim.studies.noisy_hessian.examples import load_features, principal_angles
from qjaxsim.studies.noisy_hessian.figures import by_shots, by_strength
from qjaxsim.studies.noisy_hessian.model import loss_hessian, model_of, noisy_values
from qjaxsim.studies.noisy_hessian.settings import NoisyHessianSettings
from qjaxsim.studies.noisy_hessian.shots import evaluate, loss_errors
from qjaxsim.studies.noisy_hessian.study import STUDY
from qjaxsim.studies.shared.study import run_study
from qjaxsim.studies.shared.sweep import read_arrays

pytestmark = pytest.mark.thorough

SETTINGS = NoisyHessianSettings(
    classes=2,
    layers=1,
    seeds=(1,),
    images=6,
    shot_images=6,
    epochs=2,
    batch_size=6,
    strengths=(0.01, 0.3),
    sharpness=True,
)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    out = tmp_path_factory.mktemp("noisy") / "out"
    return out, run_study(STUDY, SETTINGS, out)


def test_rows_arrays_and_report(study):
    out, found = study
    rows = found.rows
    assert [(row["noise"], row["strength"]) for row in rows] == [
        (NONE, 0), (LOCAL, 0.01), (GLOBAL, 0.01), (LOCAL, 0.3), (GLOBAL, 0.3)
    ]  # fmt: skip
    assert set().union(*rows) <= {*COLUMNS, "cell"}
    arrays = read_arrays(out, "s1")
    assert arrays["eigenvalues"].shape == (5, 12) and arrays["drawn"].shape == (5, 4, 12)
    assert rows[0]["ratio_max"] == rows[0]["signal"] == 1 and rows[0]["overlap"] == pytest.approx(1)
    assert rows[1]["signal"] == rows[2]["signal"] > rows[3]["signal"] > 0
    page = (out / "report.html").read_text(encoding="utf-8")
    for words in ("Published claims", "Eigenvalues and noise", "Eigenvalues and shots"):
        assert words in page
    assert len(list((out / "figures").glob("*.png"))) == 3
    assert arrays["sharpness"].shape == (SETTINGS.epochs + 1,) and "Sharpness along the training" in page
    np.testing.assert_allclose(arrays["sharpness"][-1], arrays["eigenvalues"][0, -1], rtol=1e-6)  # at the weights
    assert json.loads((out / "summary.json").read_text(encoding="utf-8")) == rows
    # Finished cells are not run again.
    assert run_study(STUDY, SETTINGS, out, resume=True).rows == rows


def test_without_noise_it_is_the_spectrum_of_the_model(study):
    out, found = study
    data, weights, model = load_features(SETTINGS, None), read_arrays(out, "s1")["weights"], model_of(SETTINGS)

    def loss(w):
        likely = jax.nn.log_softmax(model.outputs({"weights": w}, data.x), axis=1)
        return -sum(likely[i, y] for i, y in enumerate(data.y)) / 6

    values = np.linalg.eigvalsh(qj.hessian(loss, weights))
    np.testing.assert_allclose(read_arrays(out, "s1")["eigenvalues"][0], values, atol=1e-10)
    assert found.rows[0]["train_loss"] == pytest.approx(float(loss(weights)), rel=1e-10)


def test_errors_of_the_loss_are_those_of_drawn_outcomes():
    """Curvature from shifted evaluations is the exact one, and its scatter that of simulated shots."""
    data = load_features(SETTINGS, None)
    weights = np.random.default_rng(3).uniform(-1, 1, (1, 4, 3))
    found = evaluate(data.x, data.y, weights, 2, 0.02, 1.0)
    exact = np.asarray(loss_hessian(1, 2)(weights, 0.02, 4.0, data.x, data.y))
    values, vectors = np.linalg.eigh(exact)
    errors = loss_errors(found, 4.0, vectors[:, [-1, 0]], 6, 10)
    np.testing.assert_allclose(errors.curvatures, values[[-1, 0]], atol=1e-10)
    # Many shots, so that first order is all there is: outcomes of two bits together.
    rng, shots = np.random.default_rng(0), 20000
    scattered = [
        loss_errors(found._replace(means=_drawn(found, shots, rng)), 4.0, vectors[:, [-1, 0]], 6, 1).curvatures
        for _ in range(60)
    ]
    np.testing.assert_allclose(np.std(scattered, axis=0) * np.sqrt(shots), errors.stds, rtol=0.3)
    assert errors.edge > errors.stds[1]


def _drawn(found, shots, rng):
    """Means of drawn pairs of outcomes with the given means and covariance."""
    a, b = found.means[..., 0], found.means[..., 1]
    both = found.covariances[..., 0, 1] + a * b
    signs = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    odds = np.stack([1 + s * a + t * b + s * t * both for s, t in signs], axis=-1) / 4
    counts = rng.multinomial(shots, np.clip(odds, 0, 1) / np.clip(odds, 0, 1).sum(-1, keepdims=True))
    return counts @ signs / shots


def test_the_control_is_one_global_channel():
    weights, x = np.random.default_rng(1).uniform(-1, 1, (1, 4, 3)), np.zeros((2, 4))
    pure = noisy_values(1, 2)({"inputs": x, "weights": weights, "p": 0.0})
    assert np.abs(np.asarray(noisy_values(1, 2)({"inputs": x, "weights": weights, "p": 1.0}))).max() < 1e-12
    found = evaluate(x, np.zeros(2, int), weights, 2, 0.0, 0.25)
    np.testing.assert_allclose(found.means[:, 0], 0.25 * np.asarray(pure), atol=1e-12)
    np.testing.assert_allclose(found.covariances[..., 0, 0], 1 - found.means[..., 0] ** 2, atol=1e-12)


def test_features_are_principal_components():
    rng = np.random.default_rng(2)
    found = principal_angles(rng.normal(size=(30, 5)) * [5, 4, 3, 2, 0.01])
    np.testing.assert_allclose(np.abs(found).max(axis=0), np.pi / 2)
    correlation = np.corrcoef(found.T)
    np.testing.assert_allclose(correlation, np.eye(4), atol=1e-10)
    # Four rows less their mean span three directions: a fourth angle would be rounding.
    few = principal_angles(rng.normal(size=(4, 9)))
    np.testing.assert_allclose(np.abs(few).max(axis=0), [*[np.pi / 2] * 3, 0])


# --- verdicts --------------------------------------------------------------------------------------------------------


def made_rows(
    local=(0.9, 0.4), control=(0.9, 0.4), rank=(5, 5, 5), overlap=0.99, shots=(10, 10, 10), seeds=(0, 1), least=0.0
):
    """Rows of two strengths, 0.01 and 0.1, beside that without noise."""
    rows = []
    for seed in seeds:
        cases = [(NONE, 0.0, 1.0, rank[0], shots[0])]
        for place, strength in enumerate((0.01, 0.1)):
            cases += [(LOCAL, strength, local[place], rank[1], shots[place + 1])]
            cases += [(GLOBAL, strength, control[place], rank[2], 1)]
        for noise, strength, ratio, number, needed in cases:
            row = {
                "seed": seed, "noise": noise, "strength": strength, "ratio_max": ratio, "lambda_max": 2 * ratio,
                "lambda_min": -ratio * (1 + least * (noise == LOCAL)),
                "rank": number, "dead": 2, "overlap_control": overlap, "parameters": 12, "evaluations": 9,
                "energy_evaluations": 7,
            }  # fmt: skip
            names = ("shots_max", "shots_sign_min", "shots_edge_min")
            rows.append(row | {f"{prefix}{name}": needed for prefix in ("", "energy_") for name in names})
    return rows


def test_halving_lies_between_strengths():
    for rows in (made_rows(local=(0.6, 0.4)), made_rows(local=(0.6, 0.4))[::-1]):  # in whatever order they come
        assert claims.halving_strength(rows, 0) == pytest.approx(0.1**1.5)
    assert claims.halving_strength(made_rows(local=(0.5, 0.4)), 0) == 0.01
    assert claims.halving_strength(made_rows(local=(0.9, 0.6)), 0) is None


@pytest.mark.parametrize(
    ("claim", "rows", "verdict", "words"),
    [
        (claims.suppressed, made_rows(), RESERVATION, "so does shrinking the outputs as much"),
        (claims.suppressed, made_rows(control=(0.9, 0.8)), HOLDS, "halved at a strength of 0.063"),
        (claims.suppressed, made_rows(control=(0.6, 0.2)), HOLDS, "by shrinking the outputs as much at 0.0178"),
        # Halved somewhere below the weakest strength: neither where, nor whether the control is, too.
        (claims.suppressed, made_rows(local=(0.3, 0.1)), RESERVATION, "at the weakest strength of 0.01 0.3 (0.3 to"),
        (claims.suppressed, made_rows(local=(0.3, 0.1)), RESERVATION, "; weaker --strengths would say where"),
        (claims.suppressed, made_rows(local=(0.9, 0.7)), NOT_SEEN, "at 0.1 up to 0.70 of it is left"),
        (claims.turned_on, made_rows(rank=(5, 6, 5)), HOLDS, "rank 5, 5 without noise, 6, 6 at 0.01"),
        (claims.turned_on, made_rows(rank=(5, 6, 6)), RESERVATION, "the control does it too"),
        (claims.turned_on, made_rows(rank=(5, 6, 5), seeds=(3,)), RESERVATION, "a single seed"),
        (claims.turned_on, made_rows(), NOT_SEEN, "of 12"),
        (claims.turned_on, made_rows(rank=(10, 10, 10)), NOT_TESTED, "the others without any effect"),
        (claims.rescaled, made_rows(), HOLDS, "at 0.1 0.0 % and 0 %, overlap 0.990"),
        (claims.rescaled, made_rows(control=(0.9, 0.2)), RESERVATION, "not at 0.1"),
        (claims.rescaled, made_rows(overlap=0.5, seeds=(3,)) + made_rows(), NOT_SEEN, "overlap 0.500"),
        (claims.rescaled, made_rows(least=0.2), NOT_SEEN, "at 0.01 0.0 % and 20 %"),
    ],
)
def test_verdicts_on_noise(claim, rows, verdict, words):
    found = claim(rows)
    assert found.verdict == verdict and words in found.evidence


def test_what_rounding_makes_of_zeros_is_alike():
    """Where no eigenvalue is negative, the smallest ones are zeros up to rounding, of any sign."""

    def least(local, control):
        smallest = {LOCAL: local, GLOBAL: control, NONE: 0.0}
        return claims.rescaled([row | {"lambda_min": smallest[row["noise"]]} for row in made_rows()])

    assert least(0.0, 0.0).verdict == least(-3e-17, 2e-18).verdict == HOLDS
    assert least(-1e-4, 0.0).verdict == NOT_SEEN and "at 0.01 0.0 % and inf %" in least(-1e-4, 0.0).evidence


def test_no_shots_tell_the_sign_of_what_rounding_leaves():
    names = ("shots_max", "shots_sign_min", "shots_edge_min")
    for values, known in (
        ([-1e-17, 0.0, 2.0], (25, None, None)),
        ([-0.5, 0.0, 2.0], (25, 16, 4)),
        ([-2.0, 0.0, 1e-16], (None, 1, 1)),
    ):
        found = _shots("", np.array(values), np.array([1.0, 1.0]), 1.0)
        assert tuple(found[name] for name in names) == known


def test_lines_go_from_weak_to_strong_noise_however_it_was_asked_for():
    noises = [{"noise": NONE, "strength": 0.0}]
    noises += [{"noise": name, "strength": p} for p in (0.3, 0.1, 0.2) for name in (LOCAL, GLOBAL)]
    values = np.array([[-row["strength"], 1 - row["strength"]] for row in noises])
    for axes, place in zip(by_strength(noises, [{"eigenvalues": values}], 1).axes, (1, 0), strict=True):
        lines = [line.get_xydata() for line in axes.lines if line.get_marker() == "o"]
        expected = np.array([[0.1, place - 0.1], [0.2, place - 0.2], [0.3, place - 0.3]])
        np.testing.assert_allclose(lines, [expected, expected])


def test_as_many_strengths_as_one_likes_are_drawn_apart():
    noises = [{"noise": NONE, "strength": 0.0, "energy_edge": 1.0}]
    noises += [{"noise": LOCAL, "strength": 0.1 * place, "energy_edge": 1.0} for place in range(1, 9)]
    cell = {"energy_eigenvalues": np.ones((9, 2)), "energy_stds": np.ones((9, 2)), "drawn": np.ones((9, 2, 2))}
    figure = by_shots(noises, cell | {"drawn": cell["drawn"][:, :1]}, (10,))
    # One number of shots: lines have a length all the same.
    assert all(np.ptp(line.get_xdata()) > 0 for line in figure.axes[0].lines if line.get_marker() != "o")
    handles = by_shots(noises, cell, (10, 100)).axes[0].get_legend().legend_handles
    assert len({line.get_color() for line in handles}) == len(handles) == 10


@pytest.mark.parametrize("claim", [claims.largest, claims.sign])
def test_verdicts_on_shots(claim):
    assert claim([5, 100], made_rows()).verdict == HOLDS
    found = claim([5, 100], made_rows(shots=(10, 10, 1000), seeds=(0,)) + made_rows(seeds=(1,)))
    assert found.verdict == RESERVATION and "not within 100 at 0.1" in found.evidence
    assert claim([100], made_rows(shots=(200, 10, 10))).verdict == NOT_SEEN
    assert claim([100], made_rows(shots=(None, None, None))).verdict == NOT_TESTED
    of_loss = [{name: None if name.startswith("energy_shots") else row[name] for name in row} for row in made_rows()]
    assert claim([100], of_loss).evidence.endswith("of an energy's 7: none of its eigenvalues has that sign")


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--strengths 0.1,1", "--strengths must hold probabilities below 1, but holds 1.0"),
        ("--strengths 0.1,a", "--strengths must be numbers separated by commas, but is '0.1,a'"),
        ("--strengths 0", "--strengths must hold a positive number, but holds 0"),
        ("--batch-size 300", "--batch-size must be at most the 200 training images, but is 300"),
        ("--shot-images 300", "--shot-images must be at most the 200 training images, but is 300"),
        ("--images 5000", "training images of digits in these classes, but is 5000"),
        ("--classes 5", "--classes must be at most 4, but is 5"),
    ],
)
def test_refusals(words, message, capsys, tmp_path):
    assert main(["study", "noisy-hessian", "--out", str(tmp_path / "out"), *words.split()]) != 0
    assert message in capsys.readouterr().err
