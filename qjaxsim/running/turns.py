"""What the angles of one step do to a state: the derivatives of a step of a layered plan, to second order.

Behind a step U(a) of gates on different qubits, d_i U = H_i U with an anti-Hermitian operator H_i for each angle, small
and known: a gate's generator seen from behind the step. Both derivatives that a Hessian needs follow,
d_i psi = H_i psi, and d_i d_j psi = H_i d_j psi for all angles j of earlier steps.
"""

import functools
import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.circuits.dense import index_of_bits
from qjaxsim.circuits.expressions import Expression
from qjaxsim.circuits.gates import GATES, complex_dtype
from qjaxsim.circuits.operations import Gate
from qjaxsim.common.precision import HIGHEST
from qjaxsim.planning.leaves import Leaf
from qjaxsim.planning.steps import Dense, Diagonal, Plan, Rotations, Step, leaves_of
from qjaxsim.running import kernels
from qjaxsim.running.matrices import Environment, angle_stack, multiply_stacks
from qjaxsim.running.rotations import turned_by

Variable = Expression
"""What tangents belong to: an element of a parameter, or the value of an expression that is not affine."""


def variables_of(plan: Plan, held: Collection[str] = ()) -> dict[Variable, int]:
    """The variables of a plan in the order in which its steps use them first, each with its place.

    Args:
        plan: a layered plan.
        held: names of the parameters that stay fixed.
    """
    found: dict[Variable, int] = {}
    for step in plan.steps:
        for angle in _angles(step):
            for variable in _terms(angle, held):
                found.setdefault(variable, len(found))
    return found


def _terms(angle: Any, held: Collection[str]) -> dict[Variable, float]:
    """An angle's derivative in each variable."""
    if not isinstance(angle, Expression):
        return {}
    moving = {(each.name, each.flat_index): each for each in angle.elements() if each.name not in held}
    affine = angle.affine()
    if affine is None:
        return {angle: 1.0} if moving else {}
    return {moving[key]: factor for key, factor in affine[0].items() if key in moving}


def _angles(step: Step) -> list[Any]:
    """The angles in a step, in the order in which its turn gives their derivatives."""
    if isinstance(step, Diagonal):
        return [angle for table in step.tables for angle in table.angles]
    if isinstance(step, Rotations):
        return list(step.angles)
    return [gate.angles[0] for leaf in leaves_of(step) for gate in _gates(leaf)]


def _gates(leaf: Leaf) -> list[Gate]:
    return [factor for factor in leaf.factors if isinstance(factor, Gate)]


def turns_of(plan: Plan, env: Environment, dtype: Any, held: Collection[str] = ()) -> list["Turn | None"]:
    """By step: what gives its derivatives in the variables of the plan; None for a step without any."""
    variables, operators = variables_of(plan, held), _Operators(plan, env, dtype)

    def turn(step: Step) -> Turn | None:
        terms = [{variables[key]: factor for key, factor in _terms(a, held).items()} for a in _angles(step)]
        if not any(terms):
            return None
        if isinstance(step, Rotations):
            return _RotationTurn(step, terms)
        return _DenseTurn(step, terms, operators) if isinstance(step, Dense) else _DiagonalTurn(step, terms)

    return [turn(step) for step in plan.steps]


class Turn:
    """What derivatives in a step's variables make of a state behind the step.

    Attributes:
        places: of the step's variables, ascending.
        matrix: derivative of the step's angles in them, (angles, variables).
    """

    def __init__(self, step: Step, terms: Sequence[Mapping[int, float]]):
        self.step = step
        self.places = sorted({place for row in terms for place in row})
        self.matrix = np.array([[row.get(place, 0.0) for place in self.places] for row in terms])

    def __call__(self, state: jax.Array) -> jax.Array:
        """The anti-Hermitian operator H of every variable on states (2, d, columns): (2, d, columns, variables)."""
        raise NotImplementedError

    def within(self, state: jax.Array, costate: jax.Array) -> jax.Array:
        """What is missing where the operators do not commute, (variables, variables), without its transpose.

        With g before h, d_g d_h psi = H_h H_g psi, which is half the anticommutator and half [H_h, H_g].
        """
        size = len(self.places)
        return jnp.zeros((size, size), state.dtype)


class _DiagonalTurn(Turn):
    """Phases exp(i (offset + table @ angles))."""

    def __call__(self, state: jax.Array) -> jax.Array:
        assert isinstance(self.step, Diagonal)
        n_bits = state.shape[1].bit_length() - 1
        total, start = jnp.zeros((1, 1), state.dtype), 0
        for table in self.step.tables:
            own = table.table @ self.matrix[start : start + len(table.angles)]
            start += len(table.angles)
            shape = [2 if bit in table.positions else 1 for bit in range(n_bits)]
            full = jnp.broadcast_to(jnp.asarray(own, state.dtype).reshape(*shape, -1), ((2,) * n_bits + own.shape[1:]))
            total = total + full.reshape(state.shape[1], -1)
        re, im = jnp.unstack(state[..., None])
        return jnp.stack([-total[:, None] * im, total[:, None] * re])


class _RotationTurn(Turn):
    """One rotation exp(-i angle P / 2) about a Pauli string."""

    def __call__(self, state: jax.Array) -> jax.Array:
        assert isinstance(self.step, Rotations) and len(self.step.angles) == 1
        (slopes,) = self.matrix / 2
        return turned_by(self.step, 0, state)[..., None] * jnp.asarray(slopes, state.dtype)[None, None, None]


class _DenseTurn(Turn):
    """Gates on different qubits: H acts on the qubits of its gate alone."""

    def __init__(self, step: Dense, terms: Sequence[Mapping[int, float]], operators: "_Operators"):
        super().__init__(step, terms)
        self.operators = operators

    def __call__(self, state: jax.Array) -> jax.Array:
        assert isinstance(self.step, Dense)
        parts = self.operators.first(self.step)
        if not _is_identity(self.matrix):
            parts = jnp.einsum("xaij,av->xvij", parts, jnp.asarray(self.matrix, state.dtype), precision=HIGHEST)
        return _applied_to(parts, state)

    def within(self, state: jax.Array, costate: jax.Array) -> jax.Array:
        assert isinstance(self.step, Dense)
        pairs = _pairs(self.step)
        if not pairs:
            return super().within(state, costate)
        found = inner(costate, _applied_to(self.operators.commutators(self.step), state)[:, :, 0])
        first, second = (self.matrix[[pair[side] for pair in pairs]] for side in (0, 1))
        spread = (first[:, :, None] * second[:, None]).reshape(len(pairs), -1)
        size = len(self.places)
        return jnp.matmul(found, jnp.asarray(spread, state.dtype), precision=HIGHEST).reshape(size, size)


def _applied_to(parts: jax.Array, state: jax.Array) -> jax.Array:
    """Several matrices (2, m, s, s) on the leading index bits of states (2, d, columns): (2, d, columns, m)."""
    count, size = parts.shape[1:3]
    out = kernels.apply_dense(parts.reshape(2, count * size, size), state)
    return jnp.moveaxis(out.reshape(2, count, state.shape[1], state.shape[2]), 1, 3)


def inner(a: jax.Array, b: jax.Array) -> jax.Array:
    """Real inner products of two rows of states, (2, d, A) and (2, d, B): (A, B)."""
    a, b = a.reshape(-1, a.shape[2]), b.reshape(-1, b.shape[2])
    return jnp.matmul(a.T, b, precision=HIGHEST)


def _is_identity(matrix: np.ndarray) -> bool:
    return matrix.shape[0] == matrix.shape[1] and bool((matrix == np.eye(len(matrix))).all())


def _pairs(step: Dense) -> list[tuple[int, int]]:
    """Numbers of the step's angles that belong to the same leaf, earlier and later."""
    out, start = [], 0
    for leaf in leaves_of(step):
        count = len(_gates(leaf))
        out += [(start + g, start + h) for g, h in itertools.combinations(range(count), 2)]
        start += count
    return out


class _Operators:
    """The operators H of all gates with angles in dense steps, and half the commutators of those in one leaf.

    Gates m_1 ... m_G in time order have d_g (m_G ... m_1) = H_g m_G ... m_1 for H_g = B A_g B^dagger with the gate's
    generator A_g and B = m_G ... m_(g+1). Small matrices, all leaves of one kind at once; they lie in one array each,
    from which a gather makes matrices on the qubits of a step.
    """

    def __init__(self, plan: Plan, env: Environment, dtype: Any):
        self.start: dict[Leaf, tuple[int, int, int]] = {}  # in both arrays, and the distance between entries
        firsts, seconds, ends = [], [], [0, 0]
        for members in plan.stacks.values():
            if not _gates(members[0]):
                continue
            found = _generators(members, env, dtype)
            pairs = [_commutator(h, g) for g, h in itertools.combinations(found, 2)]
            for place, leaf in enumerate(members):
                self.start[leaf] = (ends[0] + place, ends[1] + place, len(members))
            firsts += found
            seconds += pairs
            ends = [end + sum(one.size for one in new) for end, new in zip(ends, (found, pairs), strict=True)]
        self.arrays = [_flat(new, dtype) for new in (firsts, seconds)]

    def first(self, step: Dense) -> jax.Array:
        """The operators of a step's angles on all its qubits, (2, angles, 2**k, 2**k)."""
        return self.arrays[0][:, self._index(step, 0, lambda leaf: len(_gates(leaf)))]

    def commutators(self, step: Dense) -> jax.Array:
        """Half the commutators [H_h, H_g] of its pairs, (2, pairs, 2**k, 2**k)."""
        return self.arrays[1][:, self._index(step, 1, lambda leaf: math.comb(len(_gates(leaf)), 2))]

    def _index(self, step: Dense, which: int, count: Callable[[Leaf], int]) -> np.ndarray:
        """Where the entries of the large matrices lie; those that are 0 at the end."""
        k = len(step.qubits)
        rows = np.arange(2**k)
        out = []
        for leaf in leaves_of(step):
            inside, size = index_of_bits(leaf.qubits, k), 2 ** len(leaf.qubits)
            mask = sum(1 << (k - 1 - q) for q in leaf.qubits)
            same = (rows[:, None] & ~mask) == (rows & ~mask)
            for number in range(count(leaf)):
                start, distance = self.start[leaf][which], self.start[leaf][2]
                entry = (number * size + inside[:, None]) * size + inside
                out.append(np.where(same, start + distance * entry, self.arrays[which].shape[1] - 1))
        return np.stack(out)


def _flat(matrices: Sequence[jax.Array], dtype: Any) -> jax.Array:
    """All entries and a 0, real and imaginary parts, (2, entries + 1)."""
    zero = jnp.zeros(1, complex_dtype(dtype))
    row = jnp.concatenate([*(matrix.reshape(-1) for matrix in matrices), zero])
    return jnp.stack([row.real, row.imag])


def _generators(leaves: Sequence[Leaf], env: Environment, dtype: Any) -> list[jax.Array]:
    """H of each gate with an angle, in time order, for leaves of one signature: (d, d, leaves) complex."""
    kind = complex_dtype(dtype)
    found: list[jax.Array] = []
    after: jax.Array | None = None
    for factors in reversed(list(zip(*(leaf.factors for leaf in leaves), strict=True))):
        if isinstance(factors[0], np.ndarray):
            matrix = jnp.asarray(np.stack(factors, axis=-1), kind)
        else:
            spec = factors[0].name
            own = jnp.asarray(generator(spec), kind)[:, :, None]
            if after is None:
                own = jnp.broadcast_to(own, (*own.shape[:2], len(leaves)))
            else:
                own = multiply_stacks(multiply_stacks(after, own), jnp.swapaxes(after.conj(), 0, 1))
            found.insert(0, own)
            matrix = GATES[spec].matrix(jnp, angle_stack([gate.angles[0] for gate in factors], env, dtype))
        after = matrix if after is None else multiply_stacks(after, matrix)
    return found


@functools.cache
def generator(name: str) -> np.ndarray:
    """The matrix A of a gate exp(angle * A) of one angle, whose eigenvalues are 0, +-i/2 and +-i.

    The two differences that part the frequencies 1/2 and 1 from each other are exact, unlike small ones.
    """
    matrix = lambda angle: GATES[name].matrix(np, np.float64(angle))  # noqa: E731
    half, quarter = ((matrix(angle) - matrix(-angle)) / 2 for angle in (np.pi, np.pi / 2))
    return quarter + (0.5 - math.sqrt(0.5)) * half


def _commutator(a: jax.Array, b: jax.Array) -> jax.Array:
    """Half of a b - b a, stacks of matrices."""
    return (multiply_stacks(a, b) - multiply_stacks(b, a)) / 2
