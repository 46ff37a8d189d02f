"""The recurrent network against a literal NumPy version of its description, and against itself."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import qjaxsim as qj
from qjaxsim.models import qrnn, qrnn_topology
from qjaxsim.models.qrnn import generate, published_loss, simulate, unroll
from qjaxsim.models.qrnn_topology import QrnnTopology, subsets
from tests.cases import mostly_slow
from tests.qrnn_cases import SMALL, large_params, random_words

# --- a literal version, one sample, all lanes, dense loops --------------------------------------------------------


def numpy_neuron(state, lanes, target, sources, numbers, topology):
    """One neuron on a dictionary-free dense state (2,) * lanes; returns state and probability of success."""
    out = np.zeros_like(state)
    for bits in itertools.product((0, 1), repeat=lanes):
        if bits[target]:
            continue
        eta = topology.bias
        for number, subset in zip(numbers, subsets(len(sources), topology.degree), strict=True):
            eta += number * all(bits[sources[i]] for i in subset)
        c, s = math.cos(eta / 2) ** (2**topology.order), math.sin(eta / 2) ** (2**topology.order)
        flipped = (*bits[:target], 1, *bits[target + 1 :])
        out[bits] = c * state[bits] - s * state[flipped]
        out[flipped] = s * state[bits] + c * state[flipped]
    success = (out**2).sum() / (state**2).sum()
    return out / np.linalg.norm(out), success


def numpy_sequence(topology, params, inputs, targets):
    """Distributions (T, 2**I) and success probabilities (T, neurons), projecting on each target."""
    width, lanes = topology.width, topology.width + topology.workspace
    workspace, ports = list(range(width, lanes)), list(range(width))
    params = {name: np.asarray(value) for name, value in params.items()}
    state = np.zeros((2,) * lanes)
    state[(0,) * lanes] = 1
    distributions, successes = [], []
    for word, target in zip(inputs, targets, strict=True):
        found = []

        def flip(state, word):
            for lane in ports:
                if word >> (width - 1 - lane) & 1:
                    state = np.flip(state, lane)
            return state

        def neuron(state, lane, numbers, found=found):
            sources = [i for i in workspace + ports if i != lane]
            state, success = numpy_neuron(state, lanes, lane, sources, numbers, topology)
            found.append(success)
            return state

        state = flip(state, word)
        for lane, numbers in zip(workspace, params["input"], strict=True):
            state = neuron(state, lane, numbers)
        for angles, stage in zip(params["rotations"], params["work"], strict=True):
            for lane, angle in zip(workspace, angles, strict=True):
                turn = np.array(
                    [[math.cos(angle / 2), -math.sin(angle / 2)], [math.sin(angle / 2), math.cos(angle / 2)]]
                )
                state = np.moveaxis(np.tensordot(turn, state, (1, lane)), 0, lane)
            for lane, numbers in zip(workspace, stage, strict=True):
                state = neuron(state, lane, numbers)
        state = flip(state, word)
        for lane, numbers in zip(ports, params["output"], strict=True):
            state = neuron(state, lane, numbers)
        distributions.append((state**2).reshape(topology.n_words, -1).sum(axis=1))
        kept = np.zeros_like(state)
        bits = tuple(target >> (width - 1 - lane) & 1 for lane in ports)
        kept[bits] = state[bits]
        state = flip(kept / np.linalg.norm(kept), target)
        successes.append(found)
    return np.array(distributions), np.array(successes)


@pytest.mark.parametrize(
    "topology",
    mostly_slow(
        [
            QrnnTopology(width=2, workspace=3, stages=1, degree=2),
            QrnnTopology(width=1, workspace=2, stages=2, degree=3, order=1),
            QrnnTopology(width=3, workspace=2, stages=0, degree=1, order=3, bias=0.9),
        ],
        keep=1,
    ),
)
def test_simulation_equals_the_literal_version(topology, key):
    params = large_params(topology, key)
    inputs, targets = random_words(topology, (2, 3)), random_words(topology, (2, 3), 1)
    out = simulate(topology, params, inputs, targets)
    collapsed = simulate(topology, params, inputs, targets, path="collapsed")
    for sample in range(2):
        p, success = numpy_sequence(topology, params, inputs[sample], targets[sample])
        np.testing.assert_allclose(out.probabilities[sample], p, atol=1e-12)
        np.testing.assert_allclose(collapsed.probabilities[sample], p, atol=1e-12)
        np.testing.assert_allclose(out.success[sample], success, atol=1e-12)
    np.testing.assert_allclose(out.probabilities.sum(-1), 1, atol=1e-12)
    assert (np.asarray(out.words) == targets).all() and collapsed.success is None
    floor = 2.0 ** (1 - 2**topology.order)
    assert out.success.min() >= floor - 1e-12 and out.success.max() <= 1 + 1e-12


def test_lane_0_is_the_most_significant_bit():
    """Output neurons alone: lane 0 turned on, lane 1 off, gives word 2 of four."""
    topology = QrnnTopology(width=2, workspace=1, stages=0, degree=1)
    params = {name: np.zeros(shape) for name, shape in topology.shapes.items()}
    params["output"][:, 0] = [math.pi / 2, -math.pi / 2]  # eta = pi, 0
    params["input"][0, 0] = -math.pi / 2
    out = simulate(topology, params, [[0]], [[2]])
    np.testing.assert_allclose(out.probabilities[0, 0], [0, 0, 1, 0], atol=1e-12)
    # Input words too: the workspace lane copies lane 0 of the word, and lane 1 of the output copies the workspace.
    params["input"][0] = [-math.pi / 2, math.pi, 0]
    params["output"][:] = [[-math.pi / 2, 0, 0], [-math.pi / 2, math.pi, 0]]
    out = simulate(topology, params, [[1], [2]], choice="argmax")
    np.testing.assert_allclose(out.probabilities[:, 0], [[1, 0, 0, 0], [0, 1, 0, 0]], atol=1e-12)


# --- unrolling ----------------------------------------------------------------------------------------------------


def test_gradient_equals_finite_differences_through_projections(key, monkeypatch):
    params, unravel = ravel_pytree(large_params(SMALL, key))
    inputs, targets = random_words(SMALL, (3, 4)), random_words(SMALL, (3, 4), 1)
    counted = np.array([False, True, True, True])

    def loss(flat, path):
        out = unroll(SMALL, unravel(flat), jnp.asarray(inputs), jnp.asarray(targets), path=path)
        return published_loss(out.probabilities, jnp.asarray(targets), jnp.asarray(counted))

    step = 1e-5
    directions = np.random.default_rng(2).normal(size=(6, len(params)))

    def gradients():
        return jax.jit(lambda flat: (jax.grad(loss)(flat, "steps"), jax.grad(loss)(flat, "collapsed")))(params)

    ends = jnp.asarray(np.concatenate([directions, -directions]))
    ahead, behind = np.split(np.asarray(jax.jit(jax.vmap(lambda d: loss(params + step * d, "steps")))(ends)), 2)
    found = [*gradients()]
    # Steps that are computed again in reverse mode give the same.
    monkeypatch.setattr(qrnn, "KEPT_BYTES", 0)
    found += gradients()
    for gradient in found:
        np.testing.assert_allclose(directions @ gradient, (ahead - behind) / (2 * step), atol=1e-8)
        np.testing.assert_allclose(gradient, found[0], atol=1e-12)
    assert np.count_nonzero(gradient) > 0.9 * len(gradient)


@pytest.mark.slow
def test_second_derivatives_equal_finite_differences(key):
    topology = QrnnTopology(width=1, workspace=2, stages=1, degree=2)
    params, unravel = ravel_pytree(large_params(topology, key))
    inputs, targets = jnp.asarray(random_words(topology, (2, 4))), jnp.asarray(random_words(topology, (2, 4), 1))

    def loss(flat):
        return published_loss(unroll(topology, unravel(flat), inputs, targets).probabilities, targets)

    gradient = jax.jit(jax.grad(loss))
    direction = jnp.asarray(np.random.default_rng(3).normal(size=len(params)))
    slope = (gradient(params + 1e-5 * direction) - gradient(params - 1e-5 * direction)) / 2e-5
    np.testing.assert_allclose(qj.hvp(loss, params, direction), slope, atol=1e-8)


@pytest.mark.parametrize(
    ("choice", "dtype"),
    mostly_slow(
        [("target", jnp.float32), ("target", jnp.float64), ("sample", jnp.float64), ("argmax", jnp.float64)],
        keep=[0, 2],
    ),
)
def test_collapsed_equals_step_by_step(choice, dtype, key):
    params = large_params(SMALL, key, dtype)
    inputs, targets = random_words(SMALL, (4, 6)), random_words(SMALL, (4, 6), 1)
    forced = np.array([True, False, False, True, False, False])
    options = {"choice": choice, "forced": forced, "key": jax.random.key(5)}
    a, b = (simulate(SMALL, params, inputs, targets, path=path, **options) for path in ("steps", "collapsed"))
    assert a.probabilities.dtype == dtype
    tolerance = 1e-12 if dtype == jnp.float64 else 2e-5
    np.testing.assert_allclose(a.probabilities, b.probabilities, atol=tolerance)
    assert (a.words == b.words).all() and (np.asarray(a.words)[:, forced] == targets[:, forced]).all()
    if choice == "argmax":
        free = ~forced
        assert (np.asarray(a.words) == np.asarray(a.probabilities).argmax(-1))[:, free].all()


def test_samples_follow_the_distribution(key):
    params = large_params(SMALL, key)
    inputs = np.repeat(random_words(SMALL, (1, 1)), 4000, axis=0)
    out = simulate(SMALL, params, inputs, choice="sample", key=jax.random.key(6))
    counts = np.bincount(np.asarray(out.words[:, 0]), minlength=4) / 4000
    np.testing.assert_allclose(counts, out.probabilities[0, 0], atol=0.03)


@pytest.mark.slow
def test_batched_equals_one_by_one_and_vmaps_over_seeds(key):
    inputs, targets = random_words(SMALL, (3, 5)), random_words(SMALL, (3, 5), 1)
    seeds = jax.random.split(key, 2)
    many = jax.vmap(lambda k: large_params(SMALL, k))(seeds)

    @jax.jit
    def over_seeds(many):
        run = lambda p: unroll(SMALL, p, jnp.asarray(inputs), jnp.asarray(targets))  # noqa: E731
        return jax.vmap(run)(many).probabilities

    together = over_seeds(many)
    for seed in range(2):
        params = large_params(SMALL, seeds[seed])
        for i in range(3):
            one = simulate(SMALL, params, inputs[i : i + 1], targets[i : i + 1])
            np.testing.assert_allclose(together[seed, i], one.probabilities[0], atol=1e-12)


def test_going_on_from_a_state_is_the_same_as_not_stopping(key):
    params = large_params(SMALL, key)
    inputs = jax.random.randint(key, (3, 7), 0, SMALL.n_words)
    targets = jax.random.randint(jax.random.fold_in(key, 1), (3, 7), 0, SMALL.n_words)
    run = jax.jit(functools.partial(unroll, SMALL))
    whole = run(params, inputs, targets)
    begun = run(params, inputs[:, :4], targets[:, :4])
    rest = run(params, inputs[:, 4:], targets[:, 4:], start=begun.state)
    joined = jnp.concatenate([begun.probabilities, rest.probabilities], axis=1)
    np.testing.assert_allclose(joined, whole.probabilities, atol=1e-12)


def test_generated_sequences_follow_the_product_of_conditional_probabilities(key):
    """Every sequence of three words after a given first one, by its frequency among 20,000."""
    topology = QrnnTopology(1, 2, 1, 2, order=1)
    params = topology.init(key, bias_spread=0.2, weight_spread=1.0, rotation_spread=0.5)
    first = np.ones((20000, 1), np.int32)
    drawn = np.asarray(generate(topology, params, first, 4, key))
    assert drawn.shape == (20000, 4) and (drawn[:, 0] == 1).all()
    words = np.array([[1, *rest] for rest in itertools.product(range(2), repeat=3)])
    inputs, targets = words[:, :-1], words[:, 1:]
    expected = simulate(topology, params, inputs, targets).projection.prod(axis=1)
    counts = np.array([(drawn == row).all(axis=1).mean() for row in words])
    np.testing.assert_allclose(expected.sum(), 1, atol=1e-12)
    np.testing.assert_allclose(counts, expected, atol=0.015)
    # What is fed back matters in this network.
    unfed = simulate(topology, params, inputs * [1, 0, 0], targets).projection.prod(axis=1)
    assert np.abs(unfed - expected).max() > 0.1


def test_generation_keeps_the_words_given(key):
    first = np.array([[0, 1, 1], [1, 0, 0]])
    drawn = np.asarray(generate(SMALL, large_params(SMALL, key), first, 6, key))
    assert (drawn[:, :3] == first).all() and drawn.max() < SMALL.n_words
    with pytest.raises(ValueError, match="`length` must be an integer of at least 4, but is 3"):
        generate(SMALL, large_params(SMALL, key), first, 3, key)
    with pytest.raises(ValueError, match="`first` must hold words from 0 to"):
        generate(SMALL, large_params(SMALL, key), [[99]], 3, key)


@pytest.mark.slow
def test_a_thousand_steps_of_a_large_cell_fit_in_a_gibibyte():
    """Gradient at length 1,000, batch 128 and eight workspace lanes, by what the compiler plans."""
    topology = QrnnTopology(3, 8, 1, 3)
    params = jax.eval_shape(lambda: topology.init(jax.random.key(0), jnp.float32))
    words = jax.ShapeDtypeStruct((128, 999), jnp.int32)

    def loss(params, inputs, targets):
        return published_loss(unroll(topology, params, inputs, targets).probabilities, targets)

    planned = jax.jit(jax.value_and_grad(loss)).lower(params, words, words).compile().memory_analysis()
    assert 0 < planned.temp_size_in_bytes < 2**30


def test_the_published_loss_of_a_uniform_prediction_and_of_a_perfect_one():
    for width, value in ((1, 0.380), (2, 0.643), (3, 0.805), (5, 0.948)):  # papers' values
        n = 2**width
        uniform = jnp.full((2, 3, n), 1 / n)
        assert published_loss(uniform, jnp.zeros((2, 3), jnp.int32)) == pytest.approx(value, abs=5e-4)
        perfect = jax.nn.one_hot(jnp.zeros((2, 3), jnp.int32), n)
        assert published_loss(perfect, jnp.zeros((2, 3), jnp.int32)) == pytest.approx(0, abs=1e-12)
    half = jnp.stack([perfect[:, 0], uniform[:, 0] * 0 + 1 / n, perfect[:, 0]], axis=1)
    counted = jnp.array([True, False, True])
    assert published_loss(half, jnp.zeros((2, 3), jnp.int32), counted) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("missing", [0.0, 2.0**-22, 2.0**-10])
def test_small_published_losses_are_not_lost_to_rounding(missing):
    """In single precision, where log(sum exp p) - p and its smallest value agree in all digits."""
    chances = jnp.array([[[missing / 2, 1 - missing, missing / 2, 0.0]]], jnp.float32)
    loss, slopes = jax.value_and_grad(published_loss)(chances, np.array([[1]]))
    above = 2 * math.expm1(1.5 * missing) + math.expm1(missing)  # of exp(p + 1 - p(target)), one a word
    np.testing.assert_allclose(loss, math.log1p(above / (3 + math.e)), rtol=1e-6)
    shares = np.exp(np.float64(chances))
    np.testing.assert_allclose(slopes, shares / shares.sum() - [0, 1, 0, 0], rtol=1e-6)


# --- errors -------------------------------------------------------------------------------------------------------


def test_projecting_on_an_impossible_outcome_is_an_error_and_never_nan(key):
    """With bias 0 and all parameters 0 every neuron leaves |0> alone: only word 0 can come out."""
    topology = QrnnTopology(width=2, workspace=2, stages=1, degree=1, bias=0.0)
    params = {name: jnp.zeros(shape) for name, shape in topology.shapes.items()}
    targets = [[0, 0, 0], [0, 3, 0]]
    with pytest.raises(ValueError, match="word 3 of sequence 1 at step 1 has probability 0"):
        simulate(topology, params, np.zeros((2, 3), int), targets)

    def loss(params):
        words = jnp.asarray(targets)
        return published_loss(unroll(topology, params, jnp.zeros((2, 3), jnp.int32), words).probabilities, words)

    value, gradient = jax.jit(jax.value_and_grad(loss))(params)
    assert np.isfinite(value) and np.isfinite(ravel_pytree(gradient)[0]).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"inputs": np.zeros((0, 3), int)}, ValueError, "`inputs` must have shape .* with at least one of each"),
        ({"inputs": np.zeros((2, 0), int)}, ValueError, "`inputs` must have shape .* with at least one of each"),
        ({"inputs": [0, 1]}, ValueError, r"`inputs` must have shape .* but has \(2,\)"),
        ({"inputs": [[0.5, 1.0, 2.0]]}, TypeError, "`inputs` must hold integers, but holds float64"),
        ({"inputs": [[0, 4, 1]]}, ValueError, "`inputs` must hold words from 0 to 3, but holds 4"),
        ({"targets": [[0, -1, 1]]}, ValueError, "`targets` must hold words from 0 to 3, but holds -1"),
        ({"targets": [[0, 1]]}, ValueError, r"`targets` must have the shape of `inputs`, \(1, 3\)"),
        ({"targets": None}, ValueError, "`targets` must be given"),
        ({"inputs": np.ma.array([[0, 1, 2]], mask=[[0, 0, 1]])}, TypeError, "`inputs` must be whole, but is a masked"),
        ({"counted": np.ma.array([True] * 3, mask=[0, 0, 1])}, TypeError, "`counted` must be whole, but is a masked"),
        ({"choice": "best"}, ValueError, "`choice` must be one of"),
        ({"choice": "sample"}, ValueError, "`key` must be a random key"),
        ({"choice": "sample", "key": 0}, TypeError, "Argument `key` must be a random key, .* but is 0"),
        (
            {"inputs": [[0, 1, 2], [1]]},
            ValueError,
            "`inputs` must hold sequences of one length, but theirs differ; pass",
        ),
        ({"path": "fast"}, ValueError, "`path` must be one of"),
        ({"counted": np.zeros(3, bool)}, ValueError, "`counted` must count at least one step"),
        ({"forced": [True]}, ValueError, "`forced` must be 3 booleans"),
        ({"params": {"input": 1}}, ValueError, "`params` must have the names"),
        ({"params": np.zeros(3)}, ValueError, "`params` must be named arrays or a flat array of 127 numbers"),
    ],
)
def test_bad_arguments(change, error, message):
    arguments = {"params": np.zeros(SMALL.n_parameters), "inputs": [[0, 1, 2]], "targets": [[0, 1, 2]], **change}
    with pytest.raises(error, match=message):
        simulate(SMALL, **arguments)


def test_sequences_are_not_generated_from_what_is_no_key():
    with pytest.raises(TypeError, match="Argument `key` must be a random key, .* but is 1"):
        generate(SMALL, np.zeros(SMALL.n_parameters), [[0, 1]], 4, 1)


def test_success_probabilities_need_the_stepwise_path(key):
    words = jnp.zeros((1, 2), jnp.int32)
    with pytest.raises(ValueError, match="`path` must be 'steps' or 'auto' for success probabilities"):
        unroll(SMALL, large_params(SMALL, key), words, words, path="collapsed", success=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 0}, "`width` must be an integer from 1 to 16, but is 0"),
        ({"workspace": 0}, "`workspace` must be an integer"),
        ({"stages": -1}, "`stages` must be an integer"),
        ({"degree": 0}, "`degree` must be an integer"),
        ({"order": 9}, "`order` must be an integer from 1 to 5"),
        ({"order": True}, "`order` must be an integer"),
        ({"bias": math.nan}, "`bias` must be a finite angle"),
    ],
)
def test_bad_topologies(change, message):
    with pytest.raises(ValueError, match=message):
        QrnnTopology(**{"width": 2, "workspace": 3, "stages": 1, "degree": 2, **change})


def test_more_lanes_than_memory_are_refused_before_they_are_allocated(monkeypatch):
    wide = QrnnTopology(width=2, workspace=30, stages=1, degree=1)
    with pytest.raises(MemoryError, match=r"2 lanes on 1 sequences of 2 steps needs .* GiB .* use fewer lanes"):
        simulate(wide, np.zeros(wide.n_parameters), [[0, 1]], [[0, 1]])
    monkeypatch.setattr(qrnn_topology, "require_memory", lambda *_: (_ for _ in ()).throw(MemoryError("table")))
    with pytest.raises(MemoryError, match="table"):
        _ = QrnnTopology(width=2, workspace=5, stages=1, degree=1).monomials
