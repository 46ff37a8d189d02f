"""Attention layers: published problems entry by entry, the softmax limit, gradients, the transformer."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qjaxsim import annealing
from qjaxsim.models import attention, attention_problem
from qjaxsim.models.attention import KINDS, AttentionSettings
from qjaxsim.models.attention_problem import Terms
from qjaxsim.models.attention_vit import VisionTransformer
from tests.cases import assignments, mostly_slow


@pytest.fixture(autouse=True)
def several_tokens_are_selected(monkeypatch):
    """So few tokens as here need a larger E2V than images for pairs of them to be selected."""
    monkeypatch.setattr(attention, "E2V_START", 1.0)


def parts(rng, batch=1, heads=2, n=3, size=4):
    return (*(rng.normal(size=(batch, heads, n, size)) for _ in range(3)), rng.normal(size=size))


def test_v2_problem_is_the_published_matrix():
    rng = np.random.default_rng(1)
    q, k, v, e2v = parts(rng)
    n, heads = 3, 2
    p = 0.8 / 2 * np.sqrt(2 / np.pi) * n / (heads - 1)
    m = np.zeros((heads, n, heads, n))
    for a, i, j in itertools.product(range(heads), range(n), range(n)):
        if i == j:
            m[a, i, a, i] = -0.16 * n * np.mean(v[0, a, i] * e2v)
            m[a, i, 1 - a, i] = p
        else:
            m[a, i, a, j] = -(q[0, a, i] @ k[0, a, j] + k[0, a, i] @ q[0, a, j]) / (2 * 2.0)
    m = m.reshape(6, 6)
    states = assignments(6)
    problem = attention_problem.problem_v2(attention_problem.terms_v2(*map(jnp.asarray, (q, k, v, e2v))))
    found = annealing.energies(problem, states.reshape(1, -1, 2, 3))
    np.testing.assert_allclose(found[0], np.einsum("ri,ij,rj->r", states, m, states), atol=1e-12)


def test_v1_problem_is_the_published_sum():
    rng = np.random.default_rng(2)
    heads, n, bits = 3, 2, 2
    terms = Terms(rng.normal(size=(1, heads, n, n)), rng.normal(size=(1, heads, n)))
    states = assignments(12)
    problem = attention_problem.problem_v1(Terms(*map(jnp.asarray, terms)), bits)
    found = annealing.energies(problem, states.reshape(1, -1, heads, n * bits))
    for state, energy in zip(states[::37], np.asarray(found[0])[::37], strict=True):
        x = state.reshape(heads, n, bits)
        w = (x[..., 0] + 2 * x[..., 1]) / 3
        expected = sum(-w[a] @ terms.pair[0, a] @ w[a] - terms.linear[0, a] @ w[a] for a in range(heads))
        both = sum((x[a] * x[b]).sum() for a, b in itertools.combinations(range(heads), 2))
        np.testing.assert_allclose(energy, expected + 2.0 * 2 / (heads * (heads - 1)) * both, atol=1e-12)
        for dtype in (float, jnp.int8):  # annealing gives int8
            weights = attention_problem.token_weights(jnp.asarray(x.reshape(1, heads, -1), dtype), bits)
            np.testing.assert_allclose(weights[0], w)
    alone = attention_problem.problem_v1(Terms(jnp.ones((1, 1, 2, 2)), jnp.ones((1, 1, 2))))
    assert float(alone.penalty) == 0.0


def test_divergence_and_entropies_follow_their_definitions():
    rng = np.random.default_rng(3)
    q, k, v, _ = parts(rng)
    p, r = (np.exp(a) / np.exp(a).sum(-1, keepdims=True) for a in (q[0, 0, 0], k[0, 0, 1]))
    m = (p + r) / 2
    expected = (np.sum(p * np.log2(p / m)) + np.sum(r * np.log2(r / m))) / 2
    np.testing.assert_allclose(attention_problem.divergence(q, k)[0, 0, 0, 1], expected, atol=1e-9)
    normal = np.clip(v / (v.sum(-1, keepdims=True) + 1e-6), 1e-6, 1)
    np.testing.assert_allclose(attention_problem.value_entropies(v), -normal * np.log2(normal), atol=1e-12)


# --- the softmax limit -----------------------------------------------------------------------------------------------


def test_one_hot_problem_reproduces_softmax_by_enumeration():
    rng = np.random.default_rng(4)
    scores, beta, strength = rng.normal(size=8), 3.0, 20.0
    problem, constant = attention_problem.one_hot_problem(jnp.asarray(scores)[None], strength)
    states = assignments(8)
    energies = np.asarray(annealing.energies(problem, states.reshape(1, -1, 1, 8))[0]) + constant
    np.testing.assert_allclose(energies, -states @ scores + strength * (states.sum(1) - 1) ** 2, atol=1e-9)
    weights = np.exp(-beta * (energies - energies.min()))
    expected = states.T @ weights / weights.sum()
    softmax = np.exp(beta * scores) / np.exp(beta * scores).sum()
    np.testing.assert_allclose(expected, softmax, atol=1e-10)
    np.testing.assert_allclose(
        attention_problem.one_hot_expectations(jnp.asarray(scores), beta, strength), softmax, atol=1e-10
    )


def test_one_hot_expectations_are_exact_at_a_finite_strength():
    rng = np.random.default_rng(5)
    scores, beta, strength = rng.normal(size=7), 1.3, 5.0
    states, shifted = assignments(7), scores - scores.max()
    weights = np.exp(beta * (states @ shifted - strength * (states.sum(1) - 1) ** 2))
    expected = states.T @ weights / weights.sum()
    found = attention_problem.one_hot_expectations(jnp.asarray(scores), beta, strength)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert np.abs(expected - np.exp(beta * shifted) / np.exp(beta * shifted).sum()).max() > 1e-4


def test_the_annealer_samples_the_softmax(key):
    scores, beta, strength, reads = jnp.asarray([[0.9, -0.4, 0.3, 0.0, -1.1]]), 1.5, 2.5, 20_000
    problem, constant = attention_problem.one_hot_problem(scores, strength)
    cooling = np.concatenate([np.geomspace(0.1, beta, 20), np.full(60, beta)])
    drawn = jax.jit(lambda p: annealing.anneal(p, key, reads=reads, betas=cooling, descent=False).states)(problem)
    states = assignments(5)
    energies = np.asarray(annealing.energies(problem, states.reshape(1, -1, 1, 5))[0])
    weights = np.exp(-beta * energies)
    exact = states.T @ weights / weights.sum()
    error = np.sqrt(exact * (1 - exact) / reads)
    means = np.asarray(drawn[0, :, 0], float).mean(0)
    assert (np.abs(means - exact) < 5 * error).all()
    # Rejecting the few samples that are not one-hot leaves the softmax itself.
    kept = np.asarray(drawn[0, :, 0], float)
    kept = kept[kept.sum(1) == 1]
    softmax = np.asarray(jax.nn.softmax(beta * scores[0]))
    assert (np.abs(kept.mean(0) - softmax) < 5 * np.sqrt(softmax * (1 - softmax) / len(kept))).all()


# --- gradients -------------------------------------------------------------------------------------------------------


def test_minimum_energy_has_the_derivative_of_its_frozen_solution():
    """dE/dJ = -c x x^T and dE/dh = -c_l n x at the minimum, by central differences of the exact minimum."""
    rng = np.random.default_rng(6)
    pair = rng.normal(size=(1, 2, 4, 4))
    pair = (pair + pair.swapaxes(2, 3)) * (1 - np.eye(4))
    terms, states = Terms(pair, rng.normal(size=(1, 2, 4))), assignments(8).reshape(1, -1, 2, 4)
    energies = jax.jit(lambda terms: annealing.energies(attention_problem.problem_v2(terms), states)[0])
    values = np.sort(np.asarray(energies(terms)))
    assert values[1] - values[0] > 0.05
    x = states[0, int(np.asarray(energies(terms)).argmin())]
    assert 0 < x.sum() < 8
    step = 1e-4
    for a, (i, j) in itertools.product(range(2), itertools.permutations(range(4), 2)):
        change = np.zeros_like(pair)
        change[0, a, i, j] = step
        up, down = (float(energies(Terms(pair + sign * change, terms.linear)).min()) for sign in (1, -1))
        np.testing.assert_allclose((up - down) / (2 * step), -x[a, i] * x[a, j], atol=1e-6)
    for a, i in itertools.product(range(2), range(4)):
        change = np.zeros_like(terms.linear)
        change[0, a, i] = step
        up, down = (float(energies(Terms(pair, terms.linear + sign * change)).min()) for sign in (1, -1))
        np.testing.assert_allclose((up - down) / (2 * step), -0.16 * 4 * x[a, i], atol=1e-6)


def test_frozen_token_energies_have_the_published_gradient():
    rng = np.random.default_rng(7)
    terms = Terms(jnp.asarray(rng.normal(size=(1, 2, 3, 3))), jnp.asarray(rng.normal(size=(1, 2, 3))))
    settings = AttentionSettings(n_heads=2, reads=4, sweeps=10)
    x = np.asarray(jax.jit(attention.select, static_argnums=0)(settings, terms))
    energy = jax.jit(jax.grad(lambda terms: attention.selected_energies(settings, terms)[0].sum()))(terms)
    np.testing.assert_allclose(energy.pair[0], -x[0][:, :, None] * x[0][:, None, :])
    np.testing.assert_allclose(energy.linear[0], -x[0])


def test_gibbs_gradient_is_that_of_the_expectation():
    """Against central differences of the exact expectation, within sampling error."""
    rng = np.random.default_rng(8)
    pair = rng.normal(size=(1, 2, 3, 3)) / 4
    pair = (pair + pair.swapaxes(2, 3)) * (1 - np.eye(3))
    terms = Terms(jnp.asarray(pair), jnp.asarray(rng.normal(size=(1, 2, 3))))
    states = assignments(6).reshape(1, -1, 2, 3).astype(float)
    settings = AttentionSettings(n_heads=2, reads=20_000, sweeps=40, gradient="gibbs", beta=0.8)

    def exact(terms):
        share = jax.nn.softmax(-0.8 * annealing.energies(attention_problem.problem_v2(terms), states))
        return (share[:, :, None, None] * attention_problem.token_energies(terms, jnp.asarray(states))).sum()

    def sampled(terms):
        return attention.gibbs_energies(settings, terms)[0].sum()

    value, gradient = jax.jit(jax.value_and_grad(exact))(terms)
    found, estimate = jax.jit(jax.value_and_grad(sampled))(terms)
    np.testing.assert_allclose(found, value, atol=0.05)
    np.testing.assert_allclose(estimate.pair, gradient.pair, atol=0.05)
    np.testing.assert_allclose(estimate.linear, gradient.linear, atol=0.05)


TOKENS = np.random.default_rng(9).normal(size=(2, 4, 8))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "none"])
def test_gradients_reach_every_projection_matrix(kind):
    settings = AttentionSettings(kind=kind, n_heads=2, reads=2, sweeps=4)
    params = jax.tree.map(jnp.asarray, attention.init_attention(settings, 8, np.random.default_rng(10)))
    target = jnp.asarray(np.random.default_rng(11).normal(size=TOKENS.shape))

    def loss(params):
        return (attention.attend(settings, params, jnp.asarray(TOKENS)).output * target).sum()

    gradient = jax.jit(jax.grad(loss))(params)
    for name, leaf in gradient.items():
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 1e-9, name


@pytest.mark.parametrize("gradient", ["straight-through", "gibbs"])
def test_other_gradients_reach_every_projection_matrix(gradient):
    settings = AttentionSettings(n_heads=2, reads=8, sweeps=4, gradient=gradient)
    params = jax.tree.map(jnp.asarray, attention.init_attention(settings, 8, np.random.default_rng(10)))
    found = jax.jit(jax.grad(lambda p: (attention.attend(settings, p, jnp.asarray(TOKENS)).output ** 2).sum()))(params)
    assert all(np.isfinite(leaf).all() and np.abs(leaf).max() > 1e-9 for leaf in found.values())
    frozen = AttentionSettings(n_heads=2, reads=8, sweeps=4)
    plain = jax.jit(jax.grad(lambda p: (attention.attend(frozen, p, jnp.asarray(TOKENS)).output ** 2).sum()))(params)
    assert not np.allclose(plain["query"], found["query"])


# --- layers ----------------------------------------------------------------------------------------------------------


def layer(kind, tokens=TOKENS, **more):
    settings = AttentionSettings(kind=kind, n_heads=2, reads=4, sweeps=10, **more)
    params = jax.tree.map(jnp.asarray, attention.init_attention(settings, 8, np.random.default_rng(12)))
    return settings, params, jax.jit(attention.attend, static_argnums=0)(settings, params, jnp.asarray(tokens))


def test_selections_and_their_outputs():
    settings, params, found = layer("qama-v2")
    problem = attention.layer_problem(settings, params, jnp.asarray(TOKENS))
    x = np.asarray(found.weights)
    states = assignments(8).reshape(1, -1, 2, 4)
    energies = annealing.energies(problem, np.broadcast_to(states, (2, 256, 2, 4)))
    np.testing.assert_allclose(annealing.energies(problem, x[:, None])[:, 0], energies.min(1), atol=1e-9)
    # An unselected token emits nothing; every head emits one number a token times E2V.
    output, e2v = np.asarray(found.output).reshape(2, 4, 2, 4), np.asarray(params["e2v"])
    assert (output[x.swapaxes(1, 2) == 0] == 0).all()
    np.testing.assert_allclose(output / e2v, np.broadcast_to((output / e2v)[..., :1], output.shape), atol=1e-12)
    assert (np.asarray(layer("ones")[2].weights) == 1).all()
    settings, params, found = layer("threshold")
    linear = -np.asarray(attention.layer_problem(settings, params, jnp.asarray(TOKENS)).linear)
    np.testing.assert_array_equal(np.asarray(found.weights), linear > 0)
    assert set(np.unique(layer("random")[2].weights)) <= {0.0, 1.0}
    assert (np.asarray(layer("none")[2].output) == 0).all()


def test_weighted_kinds_against_plain_numpy():
    _, params, found = layer("softmax")
    q, k, v = (
        (TOKENS @ np.asarray(params[name]).T).reshape(2, 4, 2, 4).swapaxes(1, 2) for name in ("query", "key", "value")
    )
    scores = np.exp(q @ k.swapaxes(2, 3) / 2)
    expected = (scores / scores.sum(-1, keepdims=True) @ v).swapaxes(1, 2).reshape(2, 4, 8)
    np.testing.assert_allclose(found.output, expected, atol=1e-12)
    np.testing.assert_allclose(layer("boltzmann", strength=60.0)[2].output, expected, atol=1e-12)
    settings, params, found = layer("hard")
    x = np.asarray(
        jax.jit(attention.select, static_argnums=0)(settings, attention.terms_of(params, *map(jnp.asarray, (q, k, v))))
    )
    masked = scores * x[:, :, None]
    total = masked.sum(-1, keepdims=True)
    masked = np.divide(masked, total, out=np.zeros_like(masked), where=total > 0)
    np.testing.assert_allclose(found.output, (masked @ v).swapaxes(1, 2).reshape(2, 4, 8), atol=1e-12)


def test_circuit_and_bottleneck_have_36_weights_each():
    circuit = layer("circuit")[1]
    bottleneck = layer("bottleneck")[1]
    assert circuit["weights"].size == 36
    assert sum(bottleneck[name].size for name in ("first", "bias", "second")) == 36
    assert sum(leaf.size for leaf in circuit.values()) == sum(leaf.size for leaf in bottleneck.values())


@pytest.mark.thorough
def test_equal_seeds_give_equal_selections_and_v1_is_finite():
    for kind in ("qama-v2", "random", "qama-v1"):
        one, other = (np.asarray(layer(kind)[2].output) for _ in range(2))
        np.testing.assert_array_equal(one, other)
        assert np.isfinite(one).all()
    assert (np.asarray(layer("random", seed=1)[2].weights) != np.asarray(layer("random")[2].weights)).any()
    settings, params, found = layer("qama-v1")
    w = np.asarray(found.weights) * 15
    np.testing.assert_allclose(w, np.round(w), atol=1e-9)
    assert attention.layer_problem(settings, params, jnp.asarray(TOKENS)).linear.shape == (2, 2, 16)
    slopes = jax.grad(lambda params, x: attention.attend(settings, params, x).output.sum(), (0, 1))
    alone = slopes(jax.tree.map(jnp.asarray, params), jnp.asarray(TOKENS[:, :1]))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(alone))
    single = AttentionSettings(n_heads=1, reads=2, sweeps=5)
    params = jax.tree.map(jnp.asarray, attention.init_attention(single, 8, np.random.default_rng(0)))
    assert float(attention.layer_problem(single, params, jnp.asarray(TOKENS)).penalty) == 0.0
    assert np.isfinite(jax.jit(attention.attend, static_argnums=0)(single, params, jnp.asarray(TOKENS)).output).all()


@pytest.mark.parametrize(
    "more",
    mostly_slow(
        [
            {"kind": "random"},
            {"kind": "qama-v2", "bits": 3},
            {"kind": "greedy"},
            {"kind": "hard"},
            {"kind": "qama-v2", "gradient": "gibbs"},
        ],
        keep=2,
    ),
)
def test_what_an_example_gets_is_its_own_whatever_stands_beside_it(more):
    # Examples of other sizes have other steps of rounding to integers.
    tokens = np.random.default_rng(13).normal(size=(5, 4, 8)) * np.array([1, 4, 1, 0.2, 3])[:, None, None]
    settings, params, among = layer(tokens=tokens, **more)
    others = np.array([3, 4, 1])
    beside = jax.jit(attention.attend, static_argnums=0)(settings, params, jnp.asarray(tokens[others]))
    np.testing.assert_allclose(beside.output, np.asarray(among.output)[others], rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(beside.weights, np.asarray(among.weights)[others])


def test_random_selections_differ_between_examples_and_have_their_share():
    tokens = np.random.default_rng(14).normal(size=(100, 9, 8))
    x = np.asarray(layer("random", tokens=tokens)[2].weights)
    assert x.shape == (100, 2, 9) and len(np.unique(x.reshape(100, -1), axis=0)) > 90
    # Five standard deviations of the mean of as many independent draws.
    assert abs(x.mean() - 0.26) < 5 * np.sqrt(0.26 * 0.74 / x.size)


# --- the transformer -------------------------------------------------------------------------------------------------


def test_transformer_shapes_and_published_sizes(key):
    assert VisionTransformer().n_variables == 392
    assert VisionTransformer(image_size=32, channels=3).n_variables == 512
    model = VisionTransformer(
        image_size=8,
        patch_size=4,
        dim=8,
        hidden=6,
        n_classes=3,
        n_blocks=2,
        attention=AttentionSettings(kind="threshold", n_heads=2),
    )
    params = model.init(key)
    x = np.random.default_rng(0).uniform(size=(5, 8, 8, 1))
    assert model.outputs(params, x).shape == (5, 3)
    assert model.first_attention(params, x).weights.shape == (5, 2, 4)
    assert model.first_problem(params, x).linear.shape == (5, 2, 4)
    other = VisionTransformer(
        image_size=8,
        patch_size=4,
        dim=8,
        hidden=6,
        n_classes=3,
        n_blocks=2,
        attention=AttentionSettings(kind="softmax", n_heads=2),
    ).init(key)
    np.testing.assert_array_equal(params["block1"]["up"]["weight"], other["block1"]["up"]["weight"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AttentionSettings(kind="soft"), "Argument `kind` must be one of"),
        (lambda: AttentionSettings(gradient="exact"), "Argument `gradient` must be one of"),
        (lambda: AttentionSettings(kind="ones", gradient="gibbs"), "Argument `gradient` must be 'frozen' for 'ones'"),
        (lambda: AttentionSettings(reads=0), "Argument `reads` must be an integer of at least 1, but is 0"),
        (lambda: AttentionSettings(seed=2**32), "`seed` must be an integer from 0 to 4294967295, but is 4"),
        (lambda: AttentionSettings(bits=1), "Argument `bits` must be an integer of at least 2, but is 1"),
        (lambda: AttentionSettings(beta=np.nan), "Argument `beta` must be a positive number, but is nan"),
        (lambda: AttentionSettings(kind="boltzmann", strength=1.0), "Argument `strength` must be at least 5 / beta"),
        (lambda: VisionTransformer(patch_size=5), "Argument `patch_size` must divide the image's side 28, but is 5"),
        (lambda: VisionTransformer(dim=6), "Argument `dim` must be a multiple of 4"),
        (lambda: VisionTransformer(dim=20), "Argument `n_heads` must divide `dim`, 20, but is 8"),
        (lambda: VisionTransformer(n_classes=0), "Argument `n_classes` must be an integer of at least 1, but is 0"),
        (lambda: VisionTransformer().outputs({}, np.zeros((1, 8, 8, 1))), r"Argument `x` must have shape \(batch, 28"),
        (lambda: attention.layer_problem(AttentionSettings(kind="softmax"), {}, None), "but is 'softmax'"),
        (lambda: attention.attend(AttentionSettings(), {}, jnp.zeros((1, 2, 12))), "must divide the dimension 12"),
        (lambda: attention.attend(AttentionSettings(), {}, jnp.zeros((2, 8))), r"`tokens` must have shape \(B, n"),
        (lambda: attention.attend(AttentionSettings(), {"query": np.eye(8)}, jnp.zeros((1, 2, 16))), "dimension 8, b"),
        (lambda: attention.layer_problem(AttentionSettings(), {}, jnp.zeros((1, 1, 2, 8))), r"has shape \(1, 1, 2"),
    ],
)  # fmt: skip
def test_bad_settings_get_one_clear_line(make, message):
    with pytest.raises(ValueError, match=message):
        make()
