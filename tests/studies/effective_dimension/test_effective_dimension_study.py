"""The study `effective-dimension`: published rows, draws, Fisher matrices against NumPy, verdicts, resuming."""

import json

import numpy as np
import pytest
import qjaxsim_data

from qjaxsim.circuits import reference
from qjaxsim.circuits.library import real_amplitudes, zz_feature_map
from qjaxsim.command.main import main
from qjaxsim.report.verdict import HOLDS, NOT_SEEN, NOT_TESTED, RESERVATION
from qjaxsim.studies.effective_dimension import claims
from qjaxsim.studies.effective_dimension.cell import fishers, run_cell
from qjaxsim.studies.effective_dimension.columns import COLUMNS
from qjaxsim.studies.effective_dimension.draws import Draws, draw, torch_uniform
from qjaxsim.studies.effective_dimension.models import model_of, random_features
from qjaxsim.studies.effective_dimension.settings import (
    EASY,
    FEATURES,
    MODELS,
    NARROW,
    NETWORK,
    PI,
    QNN,
    UNIT,
    EffectiveDimensionSettings,
)
from qjaxsim.studies.effective_dimension.study import STUDY
from qjaxsim.studies.shared.study import run_study
from qjaxsim.studies.shared.sweep import read_arrays
from tests.cases import mostly_slow

pytestmark = pytest.mark.thorough

SETTINGS = EffectiveDimensionSettings(samples=(1000, 10_000), thetas=3, inputs=4, seeds=(0,))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    out = tmp_path_factory.mktemp("dimension") / "out"
    return out, run_study(STUDY, SETTINGS, out)


def test_rows_arrays_and_report(study):
    out, found = study
    rows = found.rows
    assert [(row["model"], row["interval"], row["samples"]) for row in rows] == [
        (model, interval, n) for model in MODELS for interval in (UNIT, PI) for n in SETTINGS.samples
    ]
    assert set().union(*rows) <= {*COLUMNS, "cell"}
    assert read_arrays(out, "qnn-pi-s0")["eigenvalues"].shape == (3, 40)
    assert all(0 < row["share"] < 1 and row["rank"] <= row["parameters"] for row in rows)
    assert {row["model"]: row["parameters"] for row in rows} == {**dict.fromkeys(MODELS, 40), NARROW: 28}
    # Four inputs of two labels, the probabilities of which add up to one: rank 4 at most.
    assert max(row["rank"] for row in rows) <= 4 == rows[0]["rank"]
    page = (out / "report.html").read_text(encoding="utf-8")
    for words in ("Published claims", "Published numbers beside ours", "Spectra of the Fisher matrix"):
        assert words in page
    assert len(list((out / "figures").glob("*.png"))) == 2
    reasons = "3 draws of parameters against 100; 4 inputs against 100"
    unknown = f"{reasons}; draws that the public programs do not tell"
    assert [row["comparable"] for row in found.comparison] == 2 * [reasons] + 2 * [unknown] + 2 * [reasons, unknown][
        :1
    ] + 2 * [unknown]
    assert json.loads((out / "summary.json").read_text(encoding="utf-8")) == rows
    # Finished cells are not run again.
    assert run_study(STUDY, SETTINGS, out, resume=True).rows == rows


@pytest.mark.parametrize("model", mostly_slow([EASY, QNN], keep=1))
def test_published_rows_to_twelve_digits(model):
    published = [row for row in qjaxsim_data.load("effective_dimension")["normalised"] if row["model"] == model]
    settings = EffectiveDimensionSettings(samples=tuple(row["samples"] for row in published), seeds=(0,))
    found = run_cell(settings, model, UNIT, 0).row
    np.testing.assert_allclose([row["share"] for row in found], [row["share"] for row in published], rtol=0, atol=1e-12)


def test_fisher_matrix_of_the_quantum_network_is_that_of_shifted_states():
    rng = np.random.default_rng(3)
    theta, x = rng.uniform(0, 1, 40), rng.normal(size=(2, 4))
    circuit = zz_feature_map(4).compose(real_amplitudes(4, 9, entanglement="full"))
    odd = np.array([bin(state).count("1") % 2 for state in range(16)])

    def labels(angles, inputs):
        state = reference.statevector(circuit, {"weights": angles.reshape(10, 4), "x": inputs})
        return np.array([(np.abs(state[odd == label]) ** 2).sum() for label in (0, 1)])

    expected = np.zeros((40, 40))
    for inputs in x:
        shifts = np.pi / 2 * np.eye(40)
        slopes = np.array([labels(theta + shift, inputs) - labels(theta - shift, inputs) for shift in shifts]) / 2
        expected += slopes @ np.diag(1 / labels(theta, inputs)) @ slopes.T / len(x)
    np.testing.assert_allclose(fishers(model_of(QNN, 2.0), Draws(theta[None], x))[0], expected, atol=1e-12)


def test_fisher_matrices_of_the_classical_models():
    """Of a binary model mean p (1 - p) g g^T, g the derivatives of the logit."""
    rng = np.random.default_rng(4)
    theta, x = rng.uniform(-1, 1, 40), rng.normal(size=(5, 4))
    frequencies, phases = random_features(2.0)
    slopes = np.cos(x @ frequencies.T + phases)
    p = 1 / (1 + np.exp(-slopes @ theta))
    expected = (slopes.T * (p * (1 - p))) @ slopes / len(x)
    np.testing.assert_allclose(fishers(model_of(FEATURES, 2.0), Draws(theta[None], x))[0], expected, atol=1e-12)

    def logit(flat):
        first, second, third = flat[:16].reshape(4, 4), flat[16:32].reshape(4, 4), flat[32:].reshape(2, 4)
        hidden = x
        for weights in (first, second):
            hidden = hidden @ weights.T
            hidden = np.where(hidden > 0, hidden, 0.01 * hidden)
        outputs = np.tanh(hidden @ third.T)
        return outputs[:, 0] - outputs[:, 1]

    step = 1e-6
    slopes = np.array([logit(theta + step * unit) - logit(theta - step * unit) for unit in np.eye(40)]) / (2 * step)
    p = 1 / (1 + np.exp(-logit(theta)))
    expected = (slopes * (p * (1 - p))) @ slopes.T / len(x)
    np.testing.assert_allclose(fishers(model_of(NETWORK, 2.0), Draws(theta[None], x))[0], expected, atol=1e-8)


def test_draws_are_numpys_and_pytorchs():
    torch = pytest.importorskip("torch")
    np.random.seed(5)  # noqa: NPY002
    thetas, x = np.random.uniform(0, 1, (3, 40)), np.random.normal(0, 1, (4, 4))  # noqa: NPY002
    found = draw(SETTINGS, QNN, UNIT, 5)
    assert np.array_equal(found.thetas, thetas) and np.array_equal(found.x, x)
    np.testing.assert_allclose(draw(SETTINGS, QNN, PI, 5).thetas, np.pi * (2 * thetas - 1), atol=1e-12)
    torch.manual_seed(7)
    layers = [torch.nn.Linear(*sizes, bias=False) for sizes in ((4, 4), (4, 4), (4, 2))]
    drawn = [layer.double().weight.data.uniform_(0, 1).numpy().ravel() for layer in layers]
    assert np.array_equal(torch_uniform(7, 40, 40), np.concatenate(drawn))
    assert np.array_equal(draw(SETTINGS, NETWORK, UNIT, 2).thetas[0], torch_uniform(7, 40, 40))


# --- verdicts --------------------------------------------------------------------------------------------------------


def made_rows(qnn=(0.8, 0.8), network=(0.5, 0.5), easy=(0.6, 0.6), features=(0.7, 0.7), alike=0.8, seeds=(0, 1)):
    """Shares at the intervals unit and pi, the same at two n."""
    shares = {QNN: qnn, NETWORK: network, EASY: easy, FEATURES: features}
    return [
        {"model": model, "interval": interval, "seed": seed, "samples": n, "share": share,
         "share_alike": alike if model == QNN else share}
        for model, both in shares.items()
        for interval, share in zip((UNIT, PI), both, strict=True)
        for seed in seeds
        for n in (1000, 10_000)
    ]  # fmt: skip


ONE_SEED_APART = made_rows(seeds=(0,)) + made_rows(network=(0.9, 0.5), easy=(0.9, 0.5), seeds=(1,))


@pytest.mark.parametrize(
    ("claim", "rows", "verdict", "words"),
    [
        (claims.larger, made_rows(), HOLDS, "0.8 (0.8 to 0.8, 2 seeds) against 0.5 (0.5 to 0.5, 2 seeds) of d at n"),
        (claims.larger, made_rows(network=(0.5, 0.79)), RESERVATION, "not with parameters between -pi and pi"),
        (claims.larger, made_rows(alike=0.51), RESERVATION, "not with Fisher matrices of equal trace: 0.51"),
        (claims.larger, made_rows(seeds=(0,)), RESERVATION, "a single seed"),
        (claims.larger, made_rows(network=(0.5, 0.77)), HOLDS, "; with parameters between -pi and pi 0.8"),
        (claims.larger, made_rows(network=(0.9, 0.5)), NOT_SEEN, "against 0.9"),
        (claims.larger, ONE_SEED_APART, NOT_SEEN, "0.8 (0.8 to 0.8, 2 seeds) against 0.7 (0.5 to 0.9, 2 seeds)"),
        (claims.encoding, ONE_SEED_APART, NOT_SEEN, "0.8 (0.8 to 0.8, 2 seeds) against 0.75 (0.6 to 0.9, 2 seeds)"),
        (claims.no_classical_model, made_rows(), HOLDS, "against logistic regression"),
        (claims.no_classical_model, made_rows(features=(0.79, 0.7)), NOT_SEEN, "against 0.79"),
        (claims.no_classical_model, made_rows(features=(0.7, 0.9)), RESERVATION, "not so with parameters between"),
        (claims.encoding, made_rows(), HOLDS, "against 0.6"),
        (claims.encoding, made_rows(easy=(0.6, 0.79)), RESERVATION, "not with parameters between -pi and pi: 0.8"),
        (claims.encoding, made_rows(easy=(0.8, 0.5)), NOT_SEEN, "against 0.8"),
    ],
)
def test_verdicts(claim, rows, verdict, words):
    found = claim(rows)
    assert found.verdict == verdict and words in found.evidence


def test_verdicts_that_were_not_asked_for():
    rows = [row for row in made_rows() if row["model"] == FEATURES]
    found = claims.dimension_verdicts(rows)
    assert {one.verdict for one in found} == {NOT_TESTED}
    assert found[0].evidence == "Would be tested by --models qnn,network and --intervals unit."
    alone = [row for row in made_rows() if row["model"] == QNN]
    assert {one.verdict for one in claims.dimension_verdicts(alone)} == {NOT_TESTED}
    unit = [row for row in made_rows() if row["interval"] == UNIT]
    assert {one.verdict for one in claims.dimension_verdicts(unit)} == {HOLDS}


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "--models qn",
            "--models must hold names of ['qnn', 'easy', 'network', 'network-28', 'features'], but holds 'qn'",
        ),
        ("--intervals one", "--intervals must hold names of ['unit', 'pi'], but holds 'one'"),
        ("--samples 10", "--samples must hold numbers of at least 100, but holds 10"),
        ("--thetas 1", "--thetas must be at least 2, but is 1"),
        ("--thetas 1000000000", "Keeping the Fisher matrices of 1,000,000,000 draws needs"),
        ("--inputs 2000000000", "Taking slopes at 2,000,000,000 inputs needs"),
        ("--models qnn --frequency 3", "--frequency has an effect only with --models features"),
        ("--data-dir .", "No such option: --data-dir"),
    ],
)
def test_refusals(words, message, capsys, tmp_path):
    assert main(["study", "effective-dimension", "--out", str(tmp_path / "out"), *words.split()]) != 0
    assert message in capsys.readouterr().err
