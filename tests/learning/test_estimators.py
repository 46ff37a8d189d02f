"""The estimators against the dense reference, the training loop and the Hessian of their loss."""

import datetime
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qjaxsim_qiskit import from_qiskit
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import qjaxsim as qj
from qjaxsim.circuits import reference
from qjaxsim.learning import QuantumClassifier, QuantumRegressor
from qjaxsim.models.losses import cross_entropy
from qjaxsim.training import CheckpointError
from tests.cases import mostly_slow

rng = np.random.default_rng(5)
X = rng.normal(size=(30, 3)) * [1, 10, 0.1]
THREE = np.array(["low", "mid", "top"])[np.digitize(X[:, 0], [-0.5, 0.5])]
TWO = (X[:, 1] > 0) * 4 - 2  # labels -2 and 2
TARGETS = 100 + 5 * np.sin(X[:, 0])
QUICK = {"layers": 1, "epochs": 6, "random_state": 0}


@pytest.fixture(scope="module")
def classifier():
    return QuantumClassifier(feature_map="zz", **QUICK).fit(X, THREE)


@pytest.fixture(scope="module")
def regressor():
    return QuantumRegressor(reuploads=2, **QUICK).fit(X, TARGETS)


def angles_of(x):
    """Least and greatest value of each feature in training to 0 and pi."""
    return (x - X.min(axis=0)) / (X.max(axis=0) - X.min(axis=0)) * np.pi


def test_features_in_tiny_units_are_scaled_and_what_rounding_moves_is_not():
    rounded = np.where(X[:, :1] > 0, 0.1 + 0.2, 0.3)
    fitted = QuantumRegressor(**{**QUICK, "epochs": 0}).fit(np.hstack([1e-25 * X, rounded]), TARGETS)
    angles = fitted.scaler_.transform(np.hstack([1e-25 * X, rounded]))
    np.testing.assert_allclose(angles[:, :3], angles_of(X), atol=1e-12)
    np.testing.assert_allclose(angles[:, 3], 0, atol=1e-12)


def expectations(estimator, x, observables):
    circuit, params = estimator.circuit_, estimator.params_
    return np.array(
        [[reference.expectation(circuit, o, {**params, "x": row}) for o in observables] for row in angles_of(x)]
    )


def test_outputs_of_a_classifier_are_scaled_expectation_values_of_the_circuit(classifier):
    new = X[:4] + 0.1
    assert classifier.circuit_ == qj.zz_feature_map(3).compose(qj.efficient_su2(3, 1))
    logits = 5 * expectations(classifier, new, [qj.Z(0), qj.Z(1), qj.Z(2)])
    np.testing.assert_allclose(classifier.decision_function(new), logits, atol=1e-10)
    weights = np.exp(logits)
    np.testing.assert_allclose(classifier.predict_proba(new), weights / weights.sum(1, keepdims=True), atol=1e-10)
    assert classifier.predict(new).tolist() == [["low", "mid", "top"][i] for i in logits.argmax(axis=1)]
    assert classifier.classes_.tolist() == ["low", "mid", "top"] and classifier.n_features_in_ == 3


def test_history_and_weights_are_those_of_the_training_loop(classifier):
    losses = [row["train_loss"] for row in classifier.history_]
    assert len(losses) == 7 and min(losses) < losses[0]
    picked = classifier.predict_proba(X)[np.arange(30), np.searchsorted(classifier.classes_, THREE)]
    np.testing.assert_allclose(-np.log(picked).mean(), min(losses), rtol=1e-10)
    best = classifier.history_[int(np.argmin(losses))]
    assert best["train_accuracy"] == pytest.approx(classifier.score(X, THREE))
    np.testing.assert_array_equal(classifier.trajectory_[best["epoch"]], ravel_pytree(classifier.params_)[0])


def test_two_classes_have_one_output_that_is_positive_for_the_second():
    single = QuantumClassifier(**QUICK).fit(X, TWO)
    means = 5 * expectations(single, X[:5], [sum(qj.Z(q) for q in range(3)) / 3])[:, 0]
    np.testing.assert_allclose(single.decision_function(X[:5]), means, atol=1e-10)
    np.testing.assert_array_equal(single.predict(X[:5]), np.where(means > 0, 2, -2))
    np.testing.assert_allclose(single.predict_proba(X[:5])[:, 1], 1 / (1 + np.exp(-means)), atol=1e-10)


def test_two_classes_may_have_an_output_each():
    double = QuantumClassifier(observables=[qj.Z(0), qj.X(2)], output_scale=3.0, **QUICK).fit(X, TWO)
    values = 3 * expectations(double, X[:5], [qj.Z(0), qj.X(2)])
    np.testing.assert_allclose(double.decision_function(X[:5]), values[:, 1] - values[:, 0], atol=1e-10)
    np.testing.assert_array_equal(double.predict(X[:5]), np.where(values[:, 1] > values[:, 0], 2, -2))


def test_a_regressor_predicts_in_the_units_of_its_targets(regressor):
    middle, half = (TARGETS.max() + TARGETS.min()) / 2, (TARGETS.max() - TARGETS.min()) / 2
    value = expectations(regressor, X[:4], [sum(qj.Z(q) for q in range(3)) / 3])[:, 0]
    np.testing.assert_allclose(regressor.predict(X[:4]), middle + half * 2 * value, atol=1e-9)
    scaled = (TARGETS - regressor.predict(X)) / half
    assert (scaled**2).mean() == pytest.approx(min(row["train_loss"] for row in regressor.history_))


def test_targets_far_from_zero_are_predicted_as_exactly(regressor):
    """In single precision, too: targets moved or stretched are the same to the model."""
    small = clone(regressor).set_params(dtype="float32").fit(X, TARGETS)
    plain = (small.predict(X) - small.y_middle_) / small.y_half_range_
    for targets in (TARGETS + 1e8, (TARGETS - 100) * 1e200):
        fitted = clone(small).fit(X, targets)
        found = (fitted.predict(X) - fitted.y_middle_) / fitted.y_half_range_
        np.testing.assert_allclose(found, plain, atol=1e-4)


def test_several_targets_have_an_output_and_units_each():
    both = np.column_stack([TARGETS, 1e3 * X[:, 1]])
    fitted = QuantumRegressor(**QUICK).fit(X, both)
    middle, half = (both.max(axis=0) + both.min(axis=0)) / 2, (both.max(axis=0) - both.min(axis=0)) / 2
    wanted = middle + half * 2 * expectations(fitted, X[:4], [qj.Z(0), qj.Z(1)])
    np.testing.assert_allclose(fitted.predict(X[:4]), wanted, rtol=1e-9)
    losses = (((both - fitted.predict(X)) / half) ** 2).sum(axis=1)
    assert losses.mean() == pytest.approx(min(row["train_loss"] for row in fitted.history_))
    for wrong, shape in ((TARGETS, r"\(30,\)"), (both[:, :1], r"\(30, 1\)")):
        with pytest.raises(ValueError, match=rf"`y` must have shape \(N, 2\), as in training, but has shape {shape}"):
            fitted.curvature(X, wrong)
    with pytest.raises(ValueError, match="`observables` must hold 2 for these targets, but holds 1"):
        QuantumRegressor(**QUICK, observables=qj.Z(0)).fit(X, both)


@pytest.mark.parametrize("of", mostly_slow(("classifier", "regressor"), keep=1))
def test_curvature_is_that_of_the_training_loss(of, request):
    estimator = request.getfixturevalue(of)
    y = THREE if of == "classifier" else TARGETS
    report = estimator.curvature(X, y, planes=(), groups=None, progress=False)
    flat, unravel = ravel_pytree(estimator.params_)
    outputs = qj.expectation(
        estimator.circuit_,
        [qj.Z(q) for q in range(3)] if of == "classifier" else [sum(qj.Z(q) for q in range(3)) / 3],
    )
    x = jnp.asarray(angles_of(X))

    def loss(w):
        z = outputs({**unravel(w), "x": x})
        if of == "classifier":
            return cross_entropy(5 * z, jnp.asarray(np.searchsorted(estimator.classes_, THREE))).mean()
        return ((2 * z[:, 0] - jnp.asarray((TARGETS - estimator.y_middle_) / estimator.y_half_range_)) ** 2).mean()

    gradient = jax.jit(jax.grad(loss))
    steps = 1e-5 * np.eye(flat.size)
    hessian = np.array([(gradient(flat + step) - gradient(flat - step)) / 2e-5 for step in steps])
    assert report.lambda_max == pytest.approx(np.linalg.eigvalsh((hessian + hessian.T) / 2)[-1], abs=1e-6)
    assert report.numbers["loss"] == pytest.approx(min(row["train_loss"] for row in estimator.history_))


@pytest.mark.slow
def test_curvature_draws_the_path_of_training(regressor):
    report = regressor.curvature(
        X, TARGETS, planes=("pca",), plane_points=3, trajectory=regressor.trajectory_, progress=False
    )
    assert report.arrays["trajectory"].shape == (7, 2)


def of_weights_and_of_repeated_samples(kind, y):
    """Two fits on the same samples, and what the samples are."""
    times = np.arange(30) % 3
    settings = QUICK | {"optimizer": "sgd", "batch_size": 30, "dtype": "float64"}
    weighted = kind(**settings).fit(X, y, sample_weight=times / 7)
    data = np.repeat(X, times, axis=0), np.repeat(y, times)
    return weighted, kind(**settings).fit(*data), times, data


@pytest.mark.parametrize(("kind", "y"), mostly_slow(((QuantumRegressor, TARGETS), (QuantumClassifier, TWO)), keep=1))
def test_a_sample_of_weight_2_counts_as_two_and_of_0_as_none(kind, y):
    weighted, repeated, _, _ = of_weights_and_of_repeated_samples(kind, y)
    losses = [[row["train_loss"] for row in each.history_] for each in (weighted, repeated)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-9) and losses[0][0] > 1.01 * losses[0][-1]
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "y"), ((QuantumRegressor, TARGETS), (QuantumClassifier, TWO)))
def test_curvature_counts_weights_of_samples(kind, y):
    weighted, repeated, times, data = of_weights_and_of_repeated_samples(kind, y)
    options = {"planes": (), "groups": None, "progress": False}
    alone, beside = weighted.curvature(X, y, sample_weight=list(times), **options), repeated.curvature(*data, **options)
    np.testing.assert_allclose(alone.arrays["eigenvalues"], beside.arrays["eigenvalues"], atol=1e-9)
    assert alone.numbers["loss"] == pytest.approx(min(row["train_loss"] for row in weighted.history_))


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    (
        (np.ones(29), ValueError, r"`sample_weight` must hold .* each of 30 samples, .* but is "),
        (np.zeros(30), ValueError, r"`sample_weight` must hold a number of 0 or more .* not zero for all of them"),
        (-np.ones(30), ValueError, r"`sample_weight` must hold a number of 0 or more"),
        (np.full(30, np.nan), ValueError, "sample_weight contains NaN"),
        (np.ma.ones(30), TypeError, "Argument `sample_weight` must be whole, but is a masked array; fill it"),
    ),
)
def test_bad_weights_of_samples_are_named(weights, error, message, regressor):
    for call in (QuantumClassifier(**QUICK).fit, regressor.curvature):
        with pytest.raises(error, match=message):
            call(X, TARGETS > 100 if call.__name__ == "fit" else TARGETS, sample_weight=weights)


def test_a_seed_decides_everything(regressor):
    again = clone(regressor).fit(X, TARGETS)
    np.testing.assert_array_equal(again.trajectory_, regressor.trajectory_)
    other = clone(regressor).set_params(random_state=1).fit(X, TARGETS)
    assert np.abs(other.trajectory_[0] - regressor.trajectory_[0]).max() > 0.1


def test_fits_of_one_shape_compile_once():
    traced = []

    def loss(z, y):
        traced.append(z.shape)
        return (z[:, 0] - y) ** 2

    QuantumRegressor(loss=loss, **QUICK).fit(X, TARGETS)
    before = len(traced)
    QuantumRegressor(loss=loss, **{**QUICK, "random_state": 3}).fit(X[::-1], TARGETS)
    assert before == 2 and len(traced) == before  # once for the step and once for metrics


def test_warm_start_goes_on_from_the_weights_that_are_there(regressor):
    warm = clone(regressor).set_params(warm_start=True)
    first = warm.fit(X, TARGETS).params_
    assert warm.fit(X, TARGETS).history_[0]["train_loss"] == min(r["train_loss"] for r in regressor.history_)
    np.testing.assert_array_equal(warm.trajectory_[0], ravel_pytree(first)[0])
    with pytest.raises(ValueError, match="`warm_start` must be False after a change of circuit"):
        warm.set_params(output_scale=1.0).fit(X, TARGETS)


def test_a_run_goes_on_from_its_folder(tmp_path, regressor):
    run = clone(regressor).set_params(folder=tmp_path / "run", epochs=2)
    run.fit(X, TARGETS)
    with pytest.raises(FileExistsError, match="pass resume=True"):
        run.fit(X, TARGETS)
    run.set_params(epochs=6, resume=True).fit(X, TARGETS)
    np.testing.assert_array_equal(run.trajectory_, regressor.trajectory_)
    with pytest.raises(CheckpointError, match="made with other settings"):
        run.set_params(random_state=1).fit(X, TARGETS)


def test_one_precision_throughout():
    single = QuantumClassifier(dtype="float32", **QUICK).fit(X, TWO)
    assert all(leaf.dtype == np.float32 for leaf in single.params_.values())
    assert single.decision_function(X).dtype == np.float32
    with jax.enable_x64(False), pytest.raises(ValueError, match="`dtype` must be 'float32' or None without"):
        QuantumClassifier(dtype="float64", **QUICK).fit(X, TWO)


def test_own_circuits_of_qiskit_and_ours():
    theirs = QuantumCircuit(2)
    for i in range(3):
        theirs.ry(Parameter(f"x{i}"), i % 2)
        theirs.rx(Parameter(f"t{i}"), i % 2)
        theirs.cx(0, 1)
    imported = from_qiskit(theirs).circuit
    start = {**QUICK, "epochs": 0}
    whole = QuantumClassifier(imported, None, observables=qj.Z(1), **start).fit(X, TWO)
    assert set(whole.params_) == {"t0", "t1", "t2"} and whole.circuit_ == imported
    twice = clone(whole).set_params(reuploads=2).fit(X, TWO)
    assert {name: leaf.shape for name, leaf in twice.params_.items()} == {f"t{i}": (2,) for i in range(3)}
    named = QuantumClassifier(imported, "real_amplitudes", **start).fit(X, TWO)
    assert named.params_["weights"].shape == (2, 2)
    ansatz = qj.Circuit(4).rx(qj.Parameter("a"), 0).cx(0, range(1, 4))
    own = QuantumClassifier("angle", ansatz, inputs="feature", **start).fit(X, TWO)
    assert own.circuit_ == qj.angle_encoding(3, n_qubits=4, name="feature").compose(ansatz)


def test_width_grows_with_classes_and_as_asked_for():
    narrow = QuantumClassifier(**{**QUICK, "epochs": 0}).fit(X[:, :1], THREE)
    assert narrow.circuit_.n_qubits == 2 and len(narrow.model_.observables) == 3
    wide = QuantumClassifier(n_qubits=4, **{**QUICK, "epochs": 0}).fit(X, THREE)
    assert wide.circuit_.n_qubits == 4


def test_features_can_be_angles_already_and_optimisers_of_optax():
    own = QuantumRegressor(scale_features=None, optimizer=optax.adam(0.05), **QUICK).fit(X, TARGETS)
    assert own.scaler_ is None and own.history_[1]["learning_rate"] is None
    value = reference.expectation(own.circuit_, sum(qj.Z(q) for q in range(3)) / 3, {**own.params_, "x": X[0]})
    assert own.predict(X[:1])[0] == pytest.approx(own.y_middle_ + own.y_half_range_ * 2 * value)
    with pytest.raises(ValueError, match="`learning_rate` must be left out with an optimiser of optax"):
        own.set_params(learning_rate=0.2).fit(X, TARGETS)


def test_probabilities_go_with_cross_entropy_alone(classifier):
    assert hasattr(classifier, "predict_proba")
    assert not hasattr(QuantumClassifier(loss=lambda z, y: cross_entropy(2 * z, y)), "predict_proba")
    squared = QuantumClassifier(loss="squared_error", **QUICK)
    assert not hasattr(squared, "predict_proba")
    values = squared.fit(X, THREE).decision_function(X)
    signs = np.where(THREE[:, None] == squared.classes_, 1, -1)
    wanted = min(row["train_loss"] for row in squared.history_)
    assert ((values - signs) ** 2).sum(axis=1).mean() == pytest.approx(wanted)


def test_importing_models_and_the_package_leaves_scikit_learn_alone():
    code = "import sys, qjaxsim, qjaxsim.models; qjaxsim.zz_feature_map(3); print('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


class NAType:
    """As pandas marks missing values: no comparison with it is true or false."""

    def __eq__(self, other):
        return self

    def __bool__(self):
        raise TypeError("boolean value of NA is ambiguous")

    def __repr__(self):
        return "<NA>"


def test_a_fit_that_fails_leaves_the_earlier_model_as_it_was():
    one = QuantumClassifier(**{**QUICK, "epochs": 0}).fit(X, THREE)
    labels, outputs = one.predict(X), one.decision_function(X)
    with pytest.raises(ValueError, match="`learning_rate` must be finite"):
        one.set_params(learning_rate=-1.0).fit(5 * X, THREE == "low")
    assert one.classes_.tolist() == ["low", "mid", "top"] and one.learning_rate == -1
    np.testing.assert_array_equal(one.predict(X), labels)
    np.testing.assert_array_equal(one.decision_function(X), outputs)
    other = QuantumRegressor(**{**QUICK, "epochs": 0}).fit(X, TARGETS)
    targets = other.predict(X)
    with pytest.raises(ValueError, match="`schedule` must be one of"):
        other.set_params(schedule="cos").fit(5 * X, -TARGETS)
    np.testing.assert_array_equal(other.predict(X), targets)


def test_masked_data_are_not_read_through_their_masks(classifier, regressor):
    masked, targets = np.ma.array(X, mask=X > 1), np.ma.array(TARGETS, mask=TARGETS > 100)
    for call in (
        lambda: QuantumClassifier(**QUICK).fit(masked, THREE),
        lambda: classifier.predict(masked),
        lambda: classifier.curvature(masked, THREE),
    ):
        with pytest.raises(TypeError, match="Argument `X` must be whole, but is a masked array; fill it"):
            call()
    for call in (lambda: QuantumRegressor(**QUICK).fit(X, targets), lambda: regressor.score(masked, TARGETS)):
        with pytest.raises(TypeError, match="Argument `[Xy]` must be whole, but is a masked array; fill it"):
            call()


@pytest.mark.parametrize("missing", (None, float("nan"), NAType()))
def test_missing_targets_are_named(classifier, missing):
    labels, numbers = [missing, *THREE[1:].tolist()], [*TARGETS[1:].tolist(), missing]
    for call in (
        lambda: QuantumClassifier(**QUICK).fit(X, labels),
        lambda: QuantumClassifier(**QUICK).fit(X, np.array(labels, object)),
        lambda: classifier.curvature(X, np.array(labels, object)),
        lambda: QuantumRegressor(**QUICK).fit(X, numbers),
        lambda: QuantumRegressor(**QUICK).fit(X, np.array(numbers, object)),
    ):
        with pytest.raises(ValueError, match=f"`y` must hold a target for each sample, but holds {missing}; leave out"):
            call()


def test_bad_data_are_named(classifier, regressor):
    with pytest.raises(ValueError, match="X has 2 features, but QuantumClassifier is expecting 3 features"):
        classifier.predict(X[:, :2])
    with pytest.raises(ValueError, match="Input X contains NaN"):
        QuantumClassifier(**QUICK).fit(np.where(X > 1, np.nan, X), THREE)
    with pytest.raises(ValueError, match="requires y to be passed, but the target y is None"):
        QuantumClassifier(**QUICK).fit(X, None)
    with pytest.raises(ValueError, match="Complex data not supported"):
        regressor.predict(X + 0j)
    with pytest.raises(ValueError, match="`y` must hold at least two classes, but holds one class alone, 'low'"):
        QuantumClassifier(**QUICK).fit(X, np.full(30, "low"))
    with pytest.raises(ValueError, match=r"classes seen in training, \['low', 'mid', 'top'\], but holds 'new'"):
        classifier.curvature(X, np.where(THREE == "low", "new", THREE))
    with pytest.raises(NotFittedError, match="not fitted yet"):
        QuantumRegressor().curvature(X, TARGETS)
    for labels in (THREE, THREE.astype(object)):
        with pytest.raises(ValueError, match="`y` must hold numbers, but holds '(low|mid|top)'; classes are"):
            QuantumRegressor(**QUICK).fit(X, labels)
        with pytest.raises(ValueError, match="`y` must hold numbers, but holds "):
            regressor.curvature(X, labels)
    for times in (np.datetime64("2020-01-01") + np.arange(30), [datetime.date(2020, 1, 1)] * 30):
        with pytest.raises(ValueError, match="`y` must hold numbers, but holds .*2020.* times are to be counted"):
            QuantumRegressor(**QUICK).fit(X, times)
    failed = QuantumClassifier(feature_map="none")
    with pytest.raises(ValueError, match="`feature_map` must be one of"):
        failed.fit(X, THREE)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        failed.predict(X)
    with pytest.raises(ValueError, match="`observables` must hold 1 for these targets, but holds 2"):
        QuantumRegressor(observables=[qj.Z(0), qj.Z(1)]).fit(X, TARGETS)
    with pytest.raises(ValueError, match="must give an observable to each of 7 outputs, but 3 qubits have 6"):
        QuantumClassifier(n_qubits=3, **QUICK).fit(X, np.arange(30) % 7)
