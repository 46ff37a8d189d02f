"""Attention by annealing, its relatives and its controls, as interchangeable layers.

Every kind maps tokens (B, n, dim) to (B, n, dim) from bias-free projections of the same tokens, without an output
projection, as published; `AttentionSettings.kind` says which. Nothing is random but for the seed: chains and random
selections of an example depend on it and on the example's own numbers, not on those beside it in the batch.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim import annealing
from qjaxsim.annealing.problems import HeadsProblem
from qjaxsim.annealing.streams import lanes_of, uniform
from qjaxsim.circuits.circuit import Circuit
from qjaxsim.common.checks import hold_integers, integer_from, require_one_of, require_positive
from qjaxsim.common.choices import GRADIENTS, KINDS, SELECTING
from qjaxsim.common.precision import HIGHEST
from qjaxsim.models import attention_problem as problems
from qjaxsim.models.attention_problem import Terms

Params = dict[str, Any]

WITH_PROBLEM = (*SELECTING, "hard", "qama-v1")
"""Kinds of which `layer_problem` knows the problem."""
# 4 qubits and 3 layers make the 36 angles of the published circuit; its classical twin has 4*4 + 4 + 4*4 weights.
CIRCUIT_QUBITS, CIRCUIT_LAYERS = 4, 3
_RANDOM_SHARE = 0.26
# What a word of a key holds.
_LARGEST_SEED = 2**32 - 1
# Sign, exponent and 14 bits of a number in single precision.
_KEPT_BITS = 0xFFFFFE00
# Token energies grow with the number of tokens: from a standard normal E2V the layer would drown the tokens at first,
# and digits take ten epochs to begin to learn instead of three. How the authors start it is not known to us.
E2V_START = 0.1


@dataclass(frozen=True)
class AttentionSettings:
    """One layer.

    Attributes:
        kind: "qama-v2": annealed selection, v2 (the default). Its controls have the same output and weights, but
            "greedy" descends from random states only, "ones" selects everything, "random" 26 % of the tokens (what
            annealing selects on random inputs), "threshold" those with h > 0. "qama-v1": annealed bits, v1,
            which normalises by the statistics of the batch, so that an example's output depends on those beside it.
            "boltzmann": exact Gibbs expectations of the one-hot problem, softmax in the limit of a large strength.
            "hard": softmax over the tokens that v2's problem selects (our reading of QAHAN, arXiv:2412.20930, whose
            Hamiltonian is not public to us). "circuit": softmax weights, values through a circuit (after QASA,
            arXiv:2504.05336); "bottleneck": the same with a classical map of as many weights. "softmax". "none": the
            layer emits zeros.
        n_heads: heads H; they share the dimension.
        reads: chains a problem.
        sweeps: annealing sweeps of a chain, before its final descent.
        gradient: through the selection of "qama-v2" and "greedy". "frozen": the selection is a constant, as published.
            "straight-through": it counts as each variable's Gibbs probability given the others. "gibbs": energies are
            averaged over samples at `beta`, with the exact gradient of such averages,
            d<O> = <dO> - beta cov(O, dE).
        beta: inverse temperature of the two latter, and of "boltzmann".
        strength: of the one-hot constraint.
        bits: None, or round problems to signed integers of so many bits first.
        seed: of chains and random selections, up to 2^32 - 1.

    Raises:
        ValueError: naming the argument, for values out of range.
    """

    kind: str = "qama-v2"
    n_heads: int = 8
    reads: int = 8
    sweeps: int = 20
    gradient: str = "frozen"
    beta: float = 1.0
    strength: float = 10.0
    bits: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (("kind", KINDS), ("gradient", GRADIENTS)):
            require_one_of(name, getattr(self, name), known)
        hold_integers(self, {"n_heads": 1, "reads": 1, "sweeps": 0})
        object.__setattr__(self, "seed", integer_from(0, "seed", self.seed, _LARGEST_SEED))
        if self.bits is not None:
            hold_integers(self, {"bits": 2})
        for name in ("beta", "strength"):
            require_positive(name, getattr(self, name))
        if self.kind == "boltzmann" and self.beta * self.strength < 5:
            raise ValueError(
                f"Argument `strength` must be at least 5 / beta = {5 / self.beta:g} for 'boltzmann', but is "
                f"{self.strength}: fewer ones than four would no longer be all that counts."
            )
        if self.gradient != "frozen" and self.kind not in ("qama-v2", "greedy"):
            raise ValueError(
                f"Argument `gradient` must be 'frozen' for {self.kind!r}, but is {self.gradient!r}; others go with "
                "'qama-v2' and 'greedy'."
            )


class Attended(NamedTuple):
    """What a layer gives.

    Attributes:
        output: (B, n, dim).
        weights: what shows where it looks: selections or token weights (B, H, n), or how much each token receives from
            all, (B, H, n); zeros for "none".
    """

    output: jax.Array
    weights: jax.Array


def init_attention(settings: AttentionSettings, dim: int, rng: np.random.Generator) -> Params:
    """Initial parameters as NumPy arrays: matrices uniform within 1 / sqrt(dim), gains 1.

    E2V is normal with deviation `E2V_START`.
    Every kind has "query", "key" and "value" (dim, dim) as far as it uses them ("none" has no parameters).
    """
    kind, size = settings.kind, dim // settings.n_heads

    def matrix(n_out: int, n_in: int) -> np.ndarray:
        return rng.uniform(-1, 1, (n_out, n_in)) / math.sqrt(n_in)

    if kind == "none":
        return {}
    params: Params = {name: matrix(dim, dim) for name in ("query", "key")}
    width = CIRCUIT_QUBITS
    if kind in ("circuit", "bottleneck"):
        params |= {"down": matrix(width, dim), "up": matrix(dim, width)}
    else:
        params["value"] = matrix(dim, dim)
    if kind == "circuit":
        params["weights"] = rng.uniform(-1, 1, (CIRCUIT_LAYERS, width, 3))
    if kind == "bottleneck":
        params |= {"first": matrix(width, width), "bias": np.zeros(width), "second": matrix(width, width)}
    if kind in SELECTING:
        params["e2v"] = E2V_START * rng.normal(size=size)
    if kind == "qama-v1":
        for name in ("pair", "linear", "output"):
            params |= {f"{name}_gain": np.ones(settings.n_heads), f"{name}_bias": np.zeros(settings.n_heads)}
    return params


def attend(settings: AttentionSettings, params: Params, tokens: jax.Array) -> Attended:
    """The layer's output for tokens (B, n, dim), normalised before.

    Raises:
        ValueError: for tokens of another shape, a dimension that is no multiple of the heads, or parameters of another.
    """
    n_heads = settings.n_heads
    _require_tokens(settings, params, tokens)
    if settings.kind == "none":
        return Attended(jnp.zeros_like(tokens), jnp.zeros((len(tokens), n_heads, tokens.shape[1]), tokens.dtype))
    q, k = (_split(_linear(params[name], tokens), n_heads) for name in ("query", "key"))
    v = _split(_values(settings, params, tokens), n_heads)
    if settings.kind == "qama-v1":
        return _attend_v1(settings, params, q, k, v)
    if settings.kind in SELECTING:
        terms = terms_of(params, q, k, v)
        energy, x = selected_energies(settings, terms)
        return Attended(_merge(energy[..., None] * params["e2v"][None, None, None]), x)
    scores = jnp.einsum("bhid,bhjd->bhij", q, k, precision=HIGHEST) / math.sqrt(q.shape[-1])
    weights = _weights(settings, params, scores, q, k, v)
    output = jnp.einsum("bhij,bhjd->bhid", weights, v, precision=HIGHEST)
    return Attended(_merge(output), weights.mean(2))


def layer_problem(settings: AttentionSettings, params: Params, tokens: jax.Array) -> HeadsProblem:
    """The problems that annealed kinds, and v2's controls, select by, one an example.

    Raises:
        ValueError: for a kind without them, and as `attend`.
    """
    require_one_of("kind", settings.kind, WITH_PROBLEM)
    _require_tokens(settings, params, tokens)
    q, k, v = (_split(_linear(params[name], tokens), settings.n_heads) for name in ("query", "key", "value"))
    if settings.kind == "qama-v1":
        return problems.problem_v1(_terms_v1(params, q, k, v)[0])
    return problems.problem_v2(terms_of(params, q, k, v))


# --- version 2 and its controls --------------------------------------------------------------------------------------


def select(settings: AttentionSettings, terms: Terms) -> jax.Array:
    """The selection x (B, H, n) of v2's kinds, without gradient."""
    terms = jax.lax.stop_gradient(terms)
    dtype = terms.linear.dtype
    if settings.kind == "ones":
        return jnp.ones_like(terms.linear)
    if settings.kind == "threshold":
        return (terms.linear > 0).astype(dtype)
    keys = _keys(settings, terms.linear)
    if settings.kind == "random":
        n_batch, n_heads, n = terms.linear.shape
        draws = uniform(lanes_of(keys, n_batch, n_heads, 1), jnp.arange(n, dtype=jnp.uint32)[None, None])
        return (draws < _RANDOM_SHARE).astype(dtype)
    problem = problems.problem_v2(terms)
    sweeps = 0 if settings.kind == "greedy" else settings.sweeps
    found = annealing.anneal(problem, keys, reads=settings.reads, sweeps=sweeps, bits=settings.bits)
    return annealing.best(found)[0].astype(dtype)


def selected_energies(settings: AttentionSettings, terms: Terms) -> tuple[jax.Array, jax.Array]:
    """Token energies (B, H, n) with the chosen gradient, and the selection."""
    if settings.gradient == "gibbs":
        return gibbs_energies(settings, terms)
    x = select(settings, terms)
    if settings.gradient == "frozen":
        return problems.token_energies(terms, x), x
    problem = problems.problem_v2(terms)
    fields = jnp.einsum("bhij,bhj->bhi", problem.couplings, x, precision=HIGHEST) + problem.linear
    fields = fields + problem.penalty * (x.sum(1, keepdims=True) - x)
    soft = jax.nn.sigmoid(-settings.beta * fields)
    through = x + (soft - jax.lax.stop_gradient(soft))
    return problems.token_energies(terms, through), x


def gibbs_energies(settings: AttentionSettings, terms: Terms) -> tuple[jax.Array, jax.Array]:
    """Means of token energies over chains at `beta`, after cooling down to it."""
    problem = problems.problem_v2(terms)
    betas = settings.beta * np.minimum(np.geomspace(0.1, 4.0, max(settings.sweeps, 1)), 1.0)
    fixed = jax.lax.stop_gradient(problem)
    keys = _keys(settings, terms.linear)
    drawn = annealing.anneal(
        fixed, keys, reads=settings.reads, betas=jnp.asarray(betas, terms.linear.dtype), descent=False
    )
    states = drawn.states.astype(terms.linear.dtype)
    energies = annealing.energies(problem, states)
    # Equal weights whose derivative is that of Boltzmann's: d<O> = <dO> - beta cov(O, dE).
    share = jax.nn.softmax(-settings.beta * (energies - jax.lax.stop_gradient(energies)), axis=1)
    mean = (share[:, :, None, None] * problems.token_energies(terms, states)).sum(1)
    return mean, states.mean(1)


# --- version 1 -------------------------------------------------------------------------------------------------------


def _attend_v1(settings: AttentionSettings, params: Params, q: jax.Array, k: jax.Array, v: jax.Array) -> Attended:
    """Energies spread over features in proportion to their entropy."""
    terms, features = _terms_v1(params, q, k, v)
    linear = terms.linear
    fixed = jax.lax.stop_gradient(problems.problem_v1(terms))
    found = annealing.anneal(
        fixed, _keys(settings, linear), reads=settings.reads, sweeps=settings.sweeps, bits=settings.bits
    )
    w = problems.token_weights(annealing.best(found)[0].astype(linear.dtype), problems.V1_BITS)
    energy = problems.token_energies(terms, w)
    # The normalised h may come near zero: its sign is kept, its size held above 1e-3.
    safe = jnp.where(jnp.abs(linear) < 1e-3, jnp.where(linear < 0, -1e-3, 1e-3).astype(linear.dtype), linear)
    spread = (-energy / safe)[..., None] * features
    return Attended(_merge(_batch_norm(spread, params, "output")), w)


def _terms_v1(params: Params, q: jax.Array, k: jax.Array, v: jax.Array) -> tuple[Terms, jax.Array]:
    """v1's normalised terms, and the entropies of the values' features."""
    off = ~jnp.eye(q.shape[2], dtype=bool)[None, None]
    raw = problems.divergence(q, k)
    features = problems.value_entropies(v)
    # One token has no pairs to normalise over.
    pair = jnp.where(off, _batch_norm(raw, params, "pair", off), raw) if q.shape[2] > 1 else raw
    return Terms(pair, _batch_norm(features.sum(-1), params, "linear")), features


def _batch_norm(values: jax.Array, params: Params, name: str, where: Any = None) -> jax.Array:
    """Normalised over all but the heads (axis 1), by the batch's own statistics in training and testing alike."""
    axes = tuple(axis for axis in range(values.ndim) if axis != 1)
    kept = None if where is None else jnp.broadcast_to(where, values.shape)
    mean = values.mean(axes, keepdims=True, where=kept)
    variance = ((values - mean) ** 2).mean(axes, keepdims=True, where=kept)
    shape = tuple(-1 if axis == 1 else 1 for axis in range(values.ndim))
    gain, bias = (params[f"{name}_{part}"].reshape(shape) for part in ("gain", "bias"))
    return (values - mean) * jax.lax.rsqrt(variance + 1e-5) * gain + bias


# --- weighted sums of values -----------------------------------------------------------------------------------------


def _weights(
    settings: AttentionSettings, params: Params, scores: jax.Array, q: jax.Array, k: jax.Array, v: jax.Array
) -> jax.Array:
    """Attention weights (B, H, n, n)."""
    if settings.kind == "boltzmann":
        return problems.one_hot_expectations(scores, settings.beta, settings.strength)
    if settings.kind != "hard":
        return jax.nn.softmax(scores)
    chosen = select(settings, terms_of(params, q, k, v))[:, :, None] > 0
    lowest = jnp.asarray(-1e9, scores.dtype)
    weights = jax.nn.softmax(jnp.where(chosen, scores, lowest))
    # Where a head chooses nothing it emits nothing.
    return jnp.where(chosen, weights, jnp.zeros_like(weights))


def terms_of(params: Params, q: jax.Array, k: jax.Array, v: jax.Array) -> Terms:
    """v2's terms; "hard" has no E2V of its own, which a constant mask could not train, and takes plain means."""
    return problems.terms_v2(q, k, v, params.get("e2v", jnp.ones(v.shape[-1], v.dtype)))


def _values(settings: AttentionSettings, params: Params, tokens: jax.Array) -> jax.Array:
    if settings.kind not in ("circuit", "bottleneck"):
        return _linear(params["value"], tokens)
    if settings.kind == "circuit":
        angles = value_angles(params, tokens)
        flat = {"inputs": angles.reshape(-1, CIRCUIT_QUBITS), "weights": params["weights"]}
        inner = _expectations()(flat).reshape(angles.shape)
    else:
        first = _linear(params["first"], _linear(params["down"], tokens))
        inner = _linear(params["second"], jnp.tanh(first + params["bias"][None, None]))
    return _linear(params["up"], inner)


def value_angles(params: Params, tokens: jax.Array) -> jax.Array:
    """The "inputs" (B, n, CIRCUIT_QUBITS) of `value_circuit` for tokens (B, n, dim)."""
    return (math.pi / 2) * jnp.tanh(_linear(params["down"], tokens))


def value_circuit() -> Circuit:
    """The circuit of kind "circuit", whose <Z> of every qubit become a token's value; "weights" are trained."""
    from qjaxsim.models.hybrid import hybrid_circuit

    return hybrid_circuit(CIRCUIT_QUBITS, CIRCUIT_LAYERS, "ring")


@lru_cache(maxsize=1)
def _expectations() -> Any:
    from qjaxsim.circuits.observables import Z
    from qjaxsim.running.simulate import expectation

    return expectation(value_circuit(), [Z(i) for i in range(CIRCUIT_QUBITS)])


# --- pieces ----------------------------------------------------------------------------------------------------------


def _require_tokens(settings: AttentionSettings, params: Params, tokens: jax.Array) -> None:
    """Refuse tokens that the layer does not take."""
    if jnp.ndim(tokens) != 3:
        raise ValueError(
            f"Argument `tokens` must have shape (B, n, dim), but has shape {jnp.shape(tokens)}; reshape the axes in "
            "front into one."
        )
    dim = tokens.shape[2]
    if dim % settings.n_heads:
        raise ValueError(f"Argument `n_heads` must divide the dimension {dim}, but is {settings.n_heads}.")
    if "query" in params and (size := params["query"].shape[1]) != dim:
        raise ValueError(f"Argument `tokens` must be of the layer's dimension {size}, but are of {dim}.")


def _keys(settings: AttentionSettings, values: jax.Array) -> jax.Array:
    """A key for each example (B,), from the seed and its own numbers (B, H, n): none need be handed down.

    So examples draw differently, and each the same whatever stands beside it.
    """
    sizes = jnp.abs(jax.lax.stop_gradient(values).astype(jnp.float32)).sum((1, 2))
    # Without the last bits, which another batch may round otherwise.
    words = jax.lax.bitcast_convert_type(sizes, jnp.uint32) & jnp.uint32(_KEPT_BITS)
    # The two words of a key as they are: hashing them, as JAX's fold_in does, would take half a second to compile.
    return jax.random.wrap_key_data(jnp.stack([jnp.full_like(words, settings.seed), words], 1))


def _linear(matrix: jax.Array, values: jax.Array) -> jax.Array:
    return jnp.matmul(values, matrix.T, precision=HIGHEST)


def _split(values: jax.Array, n_heads: int) -> jax.Array:
    batch, n, dim = values.shape
    return values.reshape(batch, n, n_heads, dim // n_heads).swapaxes(1, 2)


def _merge(values: jax.Array) -> jax.Array:
    batch, n_heads, n, size = values.shape
    return values.swapaxes(1, 2).reshape(batch, n, n_heads * size)
