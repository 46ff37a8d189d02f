"""The quantum geometric tensor and the quantum Fisher information matrix of a circuit, dense."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.circuits.circuit import Circuit, require_circuit
from qjaxsim.common.checks import not_negative
from qjaxsim.common.memory import require_memory
from qjaxsim.common.precision import HIGHEST
from qjaxsim.curvature.chunks import at_once
from qjaxsim.curvature.spectra.groups import KINDS, Groups, places_of
from qjaxsim.geometry.tangents import Derivatives, Wrt, differentiated, for_derivatives, tangents_of
from qjaxsim.planning.doubling import is_mixed, is_noisy
from qjaxsim.planning.options import PlanOptions, plan_options
from qjaxsim.running.batching import Batch, parse_params
from qjaxsim.running.compiled import Compiled
from qjaxsim.running.simulate import density_matrix
from qjaxsim.running.state_functions import Params, check_call, check_from_zero
from qjaxsim.running.strengths import check_strengths

Metric = Callable[..., jax.Array]
Places = list[np.ndarray] | None
"""Blocks that are computed, by their places in the flat vector; None for all of the matrix."""

# Arrays of the size of a state's derivatives that are held at once.
COPIES = 4
DIAGONAL = "diagonal"


def quantum_geometric_tensor(
    circuit: Circuit, wrt: Any = None, *, blocks: Groups = None, options: PlanOptions | None = None
) -> Metric:
    """A function giving the quantum geometric tensor <d_i psi|d_j psi> - <d_i psi|psi><psi|d_j psi>.

    Its real part is the Fubini-Study metric, minus twice its imaginary part the Berry curvature. A global phase of the
    state makes no difference.

    Args:
        circuit: of a pure state: gates, initial states, projections; a snapshot is taken.
        wrt: names of the parameters that derivatives are taken in, V numbers in all; default all.
        blocks: which part of the matrix is computed, zeros elsewhere: None for all, "diagonal", or blocks by group of
            parameters as in `spectrum_report`: "leaves" (a block for each parameter), "rows" (for each slice along the
            first axis of a parameter: a layer's weights), a function from names to groups, or a mapping from groups to
            places.
        options: forced choices of the planner.

    Returns:
        `f(params) -> (..., V, V)` complex, names in `wrt` sorted and each parameter row by row (the order of
        `ravel_pytree` of a `dict`), `...` being the broadcast batch axes of params.

    Raises:
        ValueError: for names that the circuit does not have, channels, measurements or resets; on calling for params as
            `qj.statevector`.
        TypeError: for what is no circuit, or no name.
        MemoryError: on calling, if the derivatives of one state do not fit.

    Cost: circuits of gates take one sweep that carries V / 2 columns on the average, those of more than 300 steps V
    derivatives forwards or, where that is less, 2**(n + 1) backwards; then V**2 2**(n + 2) multiply-adds.
    Memory: a few times V states, for batches as many of them as make some hundred MB. Provost and Vallee 1980,
    doi:10.1007/BF02193559.

    >>> import qjaxsim as qj
    >>> a = qj.Parameter("a", (2,))
    >>> tensor = quantum_geometric_tensor(qj.Circuit(1).ry(a[0], 0).rz(a[1], 0))
    >>> found = np.asarray(tensor({"a": jnp.array([np.pi / 2, 0.3])}))  # (1, i s; -i s, s**2) / 4 with s = sin(a0)
    >>> print(abs(found - np.array([[1, 1j], [-1j, 1]]) / 4).max() < 1e-6)
    True
    """
    wrt = _checked(circuit, wrt)
    if is_mixed(circuit):
        parts = "channels" if is_noisy(circuit) else "measurements or resets on its way"
        raise ValueError(
            f"A circuit with {parts} has no quantum geometric tensor, which is one of pure states; use "
            "`quantum_fisher`, or leave them out."
        )
    return _metric(_pure, circuit, wrt, options, blocks, tensor_of)


def quantum_fisher(
    circuit: Circuit,
    wrt: Any = None,
    *,
    blocks: Groups = None,
    cutoff: float | None = None,
    options: PlanOptions | None = None,
) -> Metric:
    """A function giving the quantum Fisher information matrix.

    Of a pure state four times the real part of the `quantum_geometric_tensor`. Of a density matrix rho, which circuits
    with channels, measurements or resets have, that of the symmetric logarithmic derivative: with eigenvalues l and
    eigenvectors |k> of rho, F_ij = sum over k, m with l_k + l_m > 0 of
    2 Re(<k|d_i rho|m><m|d_j rho|k>) / (l_k + l_m). Strengths of channels are parameters like others.

    Args:
        circuit: what prepares the state; a snapshot is taken.
        wrt: as in `quantum_geometric_tensor`.
        blocks: as in `quantum_geometric_tensor`.
        cutoff: of a density matrix: pairs of eigenvalues whose sum is at most so large are left out. Default 4 * 2**n
            times the rounding unit. At rank changes of rho the matrix is not continuous, and this decides.
        options: forced choices of the planner.

    Returns:
        `f(params) -> (..., V, V)` real, in the order of `quantum_geometric_tensor`. Its own derivatives, of any order,
        hold where eigenvalues of rho meet, too.

    Raises:
        ValueError: for names that the circuit does not have, or a cutoff that is negative.
        TypeError: for what is no circuit, or no name.
        MemoryError: on calling, if the derivatives of one state do not fit.

    Cost: of pure states half that of the tensor; of density matrices V derivatives of one, and V 8**n multiply-adds.
    Braunstein and Caves 1994, doi:10.1103/PhysRevLett.72.3439.

    >>> import qjaxsim as qj
    >>> a, p = qj.Parameter("a"), qj.Parameter("p")
    >>> fisher = quantum_fisher(qj.Circuit(1).h(0).rz(a, 0).phase_flip(p, 0))
    >>> found = np.asarray(fisher({"a": 0.3, "p": 0.25}))  # (1 - 2 p)**2 and 1 / (p (1 - p))
    >>> print(found.diagonal().round(3), abs(found[0, 1]) < 1e-5)
    [0.25  5.333] True
    """
    wrt = _checked(circuit, wrt)
    if is_mixed(circuit):
        least = None if cutoff is None else not_negative("cutoff", cutoff, ", or None")
        return _metric(_mixed, circuit, wrt, options, blocks, least)
    return _metric(_pure, circuit, wrt, options, blocks, fisher_of)


def _checked(circuit: Any, wrt: Any) -> Wrt:
    require_circuit("circuit", circuit)
    return Wrt(wrt, circuit.parameters)


def _metric(
    build: Callable[..., Metric],
    circuit: Circuit,
    wrt: Wrt,
    options: PlanOptions | None,
    blocks: Groups,
    *more: Any,
) -> Metric:
    snapshot = circuit.copy()
    parts = snapshot, tuple(wrt.names), plan_options(options), _places(blocks, wrt), *more
    check = check_from_zero(check_call(snapshot), "the geometry of a circuit", "begin the circuit by `initialize`")
    return Compiled(build, *parts, check=check, before=check_strengths(snapshot))


def _places(blocks: Groups, wrt: Wrt) -> Places:
    if isinstance(blocks, str) and blocks == DIAGONAL:
        return [np.array([place]) for place in range(wrt.size)]
    if blocks is None:
        return None
    leaves = {name: np.zeros(shape) for name, shape in wrt.shapes.items()}
    return list(places_of(blocks, leaves, "blocks", (DIAGONAL, *KINDS)).values())


def _pure(
    circuit: Circuit, names: tuple[str, ...], options: PlanOptions, places: Places, metric: Callable[..., jax.Array]
) -> Metric:
    wrt = Wrt(names, circuit.parameters)
    tangents = tangents_of(circuit, wrt, options)

    def run(params: Params | None = None) -> jax.Array:
        def single(env: Mapping[str, jax.Array], dtype: Any) -> jax.Array:
            return _by_blocks(metric, tangents(env, dtype), places)

        return _over_batch(circuit, wrt, params, 2**circuit.n_qubits, single)

    run.__name__ = metric.__name__
    return run


def _mixed(
    circuit: Circuit, names: tuple[str, ...], options: PlanOptions, places: Places, cutoff: float | None
) -> Metric:
    wrt = Wrt(names, circuit.parameters)
    shapes = circuit.parameters
    rho = density_matrix(circuit, options=for_derivatives(options))
    metric = functools.partial(mixed_fisher_of, cutoff=cutoff)

    def run(env: Mapping[str, jax.Array], dtype: Any) -> jax.Array:
        value = rho({name: env[name].reshape(shape) for name, shape in shapes.items()})
        return jnp.stack([value.real, value.imag])

    def quantum_fisher(params: Params | None = None) -> jax.Array:
        def single(env: Mapping[str, jax.Array], dtype: Any) -> jax.Array:
            return _by_blocks(metric, differentiated(run, wrt, env, dtype), places)

        return _over_batch(circuit, wrt, params, 4**circuit.n_qubits, single)

    return quantum_fisher


def _over_batch(
    circuit: Circuit,
    wrt: Wrt,
    params: Params | None,
    entries: int,
    single: Callable[[Mapping[str, jax.Array], Any], jax.Array],
) -> jax.Array:
    """The matrices of all samples, (..., V, V), as many at once as make good use of memory."""
    batch = parse_params(params, circuit.parameters, native=False)
    numbers = 2 * entries * wrt.size
    require_memory(
        (COPIES * numbers + 3 * wrt.size**2) * np.dtype(batch.dtype).itemsize,
        f"Differentiating a state of {circuit.n_qubits} qubits in {wrt.size} parameters",
        "use `quantum_fisher_operator`, fewer parameters in `wrt`, or single precision",
    )
    return each_sample(batch, lambda env: single(env, batch.dtype), max(at_once().numbers // numbers, 1))


def each_sample(batch: Batch, single: Callable[[Mapping[str, jax.Array]], Any], most: int) -> Any:
    """What a function of flat parameters gives for every sample, (*batch axes, ...), at most `most` at once."""
    rank = len(batch.shape)
    flat = {name: value.reshape(*value.shape[:rank], batch.core[name]) for name, value in batch.values.items()}
    moving = {
        name: jnp.broadcast_to(value, (*batch.shape, value.shape[-1])).reshape(batch.total, value.shape[-1])
        for name, value in flat.items()
        if max(value.shape[:rank], default=1) > 1
    }
    fixed = {name: value.reshape(value.shape[-1]) for name, value in flat.items() if name not in moving}
    if not moving:
        out = jax.tree.map(lambda leaf: leaf[None], single(fixed))
    else:
        out = jax.lax.map(lambda own: single({**fixed, **own}), moving, batch_size=min(most, batch.total))
    return jax.tree.map(lambda leaf: leaf.reshape(*batch.shape, *leaf.shape[1:]), out)


def _by_blocks(metric: Callable[[jax.Array, jax.Array], jax.Array], found: Derivatives, places: Places) -> jax.Array:
    """The matrix, or its blocks alone."""
    if places is None:
        return found.matrix(metric(found.value, found.slopes))
    slopes = found.in_parameters()
    if all(len(own) == 1 for own in places):
        spots = np.concatenate(places)
        each = jax.vmap(lambda one: metric(found.value, one[..., None])[0, 0], in_axes=-1)(slopes[..., spots])
        return jnp.zeros((slopes.shape[-1],) * 2, each.dtype).at[spots, spots].set(each)
    blocks = [metric(found.value, slopes[..., own]) for own in places]
    total = jnp.zeros((slopes.shape[-1],) * 2, blocks[0].dtype)
    for own, block in zip(places, blocks, strict=True):
        total = total.at[np.ix_(own, own)].set(block)  # once where groups overlap
    return total


def tensor_of(state: jax.Array, tangents: jax.Array) -> jax.Array:
    """The tensor (V, V) of a state (2, d) with its derivatives (2, d, V), divided by the state's norm."""
    across = _across(state, tangents)
    real, imaginary = across
    cross = jnp.matmul(real.T, imaginary, precision=HIGHEST)
    return jax.lax.complex(_products(across), cross - cross.T)


def fisher_of(state: jax.Array, tangents: jax.Array) -> jax.Array:
    """Four times the real part of `tensor_of`."""
    return 4 * _products(_across(state, tangents))


def _products(across: jax.Array) -> jax.Array:
    """The real parts of inner products (V, V) of columns (2, d, V)."""
    flat = across.reshape(-1, across.shape[-1])
    return jnp.matmul(flat.T, flat, precision=HIGHEST)


def _across(state: jax.Array, tangents: jax.Array) -> jax.Array:
    """What derivatives (2, d, V) have across the state, in units of its norm.

    Taken before squares, so that nothing large cancels: what only turns the phase has the metric zero, to rounding
    squared, and no diagonal element is negative.
    """
    (re, im), (real, imaginary) = state, tangents
    norm = (state * state).sum()
    rows = jnp.stack([jnp.concatenate([re, im]), jnp.concatenate([-im, re])])
    # <psi|d_i psi>, real and imaginary parts (2, V).
    along = jnp.matmul(rows, jnp.concatenate([real, imaginary]), precision=HIGHEST) / norm
    projected = jnp.matmul(rows.T, along, precision=HIGHEST).reshape(tangents.shape)
    return (tangents - projected) / jnp.sqrt(norm)


def mixed_fisher_of(state: jax.Array, tangents: jax.Array, cutoff: float | None) -> jax.Array:
    """The matrix (V, V) of a density matrix (2, d, d) with its derivatives (2, d, d, V)."""
    state = (state + jnp.stack([state[0].T, -state[1].T])) / 2
    found = _logarithmic(state, tangents, cutoff)
    matrix = jnp.einsum("rklv,rklw->vw", tangents, found, precision=HIGHEST)
    return (matrix + matrix.T) / 2


def _logarithmic(state: jax.Array, slopes: jax.Array, cutoff: float | None) -> jax.Array:
    """Symmetric logarithmic derivatives L (2, d, d, V): (rho L + L rho) / 2 are the slopes.

    Their own derivatives are those of that equation: the ones of eigenvectors are not defined where eigenvalues meet.
    """

    def mean(found: jax.Array) -> jax.Array:
        rho, each = jax.lax.complex(*state), jax.lax.complex(*found)
        left = jnp.einsum("kl,lmv->kmv", rho, each, precision=HIGHEST)
        both = left + jnp.einsum("klv,lm->kmv", each, rho, precision=HIGHEST)
        return jnp.stack([both.real, both.imag]) / 2

    def solve(_: Callable[[jax.Array], jax.Array], slopes: jax.Array) -> jax.Array:
        values, vectors = jnp.linalg.eigh(jax.lax.complex(*state))
        least = 4 * len(values) * np.finfo(values.dtype).eps if cutoff is None else cutoff
        sums = values[:, None] + values[None, :]
        weights = jnp.where(sums > least, 2 / jnp.where(sums > least, sums, 1), 0)
        turned = _turned(vectors, jax.lax.complex(*slopes))
        found = _turned(vectors.conj().T, turned * weights[..., None].astype(turned.dtype))
        return jnp.stack([found.real, found.imag])

    return jax.lax.custom_linear_solve(mean, slopes, solve, symmetric=True)


def _turned(vectors: jax.Array, matrices: jax.Array) -> jax.Array:
    """Matrices (d, d, V) in the basis of a matrix's columns."""
    half = jnp.einsum("ka,klv->alv", vectors.conj(), matrices, precision=HIGHEST)
    return jnp.einsum("alv,lb->abv", half, vectors, precision=HIGHEST)
