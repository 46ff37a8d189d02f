"""The hybrid classifier against a dense NumPy reference, finite differences and the statistics of its measurements."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from qjaxsim.models.hybrid import HybridModel, cnot_pairs
from qjaxsim.models.losses import cross_entropy
from tests.cases import mostly_slow

PAULI = {"X": np.array([[0, 1], [1, 0]]), "Y": np.array([[0, -1j], [1j, 0]]), "Z": np.diag([1, -1])}
# Written out from the descriptions of the conventions, layer by layer.
PAIRS = {
    ("alternate", 3): [[(0, 1)], [(1, 2)], [(0, 1)]],
    ("alternate", 4): [[(0, 1), (2, 3)], [(1, 2), (3, 0)], [(0, 1), (2, 3)]],
    ("alternate", 2): [[(0, 1)], [(1, 0)], [(0, 1)]],
    ("both", 4): [[(0, 1), (2, 3), (1, 2)]] * 3,
    ("both", 3): [[(0, 1), (1, 2)]] * 3,
    ("chain", 4): [[(0, 1), (1, 2), (2, 3)]] * 3,
    ("ring", 3): [[(0, 1), (1, 2), (2, 0)]] * 3,
}


def embed(n: int, gates: dict[int, np.ndarray]) -> np.ndarray:
    out = np.eye(1)
    for qubit in range(n):
        out = np.kron(out, gates.get(qubit, np.eye(2)))
    return out


def rotation(n: int, letter: str, angle: float, qubit: int) -> np.ndarray:
    return math.cos(angle / 2) * np.eye(2**n) - 1j * math.sin(angle / 2) * embed(n, {qubit: PAULI[letter]})


def cnot(n: int, control: int, target: int) -> np.ndarray:
    zero, one = np.diag([1, 0]), np.diag([0, 1])
    return embed(n, {control: zero}) + embed(n, {control: one, target: PAULI["X"]})


def dense(angles: np.ndarray, weights: np.ndarray, layers: list[list[tuple[int, int]]]) -> list[float]:
    """<Z> of every qubit for one sample, by matrices alone."""
    n = len(angles)
    state = np.eye(2**n)[0].astype(complex)
    for qubit in range(n):
        state = rotation(n, "Y", angles[qubit], qubit) @ state
    for own, pairs in zip(weights, layers, strict=True):
        for qubit in range(n):
            for letter, angle in zip("XYZ", own[qubit], strict=True):
                state = rotation(n, letter, angle, qubit) @ state
        for pair in pairs:
            state = cnot(n, *pair) @ state
    return [float((state.conj() @ embed(n, {q: PAULI["Z"]}) @ state).real) for q in range(n)]


def convolved(images: np.ndarray, kernel: np.ndarray, bias: np.ndarray, padding: int) -> np.ndarray:
    """Cross-correlation (B, in, s, s) by loops, ReLU, maximum of 2 x 2 blocks."""
    images = np.pad(images, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    side, k = images.shape[-1] - kernel.shape[-1] + 1, kernel.shape[-1]
    out = np.zeros((len(images), len(kernel), side, side))
    for i in range(side):
        for j in range(side):
            out[:, :, i, j] = np.einsum("bcij,ocij->bo", images[:, :, i : i + k, j : j + k], kernel) + bias
    out = np.maximum(out, 0)[:, :, : side // 2 * 2, : side // 2 * 2]
    return out.reshape(*out.shape[:2], side // 2, 2, side // 2, 2).max(axis=(3, 5))


def encoded(model: HybridModel, pre: dict, x: np.ndarray) -> np.ndarray:
    """The pre-layer in NumPy."""
    linear = lambda layer, v: v @ layer["weight"].T + layer["bias"]  # noqa: E731
    if model.pre == "conv":
        values = x[:, None]
        for name in ("conv1", "conv2"):
            padding = 0 if pre[name]["weight"].shape[-1] == 5 else 1
            values = convolved(values, pre[name]["weight"], pre[name]["bias"], padding)
        return linear(pre["last"], np.maximum(linear(pre["hidden"], values.reshape(len(x), -1)), 0))
    out = linear(pre, x.reshape(len(x), -1))
    return np.pi / 2 * np.tanh(out) if model.pre == "tanh" else out


def setting(model: HybridModel, n_images: int = 3, seed: int = 3):
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 1, (n_images, model.image_size, model.image_size))
    return model.init(jax.random.key(seed), np.float64), x, rng.integers(0, model.n_classes, n_images)


@pytest.mark.parametrize(("pairing", "n"), mostly_slow(PAIRS, keep=[1, 3, 5, 6]))
def test_outputs_equal_a_dense_reference(pairing, n):
    model = HybridModel(n, 3, image_size=4, n_classes=3, pairing=pairing)
    params, x, _ = setting(model)
    angles = encoded(model, jax.tree.map(np.asarray, params["pre"]), x)
    values = np.array([dense(a, np.asarray(params["weights"]), PAIRS[pairing, n]) for a in angles])
    np.testing.assert_allclose(model.expectations(params, x), values, atol=1e-12)
    logits = values @ np.asarray(params["post"]["weight"]).T + np.asarray(params["post"]["bias"])
    np.testing.assert_allclose(model.outputs(params, x), logits, atol=1e-12)
    assert [cnot_pairs(n, layer, pairing) for layer in range(3)] == PAIRS[pairing, n]


@pytest.mark.parametrize(
    ("pre", "size"), mostly_slow([("tanh", 5), ("conv", 28), ("conv", 5), ("conv", 8), ("conv", 16)], keep=3)
)
def test_pre_layers_equal_numpy(pre, size):
    model = HybridModel(3, 1, image_size=size, pre=pre)
    params, x, _ = setting(model)
    np.testing.assert_allclose(
        model.encode(params, x), encoded(model, jax.tree.map(np.asarray, params["pre"]), x), atol=1e-12
    )


def test_the_conv_pre_layer_has_the_sizes_of_the_tutorial():
    params, _, _ = setting(HybridModel(4, 1, image_size=28, pre="conv"))
    shapes = jax.tree.map(np.shape, params["pre"])
    assert {name: layer["weight"] for name, layer in shapes.items()} == {
        "conv1": (2, 1, 5, 5), "conv2": (16, 2, 5, 5), "hidden": (64, 256), "last": (4, 64),
    }  # fmt: skip


def test_convolutions_are_products_also_along_many_kernels():
    """XLA turns convolutions with a batch of kernels into grouped ones, which take several times as long."""
    model = HybridModel(3, 1, image_size=8, pre="conv")
    params, x, _ = setting(model)
    along = jax.vmap(lambda tangent: jax.jvp(lambda p: model.encode(p, x), (params,), (tangent,))[1])
    program = str(jax.make_jaxpr(along)(jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), params)))
    assert "dot_general" in program and "conv_general_dilated" not in program


@pytest.mark.parametrize("pre", mostly_slow(["conv", "linear", "tanh"]))
def test_gradients_of_the_whole_model_equal_finite_differences(pre):
    model = HybridModel(3, 2, image_size=4, n_classes=4, pre=pre)
    params, x, y = setting(model, n_images=5)
    flat, unravel = ravel_pytree(params)
    loss = jax.jit(lambda w: cross_entropy(model.outputs(unravel(w), x), jnp.asarray(y)).mean())
    gradient = np.asarray(jax.jit(jax.grad(loss))(flat))
    directions = np.random.default_rng(1).normal(size=(12, flat.size))
    # Every block on its own too, so that none hides behind the others.
    for start, stop in _blocks(params):
        block = np.zeros(flat.size)
        block[start:stop] = np.random.default_rng(start).normal(size=stop - start)
        directions = np.vstack([directions, block])
    step = 1e-5
    ends = jax.vmap(loss)(jnp.concatenate([flat[None] + step * directions, flat[None] - step * directions]))
    differences = (ends[: len(directions)] - ends[len(directions) :]) / (2 * step)
    np.testing.assert_allclose(directions @ gradient, differences, atol=1e-8)


def _blocks(params: dict) -> list[tuple[int, int]]:
    sizes = np.cumsum([0] + [leaf.size for leaf in jax.tree.leaves(params)])
    return list(zip(sizes[:-1].tolist(), sizes[1:].tolist(), strict=True))


def test_initial_parameters(key):
    model = HybridModel(4, 3, image_size=8)
    params = model.init(key, np.float64)
    shapes = {
        "pre": {"weight": (4, 64), "bias": (4,)},
        "weights": (3, 4, 3),
        "post": {"weight": (10, 4), "bias": (10,)},
    }
    assert jax.tree.map(np.shape, params) == shapes
    for leaf, bound in ((params["pre"]["weight"], 1 / 8), (params["weights"], 1.0), (params["post"]["weight"], 0.5)):
        assert 0.8 * bound < np.abs(leaf).max() < bound and abs(np.mean(leaf)) < bound / 2
    single = model.init(key, np.float32)
    assert all(
        a.dtype == np.float32 and np.allclose(a, b, atol=1e-7)
        for a, b in zip(jax.tree.leaves(single), jax.tree.leaves(params), strict=True)
    )
    assert model.outputs(single, np.zeros((2, 8, 8), np.float32)).dtype == np.float32


def test_public_circuit_and_circuit_params_give_the_expectations():
    model = HybridModel(3, 2, image_size=4)
    params, x, _ = setting(model)
    assert model.circuit.parameters == {"inputs": (3,), "weights": (2, 3, 3)}
    given = model.circuit_params(params, x)
    assert given["inputs"].shape == (3, 3) and given["weights"].shape == (2, 3, 3)
    from qjaxsim import expectation

    np.testing.assert_allclose(
        expectation(model.circuit, model.observables)(given), model.expectations(params, x), atol=1e-12
    )


# --- shots -----------------------------------------------------------------------------------------------------------

MEASURED = HybridModel(3, 2, image_size=3, n_classes=3)


def test_sampled_values_are_means_of_measurements_with_their_variance():
    params, x, _ = setting(MEASURED, n_images=2)
    shots, repeats = 20, 4000
    run = jax.jit(jax.vmap(lambda key: MEASURED.sampled_expectations(params, x, shots, key)))
    values = np.asarray(run(jax.random.split(jax.random.key(1), repeats)))
    exact = np.asarray(MEASURED.expectations(params, x))
    # Multiples of 2 / shots around -1, as counts give them.
    np.testing.assert_allclose((values + 1) * shots / 2, np.round((values + 1) * shots / 2), atol=1e-9)
    variance = (1 - exact**2) / shots
    z = (values.mean(axis=0) - exact) / np.sqrt(variance / repeats)
    assert np.abs(z).max() < 4.5 and 0.3 < np.abs(z).mean() < 1.5  # six standard normal numbers
    np.testing.assert_allclose(values.var(axis=0), variance, rtol=0.15)


@pytest.mark.thorough
def test_shot_noise_gradients_are_unbiased():
    """Products of a fixed cotangent with the Jacobian, in all parameters before the post-layer."""
    params, x, _ = setting(MEASURED, n_images=2)
    slope = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3)))
    part = {name: params[name] for name in ("pre", "weights")}

    def gradient(values):
        return ravel_pytree(jax.grad(lambda p: (values({**params, **p}) * slope).sum())(part))[0]

    exact = np.asarray(jax.jit(lambda: gradient(lambda p: MEASURED.expectations(p, x)))())
    run = jax.vmap(lambda key: gradient(lambda p: MEASURED.sampled_expectations(p, x, 10, key)))
    found = np.asarray(jax.jit(run)(jax.random.split(jax.random.key(2), 1500)))
    deviation = found.std(axis=0, ddof=1)
    noisy = deviation > 1e-9
    z = (found.mean(axis=0) - exact)[noisy] / (deviation[noisy] / len(found) ** 0.5)
    assert noisy.sum() > 40 and np.abs(z).max() < 4.5 and (z**2).mean() < 2.5
    np.testing.assert_allclose(found.mean(axis=0)[~noisy], exact[~noisy], atol=1e-9)


@pytest.mark.slow
def test_many_shots_approach_the_exact_gradient_of_the_loss():
    params, x, y = setting(MEASURED, n_images=2)
    labels = jnp.asarray(y)
    exact = jax.jit(jax.grad(lambda p: cross_entropy(MEASURED.outputs(p, x), labels).mean()))(params)
    noisy = lambda p, key: cross_entropy(MEASURED.sampled_outputs(p, x, 10**7, key), labels).mean()  # noqa: E731
    sampled = jax.jit(jax.grad(noisy))(params, jax.random.key(0))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-3), sampled, exact)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_qubits": 1}, "`n_qubits` must be an integer of at least 2, but is 1"),
        ({"n_layers": 0}, "`n_layers` must be an integer of at least 1, but is 0"),
        ({"n_classes": 1}, "`n_classes` must be an integer of at least 2, but is 1"),
        ({"image_size": 0}, "`image_size` must be an integer of at least 1, but is 0"),
        ({"pre": "relu"}, r"`pre` must be one of \['linear', 'tanh', 'conv'\], but is 'relu'"),
        ({"pairing": "star"}, r"`pairing` must be one of \['alternate', 'both', 'chain', 'ring'\], but is 'star'"),
        ({"pre": "conv", "image_size": 3}, "`image_size` must be at least 4 for the pre-layer 'conv'"),
    ],
)
def test_bad_arguments(changes, message):
    with pytest.raises(ValueError, match=message):
        HybridModel(**({"n_qubits": 3, "n_layers": 2} | changes))


def test_bad_shots(key):
    params, x, _ = setting(MEASURED)
    with pytest.raises(ValueError, match="`shots` must be a positive integer, but is 0"):
        MEASURED.sampled_outputs(params, x, 0, key)
