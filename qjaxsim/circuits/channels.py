"""The one table of noise channels: name, arity, strengths, superoperator, weighted matrices.

A channel is written twice: as a superoperator, polynomial in its strengths wherever that is possible, so that
derivatives are finite where a strength is zero, and as weighted matrices for trajectories. A superoperator acts on the
bits (row, column) of a density matrix, rows of all its qubits first: the sum over K of K (x) conj(K).

Conventions are Qiskit Aer's, and a test compares every channel with it.
"""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np

from qjaxsim.circuits.dense import pauli_matrix
from qjaxsim.circuits.gates import GateSpec, complex_dtype

Rates = Callable[..., tuple[Any, Any, Any]]
Probabilities = Callable[..., Sequence[Any]]

# Completeness of given Kraus matrices, and positivity of probabilities, to this rounding.
ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class ChannelSpec:
    """What the engine knows of one channel.

    Attributes:
        name: the method of `Circuit` that adds it.
        n_qubits: number of qubits.
        strengths: what its numbers are called, in their order.
        superoperator: the table's entry of its matrix on rows and columns.
        branches: `(xp, *strengths)` to weights (m, *shape), polynomial in the strengths wherever that is possible, and
            matrices (m, d, d, *shape): the channel is the sum of weight times M rho M+.
        problem: says what is wrong with given strengths, numbers or arrays, or None.
    """

    name: str
    n_qubits: int
    strengths: tuple[str, ...]
    superoperator: GateSpec
    branches: Callable[..., tuple[Any, Any]]
    problem: Callable[..., str | None]

    def kraus(self, xp: ModuleType, *strengths: Any) -> Any:
        """Matrices (m, d, d, *shape) whose squares sum to the identity."""
        weights, matrices = self.branches(xp, *strengths)
        return matrices * _root(xp, weights)[:, None, None]


def superoperator(kraus: np.ndarray) -> np.ndarray:
    """The sum of K (x) conj(K), (4**k, 4**k), of (m, 2**k, 2**k) Kraus matrices.

    >>> dephasing = np.sqrt(0.5) * np.array([np.eye(2), np.diag([1, -1])])
    >>> print(superoperator(dephasing).real.diagonal().round(12))
    [1. 0. 0. 1.]
    """
    size = kraus.shape[-1] ** 2
    return np.einsum("mab,mcd->acbd", kraus, kraus.conj()).reshape(size, size)


def kraus_matrices(superoperator: np.ndarray, least: float = 1e-14) -> np.ndarray:
    """Kraus matrices, (m, d, d), of a completely positive superoperator (d*d, d*d), by its Choi matrix.

    Args:
        superoperator: on rows and columns.
        least: eigenvalues of the Choi matrix up to this are left out.
    """
    d = round(len(superoperator) ** 0.5)
    choi = superoperator.reshape(d, d, d, d).transpose(0, 2, 1, 3).reshape(d * d, d * d)
    values, vectors = np.linalg.eigh((choi + choi.conj().T) / 2)
    kept = values > least
    return np.asarray((np.sqrt(values[kept]) * vectors[:, kept]).T.reshape(-1, d, d))


# --- mixtures of Pauli strings ---------------------------------------------------------------------------------------


def _mixture(name: str, strengths: tuple[str, ...], labels: Sequence[str], probabilities: Probabilities) -> ChannelSpec:
    """With given probabilities one of the Pauli strings, else nothing."""
    n_qubits = len(labels[0])
    paulis = np.stack([pauli_matrix(label) for label in ("I" * n_qubits, *labels)])
    pairs = np.stack([superoperator(pauli[None]) for pauli in paulis])

    def weights(xp: ModuleType, *values: Any) -> list[Any]:
        chosen = list(probabilities(*values))
        return [1 - sum(chosen[1:], chosen[0]), *chosen]

    def matrix(xp: ModuleType, *values: Any) -> Any:
        return sum(_times(pair, weight) for pair, weight in zip(pairs, weights(xp, *values), strict=True))

    def branches(xp: ModuleType, *values: Any) -> tuple[Any, Any]:
        chosen = xp.stack(weights(xp, *values))
        return chosen, xp.stack([_times(pauli, xp.ones_like(chosen[0])) for pauli in paulis])

    def problem(*values: Any) -> str | None:
        chosen = weights(np, *values)
        wrong = _first(~(np.min(chosen, axis=0) >= -ROUNDING), *chosen)
        if wrong is None:
            return None
        return f"the probabilities of its Pauli strings would be {', '.join(f'{p:.4g}' for p in wrong)}"

    return _spec(name, n_qubits, strengths, matrix, branches, problem)


def _times(matrix: np.ndarray, number: Any) -> Any:
    """A constant matrix times an array of numbers, (d, d, *shape)."""
    dtype = complex_dtype(number.dtype)
    return matrix.astype(dtype).reshape(matrix.shape + (1,) * number.ndim) * number.astype(dtype)[None, None]


def _depolarizing(n_qubits: int) -> ChannelSpec:
    labels = ["".join(letters) for letters in itertools.product("IXYZ", repeat=n_qubits)][1:]
    name = "depolarizing" if n_qubits == 1 else f"depolarizing{n_qubits}"
    return _mixture(name, ("probability",), labels, lambda p: [p / 4**n_qubits] * len(labels))


# --- one qubit's populations and coherence ---------------------------------------------------------------------------


def _relaxing(name: str, strengths: tuple[str, ...], rates: Rates, problem: Callable[..., str | None]) -> ChannelSpec:
    """|0> goes up with one probability, |1> down with another, and the coherence is multiplied by a number.

    Args:
        name: of the channel.
        strengths: their names.
        rates: `(xp, *strengths) -> (up, down, coherence)`.
        problem: what is wrong with strengths.
    """
    # Entries (row bit, column bit) of a density matrix in the order 00, 01, 10, 11.
    stay_0, stay_1, raised, lowered = (np.zeros((4, 4)) for _ in range(4))
    stay_0[0, 0], stay_1[3, 3], raised[3, 0], lowered[0, 3] = 1, 1, 1, 1
    off = np.diag([0.0, 1, 1, 0])

    def matrix(xp: ModuleType, *values: Any) -> Any:
        up, down, coherence = rates(xp, *values)
        parts = (stay_0, 1 - up), (stay_1, 1 - down), (raised, up), (lowered, down), (off, coherence)
        return sum(_times(constant, number) for constant, number in parts)

    def branches(xp: ModuleType, *values: Any) -> tuple[Any, Any]:
        up, down, coherence = rates(xp, *values)
        zero, one = np.diag([1.0, 0]), np.diag([0, 1.0])
        up_matrix, down_matrix = np.array([[0.0, 0], [1, 0]]), np.array([[0.0, 1], [0, 0]])
        kept_0 = _root(xp, 1 - up)
        # Where |0> is never kept there is no coherence left either.
        kept_1 = coherence / xp.where(kept_0 > 0, kept_0, 1)
        always = xp.ones_like(up)
        # What the first leaves of |0> is zero, but its derivative is not where |0> is never kept.
        weights = always, 1 - up - kept_0**2, 1 - down - kept_1**2, up, down
        matrices = (_times(each, always) for each in (zero, one, up_matrix, down_matrix))
        return xp.stack(weights), xp.stack([_times(zero, kept_0) + _times(one, kept_1), *matrices])

    return _spec(name, 1, strengths, matrix, branches, problem)


def _root(xp: ModuleType, number: Any) -> Any:
    """The square root, and zero with derivative zero where the number is rounding about zero."""
    usable = number > 1e-15
    return xp.where(usable, xp.sqrt(xp.where(usable, number, 1 + 0 * number)), 0 * number)


def _first(wrong: Any, *values: Any) -> list[float] | None:
    """The values at the first place where something is wrong; None where nothing is."""
    places = np.flatnonzero(wrong)
    return [float(np.ravel(value)[places[0]]) for value in np.broadcast_arrays(*values)] if len(places) else None


def _fractions(*names: str) -> Callable[..., str | None]:
    """All strengths lie between 0 and 1."""

    def problem(*values: Any) -> str | None:
        for name, value in zip(names, map(np.asarray, values), strict=True):
            if wrong := _first(~((value >= -ROUNDING) & (value <= 1 + ROUNDING)), value):
                return f"{name} is {wrong[0]:.6g}, but must lie between 0 and 1"
        return None

    return problem


def _thermal(xp: ModuleType, t1: Any, t2: Any, time: Any, excited: Any) -> tuple[Any, Any, Any]:
    decayed = 1 - xp.exp(-time / t1)
    return decayed * excited, decayed * (1 - excited), xp.exp(-time / t2)


def _thermal_problem(t1: Any, t2: Any, time: Any, excited: Any) -> str | None:
    t1, t2, time = np.broadcast_arrays(t1, t2, time)
    if wrong := _first(~((t1 > 0) & (t2 > 0) & (time >= 0)), t1, t2, time):
        given = ", ".join(f"{x:.6g}" for x in wrong)
        return f"t1, t2, time are {given}, but must be positive, positive and not negative"
    if wrong := _first(t2 > 2 * t1 * (1 + ROUNDING), t2, 2 * t1):
        return f"t2 is {wrong[0]:.6g}, but at most twice t1, {wrong[1]:.6g}, is possible"
    return _fractions("excited")(excited)


def _sum_problem(*names: str) -> Callable[..., str | None]:
    """All strengths lie between 0 and 1, and so does the sum of the first two."""

    def problem(*values: Any) -> str | None:
        if (text := _fractions(*names)(*values)) is not None:
            return text
        wrong = _first(values[0] + values[1] > 1 + ROUNDING, values[0] + values[1])
        return f"{names[0]} and {names[1]} sum to {wrong[0]:.6g}, but must not exceed 1" if wrong else None

    return problem


def _spec(
    name: str, n_qubits: int, strengths: tuple[str, ...], matrix: Any, branches: Any, problem: Callable[..., str | None]
) -> ChannelSpec:
    entry = GateSpec(f"superoperator:{name}", 2 * n_qubits, len(strengths), function=matrix, is_unitary=False)
    return ChannelSpec(name, n_qubits, strengths, entry, branches, problem)


def _build() -> dict[str, ChannelSpec]:
    zero = lambda x: 0 * x  # noqa: E731
    one = ("probability",)
    table = [
        _mixture("bit_flip", one, ["X"], lambda p: [p]),
        _mixture("phase_flip", one, ["Z"], lambda p: [p]),
        _mixture("bit_phase_flip", one, ["Y"], lambda p: [p]),
        _mixture("pauli_error", ("x", "y", "z"), ["X", "Y", "Z"], lambda x, y, z: [x, y, z]),
        _depolarizing(1),
        _depolarizing(2),
        _relaxing("amplitude_damping", ("gamma",), lambda xp, g: (zero(g), g, _root(xp, 1 - g)), _fractions("gamma")),
        _relaxing(
            "generalized_amplitude_damping",
            ("gamma", "excited"),
            lambda xp, g, e: (g * e, g * (1 - e), _root(xp, 1 - g)),
            _fractions("gamma", "excited"),
        ),
        _relaxing("phase_damping", ("lam",), lambda xp, x: (zero(x), zero(x), _root(xp, 1 - x)), _fractions("lam")),
        _relaxing(
            "phase_amplitude_damping",
            ("gamma", "lam", "excited"),
            lambda xp, g, x, e: (g * e, g * (1 - e), _root(xp, 1 - g - x)),
            _sum_problem("gamma", "lam", "excited"),
        ),
        _relaxing("thermal_relaxation", ("t1", "t2", "time", "excited"), _thermal, _thermal_problem),
        _relaxing(
            "reset_error",
            ("to_zero", "to_one"),
            lambda xp, down, up: (up, down, 1 - up - down),
            _sum_problem("to_zero", "to_one"),
        ),
    ]
    return {spec.name: spec for spec in table}


CHANNELS: Mapping[str, ChannelSpec] = MappingProxyType(_build())
"""Every named channel."""


@functools.lru_cache(maxsize=256)
def pauli_channel(labels: tuple[str, ...]) -> ChannelSpec:
    """The mixture of some Pauli strings, a probability for each."""
    return _mixture(f"pauli[{','.join(labels)}]", labels, labels, lambda *p: list(p))


def channel_spec(name: str) -> ChannelSpec:
    """The channel of a name: one of `CHANNELS`, or "pauli[XX,ZI]" for a mixture of Pauli strings."""
    if name.startswith("pauli["):
        return pauli_channel(tuple(name[6:-1].split(",")))
    return CHANNELS[name]
