"""The patches model against its description in arXiv:2504.19239, gate by gate, and the structure of its Hessian."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from qjaxsim_data import load

from qjaxsim.circuits.observables import X, Y, Z
from qjaxsim.circuits.reference import pauli_sum_matrix
from qjaxsim.curvature import exact_zeros, split_hessian
from qjaxsim.curvature.parts import PartSum
from qjaxsim.models.losses import cross_entropy
from qjaxsim.models.patches import (
    PatchesModel,
    patch_circuit,
    patch_corners,
    readout,
    scaled_images,
)
from qjaxsim.running.simulate import statevector
from tests.cases import mostly_slow

PAULI = {"X": np.array([[0, 1], [1, 0]]), "Y": np.array([[0, -1j], [1j, 0]])}


def small_model(**changes) -> PatchesModel:
    """Four circuits of 3 qubits with 3 x 3 patches of a 5 x 5 image, four classes."""
    return PatchesModel(
        **({"n_patches": 4, "n_layers": 2, "n_qubits": 3, "image_size": 5, "patch_size": 3, "n_classes": 4} | changes)
    )


def random_point(model: PatchesModel, n_images: int, seed: int = 5) -> tuple[dict, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    params = model.init(jax.random.key(seed))
    params["bias"] = jax.device_put(rng.normal(size=params["bias"].shape))
    images = rng.uniform(0, 1, (n_images, model.image_size, model.image_size))
    return params, images, rng.integers(0, model.n_classes, n_images)


class Wires:
    """A state of n qubits, qubit 0 the first axis, changed in place by one gate after the other."""

    def __init__(self, n: int):
        self.n, self.state = n, np.zeros((2,) * n, complex)
        self.state[(0,) * n] = 1

    def rotate(self, letter: str, angle: float, qubit: int) -> None:
        gate = math.cos(angle / 2) * np.eye(2) - 1j * math.sin(angle / 2) * PAULI[letter]
        self.state = np.moveaxis(np.tensordot(gate, self.state, ((1,), (qubit,))), 0, qubit)

    def ring(self) -> None:
        for qubit in range(self.n):
            both = tuple(1 if q in (qubit, (qubit + 1) % self.n) else slice(None) for q in range(self.n))
            self.state[both] *= -1


def by_hand(weights: np.ndarray, features: np.ndarray, n: int, n_layers: int, n_classes: int) -> list[float]:
    """The paper's circuit as its description reads, for n * n features."""
    wires, todo = Wires(n), iter(weights.tolist())

    def block(last_ring: bool) -> None:
        for layer in range(n_layers):
            for letter in "XY":
                for qubit in range(n):
                    wires.rotate(letter, next(todo), qubit)
            if last_ring or layer < n_layers - 1:
                wires.ring()

    def encode(part: np.ndarray, per_qubit: int) -> None:
        for qubit in range(n):
            for j in range(per_qubit):
                outer, inner = ("Y", "X") if j % 2 == 0 else ("X", "Y")
                before, after = next(todo), next(todo)
                wires.rotate(outer, before, qubit)
                wires.rotate(inner, part[qubit * per_qubit + j], qubit)
                wires.rotate(outer, after, qubit)
        wires.ring()

    half = n // 2
    block(True)
    encode(features[: half * n], half)
    block(True)
    encode(features[half * n :], n - half)
    block(False)
    assert next(todo, None) is None
    psi = wires.state.reshape(-1)
    return [float((psi.conj() @ pauli_sum_matrix(o, n) @ psi).real) for o in readout(n_classes, n)]


@pytest.mark.parametrize(
    ("n", "n_layers", "n_classes"), mostly_slow([(3, 2, 4), (4, 1, 8), (5, 3, 10), (3, 0, 4)], keep=[0, 3])
)
def test_outputs_equal_the_description_gate_by_gate(n, n_layers, n_classes):
    model = PatchesModel(4, n_layers, n, image_size=n + 2, patch_size=n, n_classes=n_classes, scale=7.0)
    params, images, _ = random_point(model, 2)
    logits = jax.jit(model.outputs)(params, images)
    for image, row in zip(images, logits, strict=True):
        biased = image + np.asarray(params["bias"])
        cuts = [biased[r : r + n, c : c + n].reshape(-1) for r in (0, 2) for c in (0, 2)]
        weights = np.asarray(params["weights"])
        each = [by_hand(w, cut, n, n_layers, n_classes) for w, cut in zip(weights, cuts, strict=True)]
        np.testing.assert_allclose(row, 7.0 * np.mean(each, axis=0), atol=1e-12)


def test_parameter_counts_of_the_published_table():
    for row in load("patches_hessian")["weight_counts"]:
        model = PatchesModel(row["patches"], row["layers"])
        assert model.n_weights == row["per_circuit"]
        assert model.n_parameters == row["total"]
        circuit = model.circuit
        features = sum(math.prod(circuit.parameters[name]) for name in ("first", "second"))
        assert circuit.n_parameters - features == model.n_weights


def test_published_gate_counts():
    # 8 qubits, L layers a block: a ring after every layer but the last, and one after each encoding.
    n, layers = 8, 50
    counts = patch_circuit(n, layers, n * n).count_ops()
    assert counts == {"cz": n * (3 * layers - 1 + 2), "rx": 3 * layers * n + 96, "ry": 3 * layers * n + 96}


@pytest.mark.parametrize(
    ("patches", "corners"), [(1, (3,)), (4, (0, 6)), (9, (0, 3, 6)), (16, (0, 2, 4, 6)), (49, tuple(range(7)))]
)
def test_corners(patches, corners):
    assert patch_corners(patches, 14, 8) == corners


def test_patches_are_cut_rows_first():
    model = PatchesModel(9, 1, 5, image_size=8, patch_size=4)
    image = np.arange(64.0).reshape(1, 8, 8)
    patches = np.asarray(model.patches(image))[0].reshape(3, 3, 4, 4)
    np.testing.assert_array_equal(patches[0, 2], image[0, 0:4, 4:8])
    np.testing.assert_array_equal(patches[2, 1], image[0, 4:8, 2:6])


def test_images_become_angles_then_are_pooled():
    images = np.zeros((2, 28, 28, 1), np.uint8)
    images[1, 2, 5], images[1, 3, 4] = 255, 51
    angles = scaled_images(images, 255, 8, pool=2)
    assert angles.shape == (2, 14, 14)
    assert angles[1, 1, 2] == pytest.approx((1 + 0.2) / 4 * 2 * math.pi / 8)
    assert np.count_nonzero(angles) == 1
    np.testing.assert_allclose(scaled_images(np.full((1, 8, 8), 16), 16, 5), 2 * math.pi / 5)


def test_readout_order():
    assert readout(10, 8) == [X(0), X(1), X(2), X(3), X(4), Z(0), Z(1), Z(2), Z(3), Z(4)]
    assert readout(5, 4) == [X(0), X(1), X(2), Z(0), Z(1)]
    assert readout(10, 4) == [X(0), X(1), X(2), X(3), Z(0), Z(1), Z(2), Z(3), Y(0), Y(1)]


def test_sum_is_patches_times_mean():
    mean, total = small_model(scale=3.0), small_model(scale=3.0, aggregation="sum")
    params, images, _ = random_point(mean, 3)
    found, expected = (jax.jit(model.outputs)(params, images) for model in (total, mean))
    np.testing.assert_allclose(found, 4 * expected, atol=1e-12)


def test_start_is_uniform_and_the_same_in_both_precisions():
    model = PatchesModel(4, 10)
    double, single = (model.init(jax.random.key(3), dtype) for dtype in (jnp.float64, jnp.float32))
    np.testing.assert_allclose(single["weights"], double["weights"], rtol=1e-6)
    assert not double["bias"].any()
    weights = np.sort(np.asarray(double["weights"]).reshape(-1))
    # Kolmogorov-Smirnov distance of 2432 uniform numbers: 1.63 / sqrt(N) is exceeded once in a hundred times.
    gap = np.abs(weights / math.pi - np.linspace(0, 1, len(weights))).max()
    assert weights.min() >= 0 and weights.max() < math.pi and gap < 1.63 / math.sqrt(len(weights))
    assert not np.array_equal(model.init(jax.random.key(4))["weights"], double["weights"])


def test_cross_entropy_of_known_logits():
    logits = jnp.log(jnp.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))
    np.testing.assert_allclose(cross_entropy(logits, jnp.array([0, 1])), [math.log(2), math.log(10)], rtol=1e-12)
    huge = cross_entropy(jnp.array([[1000.0, -1000.0]]), jnp.array([1]))
    np.testing.assert_allclose(huge, [2000.0])


@pytest.mark.parametrize("margin", [2.0, 20.0, 60.0])
def test_a_cross_entropy_is_right_where_a_probability_rounds_to_one(margin):
    """In single precision, by closed forms in terms of the other classes' shares alone."""
    ahead = -margin * np.array([[1.0, 1.25], [1.125, 0.75]])  # of two classes, before the label's
    logits = np.stack([ahead[:, 0], np.zeros(2), ahead[:, 1]], axis=1)
    labels, at = jnp.array([1, 1], "int8"), jnp.asarray(logits, jnp.float32)
    shares = np.exp(logits) * [1, 0, 1]
    chances = shares / (1 + shares.sum(axis=1, keepdims=True))
    of_label = chances.sum(axis=1)
    slopes = chances - of_label[:, None] * [0, 1, 0]
    hessians = chances[:, :, None] * (np.eye(3) - chances[:, None]) * np.array([1, 0, 1])[:, None] * [1, 0, 1]
    hessians[:, 1] = hessians[:, :, 1] = -(1 - of_label)[:, None] * chances
    hessians[:, 1, 1] = of_label * (1 - of_label)
    loss = lambda z, y: cross_entropy(z[None], y[None])[0]  # noqa: E731
    np.testing.assert_allclose(cross_entropy(at, labels), np.log1p(shares.sum(axis=1)), rtol=1e-5)
    np.testing.assert_allclose(jax.vmap(jax.grad(loss))(at, labels), slopes, rtol=1e-5)
    found = np.asarray(jax.vmap(jax.hessian(loss))(at, labels))
    np.testing.assert_allclose(found, hessians, rtol=1e-5, atol=1e-7 * of_label.max() ** 2)


@pytest.mark.parametrize("label", [0, 2])
def test_a_cross_entropy_is_right_where_another_class_is_all_but_certain(label):
    """In single precision, by the shares of what each class leaves to the others; derivatives of p are p (e - p)."""
    logits = np.array([1.0, 31.0, 2.0])
    chances = np.exp(logits) / np.exp(logits).sum()
    left = chances @ (1 - np.eye(3))
    own = np.eye(3)[label]
    hessian = np.where(np.eye(3) == 1, chances * left, -chances[:, None] * chances)
    at = jnp.asarray(logits, jnp.float32)
    loss = lambda z: cross_entropy(z[None], jnp.array([label]))[0]  # noqa: E731
    np.testing.assert_allclose(loss(at), -np.log(chances[label]), rtol=1e-5)
    np.testing.assert_allclose(jax.grad(loss)(at), np.where(own == 1, -left, chances), rtol=1e-5)
    np.testing.assert_allclose(jax.hessian(loss)(at), hessian, rtol=1e-5)


def test_logits_that_are_shut_out_take_no_part():
    logits = jnp.array([0.0, -jnp.inf, 1.0])
    slopes = jax.grad(lambda z: cross_entropy(z[None], jnp.array([2]))[0])(logits)
    share = 1 / (1 + math.e)
    np.testing.assert_allclose(slopes, [share, 0, -share], rtol=1e-12)
    assert cross_entropy(logits[None], jnp.array([1]))[0] == math.inf


# --- second order ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def split():
    """Model, its split Hessian by structure, and what it was made from."""
    model = small_model(scale=10.0, n_layers=1)
    given = random_point(model, 5)
    assert isinstance(model.outputs, PartSum)
    return model, split_hessian(model.outputs, cross_entropy, *given, batch_size=3), given


@pytest.mark.slow
def test_structured_split_equals_the_generic_one(split):
    """The generic path knows nothing of circuits; tests/curvature compares smaller models with it every time."""
    model, structured, given = split
    generic = split_hessian(lambda p, x: model.outputs(p, x), cross_entropy, *given)
    for ours, theirs in zip(structured, generic, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-11)


@pytest.mark.slow
def test_gradient_of_the_split_is_that_of_the_loss(split):
    model, structured, (params, images, labels) = split
    loss = lambda p: cross_entropy(model.outputs(p, jnp.asarray(images)), labels).mean()  # noqa: E731
    gradient = jax.jit(jax.grad(loss))(params)
    flat = np.concatenate([np.asarray(gradient["bias"]).reshape(-1), np.asarray(gradient["weights"]).reshape(-1)])
    np.testing.assert_allclose(structured.gradient, flat, atol=1e-12)


@pytest.mark.slow
def test_blocks_between_circuits_are_gauss_newton_alone(split):
    model, split, _ = split
    weights = slice(model.image_size**2, None)
    blocks = np.asarray(split.residual)[weights, weights].reshape(4, model.n_weights, 4, model.n_weights)
    between = [np.abs(blocks[a, :, b]).max() for a in range(4) for b in range(4) if a != b]
    within = [np.abs(blocks[a, :, a]).max() for a in range(4)]
    assert max(between) < 1e-12 * min(within)
    assert np.abs(np.asarray(split.gauss_newton)[weights, weights]).max() > 0.1


@pytest.mark.slow
def test_eight_null_weights_per_circuit_at_eight_qubits():
    # Readout on qubits 0 to 4 and no ring at the end: the last layer's rotations of qubits 5, 6 and 7 and the layer
    # before's of qubit 6 reach no observable.
    model = PatchesModel(1, 2, image_size=8)
    params, images, labels = random_point(model, 3)
    split = split_hessian(model.outputs, cross_entropy, params, images, labels)
    assert exact_zeros(split.hessian) == 8
    rows = np.abs(np.asarray(split.hessian)).max(axis=1)[model.image_size**2 :]
    null = np.flatnonzero(rows <= 1e-12 * rows.max())
    block3 = model.n_weights - 2 * 2 * 8
    expected = [block3 + 6, block3 + 8 + 6, *(block3 + 16 + q for q in (5, 6, 7, 13, 14, 15))]
    assert null.tolist() == expected


@pytest.mark.slow
def test_first_block_moves_the_state_in_few_directions():
    # 2 L n weights on |0...0> move a state of 2 (2^n - 1) real dimensions: the rest are null for every image.
    n, layers = 4, 10
    model = PatchesModel(1, layers, n, image_size=4, patch_size=4, n_classes=8)
    params, images, _ = random_point(model, 12)
    jacobian = jax.jit(jax.jacobian(lambda p: model.outputs(p, jnp.asarray(images))))(params)["weights"]
    block1 = np.asarray(jacobian)[:, :, 0, : 2 * layers * n].reshape(-1, 2 * layers * n)
    rank = np.linalg.matrix_rank(block1, tol=1e-9 * np.abs(block1).max() * len(block1))
    assert rank <= 2 * (2**n - 1) < min(block1.shape)
    assert rank > 2**n


@pytest.mark.slow
def test_collapse_of_the_blocks_changes_nothing():
    from qjaxsim import PlanOptions

    models = [small_model(options=PlanOptions(collapse=choice)) for choice in (None, True, False)]
    params, images, _ = random_point(models[0], 3)
    outputs = [np.asarray(jax.jit(model.outputs)(params, images)) for model in models]
    np.testing.assert_allclose(outputs[1], outputs[0], atol=1e-11)
    np.testing.assert_allclose(outputs[2], outputs[0], atol=1e-11)


def test_one_layer_and_fewer_features_than_a_square():
    # 9 features on 2 qubits: 5 a qubit, two of them in the first encoding; all outputs within [-1, 1].
    model = PatchesModel(1, 1, 2, image_size=3, patch_size=3, n_classes=6, scale=1.0)
    params, images, _ = random_point(model, 4)
    assert model.circuit.parameters["first"] == (4,) and model.circuit.parameters["second"] == (5,)
    outputs = np.asarray(jax.jit(model.outputs)(params, images))
    assert outputs.shape == (4, 6) and np.abs(outputs).max() <= 1 + 1e-12 and np.abs(outputs).max() > 0.01
    np.testing.assert_allclose(np.linalg.norm(statevector(model.circuit)(_zeros(model)), axis=-1), 1, rtol=1e-12)


def _zeros(model: PatchesModel) -> dict[str, jax.Array]:
    return {name: jnp.zeros(shape) for name, shape in model.circuit.parameters.items()}


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_patches": 5}, r"`patches` is 5, but 3 x 3 patches fit a 5 x 5 image in .* grids of: 1, 4, 9"),
        ({"n_patches": 16}, r"`patches` is 16"),
        ({"n_patches": 1, "patch_size": 6}, r"6 x 6 patches fit a 5 x 5 image in .*: none"),
        ({"n_patches": 0}, r"`n_patches` must be an integer of at least 1, but is 0"),
        ({"n_layers": -1}, r"`n_layers` must be an integer of at least 0, but is -1"),
        ({"n_qubits": 1}, r"`n_qubits` must be an integer of at least 2"),
        (
            {"n_classes": 10},
            r"`n_classes` is 10, but 3 qubits have .* 2 to 9 classes; choose fewer classes or more qubits",
        ),
        ({"n_classes": 1}, r"`n_classes` must be an integer of at least 2, but is 1"),
        ({"aggregation": "max"}, r"`aggregation` must be 'mean' or 'sum', but is 'max'"),
        ({"scale": math.nan}, r"`scale` must be a positive number, but is nan"),
        ({"scale": -1.0}, r"`scale` must be a positive number, but is -1"),
    ],
)
def test_bad_models_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        small_model(**changes)


def test_images_that_cannot_be_pooled():
    with pytest.raises(ValueError, match=r"square with a side divisible by pool=2, but is 7 x 7"):
        scaled_images(np.zeros((1, 7, 7)), 255, 8, pool=2)


def test_parameters_of_a_deeper_model_are_refused():
    deeper, (_, x, _) = small_model(n_layers=2), random_point(small_model(n_layers=1), 2)
    for use in (small_model(n_layers=1).outputs, small_model(n_layers=1).outputs.in_turn):
        with pytest.raises(ValueError, match=r"`params` must hold arrays {'bias': .*}, but holds {'bias': .*}\."):
            use(deeper.init(jax.random.key(0)), x)


def test_part_sums_with_a_repeated_parameter():
    with pytest.raises(ValueError, match=r"`index` must have shape .* and repeats some"):
        PartSum(lambda u, x: x, np.array([[0, 1, 1]]), lambda x: x, 1.0)
    for wrong, what in (([[0, -1]], "int64 and 1 are below 0"), ([[0.5, 1.0]], "float64 and 0 are")):
        with pytest.raises(ValueError, match=f"`index` must hold integers from 0 on, .* but its dtype is {what}"):
            PartSum(lambda u, x: x, np.array(wrong), lambda x: x, 1.0)
    with pytest.raises(ValueError, match="`index` must hold places from 0 to 1 for 2 parameters, but holds 2"):
        PartSum(lambda u, x: x, np.array([[0, 2]]), lambda x: x, 1.0)(jnp.ones(2), jnp.ones((3, 1)))
