"""The recurrent quantum network of Bausch 2020 (arXiv:2006.14619), simulated with postselection as its author did.

A step flips the in/out lanes to the input word, runs an input stage and work stages of neurons on the workspace, flips
the lanes back, runs an output stage of neurons on the in/out lanes, reads their distribution, sets them to one word
(by projection) and back to 0. `simulate` runs it with checks; `unroll` and `published_loss` are for use inside
`jax.jit`, `grad` and `vmap`.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common.checks import integer_from, require_one_of, require_unmasked
from qjaxsim.common.memory import require_memory
from qjaxsim.common.precision import HIGHEST
from qjaxsim.models.qrnn_cell import (
    Tables,
    cell_tables,
    output_success,
    scale_of,
    step_matrices,
    step_states,
    word_probabilities,
)
from qjaxsim.models.qrnn_topology import Params, QrnnTopology
from qjaxsim.running.sampling import require_key

PATHS = ("auto", "collapsed", "steps")
CHOICES = ("target", "sample", "argmax")
# Above so many bytes of states kept for reverse mode, steps are computed twice instead.
KEPT_BYTES = 2**28


class Unrolled(NamedTuple):
    """A sequence's course.

    Attributes:
        probabilities: (B, T, 2**I) distribution of the output word at each step.
        words: (B, T) int32, the word that the in/out lanes were set to after each step.
        projection: (B, T) its probability.
        success: (B, T, n_neurons) probability that each neuron's projections succeed, given that all before did, in
            the order they act (input stage, work stages, output stage; lanes rising); None unless asked for.
        state: (2**W, B) real amplitudes of the workspace after the last projection, up to a factor.
    """

    probabilities: jax.Array
    words: jax.Array
    projection: jax.Array
    success: jax.Array | None
    state: jax.Array


class Simulated(NamedTuple):
    """What `simulate` gives: the fields of `Unrolled` without the state, and the loss (None without targets)."""

    probabilities: jax.Array
    words: jax.Array
    projection: jax.Array
    success: jax.Array | None
    loss: jax.Array | None


def simulate(
    topology: QrnnTopology,
    params: Any,
    inputs: Any,
    targets: Any = None,
    *,
    counted: Any = None,
    forced: Any = None,
    choice: str = "target",
    key: jax.Array | None = None,
    path: str = "steps",
) -> Simulated:
    """Per-step output distributions, neurons' success probabilities and loss of a batch of sequences.

    Conventions, for comparing implementations number by number. Lanes: in/out lanes 0..I-1, then workspace lanes; lane
    0 is the most significant bit of a word and of a state's index. Sources of a neuron: workspace lanes, then in/out
    lanes, each rising, its target left out. Its numbers: one for each subset of the sources up to `degree`, by size,
    then lexicographically by position, the empty subset (theta) first. Angles: eta = bias + sum of the numbers whose
    sources are all 1, halved in cos and sin; |0> turns into c |0> + s |1> with c = cos(eta / 2)**(2**order), s the same
    of sin, then the whole state is divided by its norm. Rotations between stages are R_y, half angles too. Flat
    parameters are the arrays "input", "output", "rotations", "work" one after the other, each row-major
    (`QrnnTopology.shapes`).

    Step t reads inputs[:, t] and predicts targets[:, t]: of a sequence of L words a language model passes words
    0..L-2 as inputs and 1..L-1 as targets.

    Args:
        topology: sizes.
        params: named arrays or one flat array (n_parameters,), float32 or float64.
        inputs: (B, T) words that are fed, integers 0..2**I - 1.
        targets: (B, T) words to predict; needed for the loss and where lanes are set to them.
        counted: (T,) booleans, the steps in the loss; all by default.
        forced: (T,) booleans, the steps whose lanes are set to the target whatever `choice` says.
        choice: what the lanes are set to elsewhere: "target" (teacher forcing by postselection), a "sample" of the
            output distribution, or its "argmax".
        key: random key for "sample".
        path: "steps" gives success probabilities; "collapsed" does not (see `unroll`); "auto" takes the faster.

    Returns:
        See `Simulated`. All sums run in the parameters' precision.

    Raises:
        ValueError: for empty or wrongly shaped sequences, words out of range, parameters that do not fit, missing
            targets or key, and a projection on an outcome of probability 0, naming sequence and step.
        TypeError: for words that are no integers.
        MemoryError: if states or tables do not fit, before they are allocated.
    """
    named = topology.named(params)
    inputs = _words("inputs", inputs, topology.n_words)
    require_one_of("choice", choice, CHOICES)
    if targets is None and (choice == "target" or forced is not None or counted is not None):
        raise ValueError("Argument `targets` must be given for choice='target', `forced` and `counted`, but is None.")
    if choice == "sample" and key is None:
        raise ValueError("Argument `key` must be a random key for choice='sample', but is None.")
    if key is not None:
        require_key(key)
    if targets is not None:
        targets = _words("targets", targets, topology.n_words)
        if targets.shape != inputs.shape:
            raise ValueError(
                f"Argument `targets` must have the shape of `inputs`, {inputs.shape}, but has {targets.shape}."
            )
    steps = inputs.shape[1]
    counted, forced = _steps("counted", counted, True, steps), _steps("forced", forced, False, steps)
    require_fit(topology, len(inputs), steps, named["input"].dtype)
    run = _simulate(topology, choice, path, targets is not None)
    out: Simulated = run(named, inputs, inputs if targets is None else targets, counted, forced, key)
    projection = np.asarray(out.projection)[:, :-1]
    if not (projection > 0).all():
        sequence, step = (int(i) for i in np.argwhere(~(projection > 0))[0])
        word = int(out.words[sequence, step])
        raise ValueError(
            f"Argument `targets` must hold words that can be projected on, but word {word} of sequence {sequence} at "
            f"step {step} has probability {projection[sequence, step]}; choose other parameters, or choice='sample'."
        )
    return out


@functools.lru_cache(maxsize=32)
def _simulate(topology: QrnnTopology, choice: str, path: str, scored: bool) -> Any:
    @jax.jit
    def run(params: Params, inputs: Any, targets: Any, counted: Any, forced: Any, key: Any) -> Simulated:
        success = path == "steps"
        out = unroll(
            topology, params, inputs, targets, forced=forced, choice=choice, key=key, path=path, success=success
        )
        return Simulated(*out[:4], published_loss(out.probabilities, targets, counted) if scored else None)

    return run


def unroll(
    topology: QrnnTopology,
    params: Params,
    inputs: jax.Array,
    targets: jax.Array | None = None,
    *,
    forced: jax.Array | None = None,
    fed_back: jax.Array | None = None,
    choice: str = "target",
    key: jax.Array | None = None,
    path: str = "auto",
    success: bool = False,
    start: jax.Array | None = None,
) -> Unrolled:
    """The course of a batch of sequences, as one `lax.scan`; pure, differentiable and unchecked.

    Arguments as in `simulate`, parameters by name, words as int32 arrays. A projection on an outcome of probability 0
    gives zeros from there on, never NaN: look at the smallest entry of `projection`.

    Args:
        topology: see `simulate`.
        params: see there.
        inputs: see there.
        targets: see there.
        forced: see there.
        fed_back: (T,) booleans, the steps that read the word which the lanes were set to before, not their input.
        choice: see there.
        key: see there.
        path: "collapsed" builds one real 2**W x 2**W matrix for each input word and multiplies by it; "steps" runs
            neuron by neuron; "auto" estimates which is faster.
        success: whether to give success probabilities of neurons; needs "steps".
        start: (2**W, B) state to go on from, as in `Unrolled.state`; |0..0> by default.

    Cost: B T 2**(2W + I) multiplications and the matrices collapsed, B T 2**W times the neurons else. Reverse mode
    keeps the workspace at each step, B T 2**W numbers; what a step needs besides is kept where it is small, and else
    computed again.
    """
    batch, steps = inputs.shape
    inputs = inputs.astype(jnp.int32)
    targets = None if targets is None else targets.astype(jnp.int32)
    require_one_of("path", path, PATHS)
    if path == "auto":
        path = "collapsed" if not success and collapses(topology, batch, steps) else "steps"
    if success and path == "collapsed":
        raise ValueError("Argument `path` must be 'steps' or 'auto' for success probabilities, but is 'collapsed'.")
    cell = _Cell(topology, params, batch, path == "collapsed", success)

    def step(carry: tuple[jax.Array, jax.Array], xs: Any) -> tuple[Any, Any]:
        (state, before), (given, target, force, again, own) = carry, xs
        state, found = cell.advance(state, given if again is None else jnp.where(again, before, given))
        word = target if choice == "target" else jnp.where(force, target, _chosen(cell.tables, state, choice, own))
        return (cell.set_to(state, word), word), (state, word, found)

    if start is None:
        start = jnp.zeros((2**topology.workspace, batch), cell.dtype).at[0].set(1)
    keys = None if key is None or choice != "sample" else jax.random.split(key, steps)
    xs = (inputs.T, None if targets is None else targets.T, forced, fed_back, keys)
    if choice != "target" and (targets is None or forced is None):
        xs = (inputs.T, inputs.T, jnp.zeros(steps, bool), fed_back, keys)
    first = (start, jnp.zeros(batch, jnp.int32))
    (final, _), outs = jax.lax.scan(_economical(step, topology, batch, steps, cell.dtype, path), first, xs)
    return _unrolled(cell.tables, final, *outs)


class _Cell:
    """The network's cell with its numbers, on a batch of states."""

    def __init__(self, topology: QrnnTopology, params: Params, batch: int, collapsed: bool, success: bool):
        self.topology, self.batch, self.success = topology, batch, success
        self.tables = cell_tables(topology, params)
        self.dtype = self.tables.output.dtype
        self.alphabet = jnp.arange(topology.n_words, dtype=jnp.int32)
        self.matrices = None
        if collapsed:
            self.matrices = step_matrices(topology, self.tables).reshape(2**topology.workspace, -1)

    def one_hot(self, words: jax.Array) -> jax.Array:
        """Words (B,) as columns, (2**I, B)."""
        return (self.alphabet[:, None] == words[None, :]).astype(self.dtype)

    def advance(self, state: jax.Array, words: jax.Array) -> tuple[jax.Array, jax.Array | None]:
        """The state (2**W, B) after one step on the words, and the success probabilities of neurons if wanted."""
        if self.matrices is None:
            state, found = step_states(self.topology, self.tables, state, self.one_hot(words), success=self.success)
            return state, None if found is None else jnp.concatenate([found, output_success(self.tables, state)])
        spread = (self.one_hot(words)[None] * state[:, None]).swapaxes(0, 1).reshape(-1, self.batch)
        return jnp.matmul(self.matrices, spread, precision=HIGHEST), None

    def set_to(self, state: jax.Array, words: jax.Array) -> jax.Array:
        """The state after the lanes were projected on words, divided by its scale."""
        after = state * jnp.matmul(self.tables.output.T, self.one_hot(words), precision=HIGHEST)
        return after / scale_of(after)


def _unrolled(tables: Tables, final: jax.Array, states: jax.Array, words: jax.Array, found: Any) -> Unrolled:
    """The course of a batch from the states (T, 2**W, B) before the lanes were set to words (T, B)."""
    probabilities = word_probabilities(tables, states)
    projection = jnp.take_along_axis(probabilities, words[:, None, :], axis=1)[:, 0]
    success = None if found is None else found.transpose(2, 0, 1)
    return Unrolled(probabilities.transpose(2, 0, 1), words.T, projection.T, success, final)


def generate(topology: QrnnTopology, params: Any, first: Any, length: int, key: jax.Array) -> jax.Array:
    """Sequences that go on from their first words, each further word sampled and fed back.

    Args:
        topology: sizes.
        params: as in `simulate`.
        first: (B, F) words that are given, F >= 1; the lanes are set to the second and later ones, as in training.
        length: words L of a sequence, more than F.
        key: random key.

    Returns:
        (B, L) int32 words, the given ones first.

    Raises:
        ValueError: for words out of range, no words, or a length that leaves nothing to generate.
    """
    require_key(key)
    named, first = topology.named(params), _words("first", first, topology.n_words)
    given = first.shape[1]
    length = integer_from(given + 1, "length", length)
    require_fit(topology, len(first), length, named["input"].dtype)
    words = np.pad(first, ((0, 0), (0, length - given)))
    place = np.arange(length - 1)
    drawn = _generate(topology)(named, words[:, :-1], words[:, 1:], place + 1 < given, place >= given, key)
    return jnp.concatenate([jnp.asarray(first[:, :1]), drawn], axis=1)


@functools.lru_cache(maxsize=8)
def _generate(topology: QrnnTopology) -> Any:
    @jax.jit
    def run(params: Params, inputs: Any, targets: Any, forced: Any, fed_back: Any, key: Any) -> jax.Array:
        out = unroll(topology, params, inputs, targets, forced=forced, fed_back=fed_back, choice="sample", key=key)
        return out.words

    return run


@functools.partial(jax.jit, inline=True)
def published_loss(probabilities: jax.Array, targets: jax.Array, counted: jax.Array | None = None) -> jax.Array:
    """The published loss, a scalar: a softmax cross-entropy fed with probabilities, less its smallest value.

    Mean over samples and counted steps of log(sum_k exp p(k)) - p(target), less log(2**I - 1 + e) - 1; 0 is perfect,
    and a uniform distribution gives 0.380, 0.643, 0.805 for I = 1, 2, 3.

    Args:
        probabilities: (B, T, 2**I).
        targets: (B, T) words.
        counted: (T,) booleans; all by default.
    """
    words = probabilities.shape[-1]
    own = jax.nn.one_hot(targets, words, dtype=bool)
    missing = 1 - jnp.take_along_axis(probabilities, targets[..., None], axis=-1)
    # The smallest value is taken out of each exponential: after the logarithm a small loss would be lost to rounding.
    above = jnp.where(own, 0, jnp.expm1(probabilities + missing))
    each = jnp.log1p(above.sum(axis=-1) / (words - 1 + math.e))
    if counted is None:
        return each.mean()
    weights = counted.astype(each.dtype)
    return (each.mean(axis=0) * weights).sum() / weights.sum()


def collapses(topology: QrnnTopology, batch: int, steps: int) -> bool:
    """Whether matrices are the faster way, by estimated seconds on a CPU core; more than 2**24 entries never are.

    Constants fitted to updates of W = 3 to 8 lanes on one core, single precision: a neuron on a batch costs 2e-6 s and
    1.5e-8 s for each amplitude, a product 1.4e-10 s for each multiplication, building 2.4e-9 s for each of its.
    """
    size, words = 2**topology.workspace, topology.n_words
    entries = size * size * words
    if entries > 2**24:
        return False
    stages = topology.stages + 1
    group = 2 ** min(topology.workspace, 5) if topology.workspace <= 5 else 2 * size**0.5
    build = stages * group * entries * 2.4e-9
    collapsed = build + steps * (1e-5 + batch * entries * 1.4e-10)
    return collapsed < steps * stages * topology.workspace * (2e-6 + batch * size * 1.5e-8)


def require_fit(topology: QrnnTopology, batch: int, steps: int, dtype: Any) -> None:
    """Refuse what does not fit in memory: the neurons' tables, and a few states for each sample and step."""
    itemsize, size = np.dtype(dtype).itemsize, 2**topology.workspace
    tables = topology.n_neurons * 2**topology.n_sources
    require_memory(
        itemsize * (3 * tables + (steps + 8) * size * batch),
        f"A network of {topology.workspace} + {topology.width} lanes on {batch} sequences of {steps} steps",
        "use fewer lanes, a smaller batch or shorter sequences",
    )
    topology.monomials  # noqa: B018  refuses on its own, and is needed later


def _economical(step: Any, topology: QrnnTopology, batch: int, steps: int, dtype: Any, path: str) -> Any:
    """The step, computed again in reverse mode where what it keeps would fill too much memory."""
    per_step = 2**topology.workspace * batch * np.dtype(dtype).itemsize
    mixes = topology.workspace * (2 * topology.stages + 1)
    kept = steps * per_step * (topology.n_words + 4 if path == "collapsed" else 3 * mixes)
    if kept <= KEPT_BYTES:
        return step
    # The state after the products is an output of the scan and kept anyway.
    policy = jax.checkpoint_policies.dots_saveable if path == "collapsed" else None
    return jax.checkpoint(step, policy=policy, prevent_cse=False)


def _chosen(tables: Tables, state: jax.Array, choice: str, key: Any) -> jax.Array:
    """(B,) the word that the output distribution gives by `choice`."""
    probabilities = word_probabilities(tables, state)
    if choice == "argmax":
        return probabilities.argmax(axis=0).astype(jnp.int32)
    return jax.random.categorical(key, jnp.log(probabilities), axis=0).astype(jnp.int32)


def _words(name: str, words: Any, n_words: int) -> np.ndarray:
    require_unmasked(f"Argument `{name}`", words)
    try:
        array = np.asarray(words)
    except ValueError as error:
        raise ValueError(
            f"Argument `{name}` must hold sequences of one length, but theirs differ; pass those of each by themselves."
        ) from error
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"Argument `{name}` must hold integers, but holds {array.dtype}.")
    if array.ndim != 2 or not array.size:
        raise ValueError(
            f"Argument `{name}` must have shape (sequences, steps) with at least one of each, but has {array.shape}."
        )
    if array.min() < 0 or array.max() >= n_words:
        worst = int(array.min() if array.min() < 0 else array.max())
        raise ValueError(f"Argument `{name}` must hold words from 0 to {n_words - 1}, but holds {worst}.")
    return array.astype(np.int32)


def _steps(name: str, given: Any, default: bool, steps: int) -> np.ndarray:
    require_unmasked(f"Argument `{name}`", given)
    array = np.full(steps, default) if given is None else np.asarray(given)
    if array.shape != (steps,) or array.dtype != bool:
        raise ValueError(
            f"Argument `{name}` must be {steps} booleans, one for each step, but is {array.dtype} of shape "
            f"{array.shape}."
        )
    if default and not array.any():
        raise ValueError(f"Argument `{name}` must count at least one step, but counts none.")
    return array
