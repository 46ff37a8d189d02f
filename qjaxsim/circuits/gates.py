"""The one table of gates: name, arity, angles, matrix and structure.

Every unitary name of Qiskit's standard gate mapping is here with Qiskit's conventions, except for the order of the
qubits: the first listed qubit of a gate is the most significant bit of its matrix, as qubit 0 is of a state. Angles
are in radians and rotations are exp(-i theta P / 2).

Matrices are written once for NumPy and JAX: functions take the array module `xp` and the angles (any common shape)
and return an array of shape (d, d, *angle shape), so that a stack of gates of one kind costs one call.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from qjaxsim.circuits.dense import PAULI, controlled, kron, pauli_matrix

MatrixFunction = Callable[..., Any]
Inverse = Callable[[tuple], tuple[str, tuple]]


@dataclass(frozen=True, eq=False)
class GateSpec:
    """What the engine knows of one gate.

    Attributes:
        name: Qiskit's standard name.
        n_qubits: number of qubits.
        n_angles: number of angles.
        constant: the (2**n_qubits, 2**n_qubits) complex128 matrix of a gate without angles, else None.
        function: `(xp, *angles) -> (d, d, *shape)` for a gate with angles, else None.
        phases: for a diagonal gate with angles, the (d, n_angles) real matrix C of diag = exp(i C @ angles), else None.
        pauli: for a rotation exp(-i theta P / 2), the label of P, else None.
        inverse: `(angles) -> (name, angles)` of the inverse where it has a standard name, else None.
        is_unitary: whether its matrix is; those of channels are not.
        is_free: whether the angles are the entries of the matrix, which is unitary as far as the caller sees to it.
    """

    name: str
    n_qubits: int
    n_angles: int
    constant: np.ndarray | None = None
    function: MatrixFunction | None = None
    phases: np.ndarray | None = None
    pauli: str | None = None
    inverse: Inverse | None = None
    is_unitary: bool = True
    is_free: bool = False

    def matrix(self, xp: ModuleType, *angles: Any) -> Any:
        """The gate's matrix, shape (d, d, *angle shape); a constant gate ignores `xp` and gives complex128."""
        if self.constant is not None:
            return self.constant
        assert self.function is not None
        return self.function(xp, *angles)


def complex_dtype(dtype: Any) -> np.dtype:
    """The complex dtype of the same precision: float32 -> complex64, float64 -> complex128."""
    return np.result_type(dtype, np.complex64)


def _complex(x: Any) -> Any:
    """A real array in the complex dtype of its precision; JAX's strict promotion does not mix the two."""
    return x.astype(complex_dtype(x.dtype))


def _cis(xp: ModuleType, x: Any) -> Any:
    """exp(i x) of a real array."""
    return _complex(xp.cos(x)) + 1j * _complex(xp.sin(x))


def _cos_sin(xp: ModuleType, theta: Any) -> tuple[Any, Any]:
    """Cosine and sine of half the angle, in the complex dtype."""
    half = theta / 2
    return _complex(xp.cos(half)), _complex(xp.sin(half))


def _like(matrix: np.ndarray, angle: Any) -> Any:
    """A constant matrix in the angle's precision, with axes added for the angle's shape."""
    return matrix.astype(complex_dtype(angle.dtype)).reshape(matrix.shape + (1,) * angle.ndim)


def _rotation(label: str) -> MatrixFunction:
    """exp(-i theta P / 2) for a Pauli string P."""
    generator = -1j * pauli_matrix(label)
    identity = np.eye(len(generator), dtype=complex)

    def matrix(xp: ModuleType, theta: Any) -> Any:
        c, s = _cos_sin(xp, theta)
        return _like(identity, theta) * c[None, None] + _like(generator, theta) * s[None, None]

    return matrix


def _diagonal(phases: np.ndarray) -> MatrixFunction:
    """The diagonal matrix exp(i phases @ angles)."""

    def matrix(xp: ModuleType, *angles: Any) -> Any:
        identity = np.eye(len(phases), dtype=complex)  # not before: phases of many qubits are used without a matrix
        rows = [
            sum((c * angle for c, angle in zip(row, angles, strict=True)), angles[0] * 0) for row in phases.tolist()
        ]
        diagonal = xp.stack([_cis(xp, row) for row in rows])
        return _like(identity, angles[0]) * diagonal[:, None]

    return matrix


def _from_rows(xp: ModuleType, rows: list[list[Any]], like: Any) -> Any:
    """Stack entries (arrays or Python numbers) into a (d, d, *shape) complex array."""
    zero = _complex(like * 0)
    return xp.stack([xp.stack([entry + zero for entry in row]) for row in rows])


def _u(xp: ModuleType, theta: Any, phi: Any, lam: Any) -> Any:
    c, s = _cos_sin(xp, theta)
    e_phi, e_lam = _cis(xp, phi), _cis(xp, lam)
    return _from_rows(xp, [[c, -e_lam * s], [e_phi * s, e_phi * e_lam * c]], theta)


def _u2(xp: ModuleType, phi: Any, lam: Any) -> Any:
    return _u(xp, phi * 0 + np.pi / 2, phi, lam)


def _r(xp: ModuleType, theta: Any, phi: Any) -> Any:
    c, s = _cos_sin(xp, theta)
    return _from_rows(xp, [[c, -1j * s * _cis(xp, -phi)], [-1j * s * _cis(xp, phi), c]], theta)


def _xx_plus_yy(xp: ModuleType, theta: Any, beta: Any) -> Any:
    c, s = _cos_sin(xp, theta)
    up, down = -1j * s * _cis(xp, beta), -1j * s * _cis(xp, -beta)
    return _from_rows(xp, [[1, 0, 0, 0], [0, c, up, 0], [0, down, c, 0], [0, 0, 0, 1]], theta)


def _xx_minus_yy(xp: ModuleType, theta: Any, beta: Any) -> Any:
    c, s = _cos_sin(xp, theta)
    up, down = -1j * s * _cis(xp, beta), -1j * s * _cis(xp, -beta)
    return _from_rows(xp, [[c, 0, 0, down], [0, 1, 0, 0], [0, 0, 1, 0], [up, 0, 0, c]], theta)


def _controlled(function: MatrixFunction) -> MatrixFunction:
    """One control in front: |0><0| (x) 1 + |1><1| (x) U."""

    def matrix(xp: ModuleType, *angles: Any) -> Any:
        target = function(xp, *angles)
        zero = target * 0
        identity = _like(np.eye(len(target), dtype=complex), angles[0]) + zero
        return xp.concatenate([xp.concatenate([identity, zero], 1), xp.concatenate([zero, target], 1)], 0)

    return matrix


def _cu(xp: ModuleType, theta: Any, phi: Any, lam: Any, gamma: Any) -> Any:
    return _controlled(lambda xp, t, p, la, g: _u(xp, t, p, la) * _cis(xp, g)[None, None])(xp, theta, phi, lam, gamma)


def controlled_spec(spec: GateSpec, n_controls: int, prefix: str) -> GateSpec:
    """A gate with controls in front, under its name with a prefix."""
    function = spec.function
    for _ in range(n_controls):
        function = None if function is None else _controlled(function)
    constant = None if spec.constant is None else controlled(spec.constant, n_controls)
    phases = spec.phases
    if phases is not None:
        idle = np.zeros((len(phases) * (2**n_controls - 1), phases.shape[1]))
        phases = np.concatenate([idle, phases])

    def inverse(angles: tuple) -> tuple[str, tuple]:
        assert spec.inverse is not None
        name, values = spec.inverse(angles)
        return prefix + name, values

    undo = None if spec.inverse is None else inverse
    name, width = prefix + spec.name, spec.n_qubits + n_controls
    return GateSpec(name, width, spec.n_angles, constant, function, phases, None, undo, spec.is_unitary)


_S2 = np.sqrt(0.5)
_H = np.array([[_S2, _S2], [_S2, -_S2]], dtype=complex)
_S, _T = np.diag([1, 1j]), np.diag([1, np.exp(0.25j * np.pi)])
_SX = np.array([[1 + 1j, 1 - 1j], [1 - 1j, 1 + 1j]]) / 2
_SWAP = np.eye(4, dtype=complex)[[0, 2, 1, 3]]
_CX = controlled(PAULI["X"])


_ChainStep = tuple[np.ndarray, int | tuple[int, int]]


def _chain(n_qubits: int, *steps: _ChainStep) -> np.ndarray:
    """The product of one-qubit gates and CX gates (control, target), in time order."""
    total = np.eye(2**n_qubits, dtype=complex)
    for matrix, where in steps:
        if isinstance(where, int):
            step = kron(*(matrix if q == where else PAULI["I"] for q in range(n_qubits)))
        else:
            zero, one = np.diag([1, 0]), np.diag([0, 1])
            off = kron(*(zero if q == where[0] else PAULI["I"] for q in range(n_qubits)))
            step = off + kron(
                *(one if q == where[0] else matrix if q == where[1] else PAULI["I"] for q in range(n_qubits))
            )
        total = step @ total
    return total


def _rccx() -> np.ndarray:
    """The Margolus gate, a Toffoli up to relative phases (Maslov 2016, doi:10.1103/PhysRevA.93.022311, figure 3)."""
    x, t, tdg = PAULI["X"], _T, _T.conj()
    return _chain(3, (_H, 2), (t, 2), (x, (1, 2)), (tdg, 2), (x, (0, 2)), (t, 2), (x, (1, 2)), (tdg, 2), (_H, 2))


def _rcccx() -> np.ndarray:
    """The three-control relative-phase Toffoli (Maslov 2016, doi:10.1103/PhysRevA.93.022311, figure 4)."""
    x, t, tdg = PAULI["X"], _T, _T.conj()
    ends: list[_ChainStep] = [(_H, 3), (t, 3), (x, (2, 3)), (tdg, 3), (_H, 3)]
    middle: list[_ChainStep] = [(x, (0, 3)), (t, 3), (x, (1, 3)), (tdg, 3)]
    return _chain(4, *ends, *middle, *middle, *ends)


def _negated(name: str, signs: tuple[int, ...]) -> Inverse:
    """The inverse by changing the sign of some angles."""
    return lambda angles: (name, tuple(a if s > 0 else -a for a, s in zip(angles, signs, strict=True)))


def _constants() -> dict[str, np.ndarray]:
    x, y, z = PAULI["X"], PAULI["Y"], PAULI["Z"]
    return {
        "id": PAULI["I"], "x": x, "y": y, "z": z, "h": _H,
        "s": _S, "sdg": _S.conj(), "t": _T, "tdg": _T.conj(), "sx": _SX, "sxdg": _SX.conj(),
        "cx": _CX, "cy": controlled(y), "cz": controlled(z), "ch": controlled(_H),
        "cs": controlled(_S), "csdg": controlled(_S.conj()), "csx": controlled(_SX),
        "swap": _SWAP, "iswap": _SWAP * np.array([1, 1j, 1j, 1]),
        "dcx": _chain(2, (x, (0, 1)), (x, (1, 0))),
        # 1/sqrt(2) (X (x) 1 - Y (x) X): the echoed cross resonance gate.
        "ecr": _S2 * (kron(x, PAULI["I"]) - kron(y, x)),
        "ccx": controlled(x, 2), "ccz": controlled(z, 2), "cswap": controlled(_SWAP), "c3sx": controlled(_SX, 3),
        "rccx": _rccx(), "rcccx": _rcccx(),
    }  # fmt: skip


_CONSTANT_INVERSES = {
    "s": "sdg",
    "sdg": "s",
    "t": "tdg",
    "tdg": "t",
    "sx": "sxdg",
    "sxdg": "sx",
    "cs": "csdg",
    "csdg": "cs",
}

# Rotations exp(-i theta P / 2): the Pauli string P.
_PAULI_ROTATIONS = {"rx": "X", "ry": "Y", "rz": "Z", "rxx": "XX", "ryy": "YY", "rzz": "ZZ", "rzx": "ZX"}

# Other diagonal gates with angles: rows of C in diag = exp(i C @ angles).
_PHASES: dict[str, list[float]] = {
    "p": [0, 1], "u1": [0, 1], "crz": [0, 0, -0.5, 0.5], "cp": [0, 0, 0, 1], "cu1": [0, 0, 0, 1], "global_phase": [1],
}  # fmt: skip

# Other gates with angles: qubits, function, and the signs of the inverse's angles.
_FUNCTIONS: dict[str, tuple[int, MatrixFunction, tuple[int, ...]]] = {
    "crx": (2, _controlled(_rotation("X")), (-1,)),
    "cry": (2, _controlled(_rotation("Y")), (-1,)),
    "r": (1, _r, (-1, 1)),
    "xx_plus_yy": (2, _xx_plus_yy, (-1, 1)),
    "xx_minus_yy": (2, _xx_minus_yy, (-1, 1)),
    # In seconds, and in units that only a device knows: identities that noise may follow.
    "delay": (1, _diagonal(np.zeros((2, 1))), (1,)),
    "delay_dt": (1, _diagonal(np.zeros((2, 1))), (1,)),
}


def _renamed(name: str) -> Inverse:
    return lambda angles: (name, ())


def _inverse_u(name: str) -> Inverse:
    return lambda a: (name, (-a[0], -a[2], -a[1], *(-g for g in a[3:])))


def _build() -> dict[str, GateSpec]:
    table = {}
    for name, matrix in _constants().items():
        own = np.allclose(matrix @ matrix, np.eye(len(matrix)))
        inverse = _CONSTANT_INVERSES.get(name, name if own else None)
        undo = None if inverse is None else _renamed(inverse)
        table[name] = GateSpec(name, len(matrix).bit_length() - 1, 0, constant=matrix, inverse=undo)
    for name, label in _PAULI_ROTATIONS.items():
        diagonal = np.diag(pauli_matrix(label)).real[:, None]
        phases = -diagonal / 2 if diagonal.any() else None
        undo = _negated(name, (-1,))
        table[name] = GateSpec(name, len(label), 1, None, _rotation(label), phases, label, undo)
    for name, column in _PHASES.items():
        phases = np.array(column, dtype=float)[:, None]
        n_qubits = len(column).bit_length() - 1
        table[name] = GateSpec(
            name, n_qubits, 1, function=_diagonal(phases), phases=phases, inverse=_negated(name, (-1,))
        )
    for name, (n_qubits, function, signs) in _FUNCTIONS.items():
        table[name] = GateSpec(name, n_qubits, len(signs), function=function, inverse=_negated(name, signs))
    table["u"] = GateSpec("u", 1, 3, function=_u, inverse=_inverse_u("u"))
    table["u3"] = GateSpec("u3", 1, 3, function=_u, inverse=_inverse_u("u3"))
    table["u2"] = GateSpec("u2", 1, 2, function=_u2, inverse=lambda a: ("u2", (-a[1] - np.pi, -a[0] + np.pi)))
    table["cu3"] = GateSpec("cu3", 2, 3, function=_controlled(_u), inverse=_inverse_u("cu3"))
    table["cu"] = GateSpec("cu", 2, 4, function=_cu, inverse=_inverse_u("cu"))
    return table


@functools.lru_cache(maxsize=64)
def _multi_controlled_phase(n_controls: int) -> GateSpec:
    """exp(i angle) on the basis state of ones. The phases are 2**(n_controls + 1) numbers, the matrix is for few."""
    phases = np.append(np.zeros((2 << n_controls) - 1), 1.0)[:, None]
    name = f"mcp{n_controls}"
    return GateSpec(name, n_controls + 1, 1, None, _diagonal(phases), phases, None, _negated(name, (-1,)))


@functools.cache
def _free_matrix(n_qubits: int) -> GateSpec:
    """The matrix with real parts and then imaginary parts of its entries, row by row, as angles."""
    size = 2**n_qubits
    transposed = np.arange(size**2).reshape(size, size).T.reshape(-1).tolist()

    def function(xp: ModuleType, *parts: Any) -> Any:
        stack = _complex(xp.stack([xp.asarray(part) for part in parts]))
        entries = stack[: size**2] + 1j * stack[size**2 :]
        return entries.reshape(size, size, *entries.shape[1:])

    def adjoint(parts: tuple) -> tuple[str, tuple]:
        re, im = parts[: size**2], parts[size**2 :]
        return name, (*(re[i] for i in transposed), *(-im[i] for i in transposed))

    name = f"matrix{n_qubits}"
    return GateSpec(name, n_qubits, 2 * size**2, None, function, inverse=adjoint, is_free=True)


# A free matrix has 2 * 4**k angles, each of which is a part of the program.
WIDEST_FREE = 3


class _Gates(Mapping[str, GateSpec]):
    """The table, and beside it gates on any number of qubits, which are made when they are asked for."""

    def __init__(self, table: Mapping[str, GateSpec]):
        self._table = table

    def __getitem__(self, name: str) -> GateSpec:
        if name in self._table:
            return self._table[name]
        if isinstance(name, str) and name.startswith("mcp") and name[3:].isdecimal() and name[3] != "0":
            return _multi_controlled_phase(int(name[3:]))
        if name in [f"matrix{k + 1}" for k in range(WIDEST_FREE)]:
            return _free_matrix(int(name[6:]))
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)


GATES: Mapping[str, GateSpec] = _Gates(_build())
"""Standard gates by name; beside them "mcp3", a phase with so many controls, and "matrix2", given by its entries."""
