"""What every simulator is given: circuits as plain lists of gates, and numbers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

Op = tuple[str, tuple[int, ...], float | int | np.ndarray | None]
"""Gate name, qubits, and its angle: a float, the place of a parameter (int), or None.

"unitary" has a matrix in its place and "prepare" a vector, first qubit most significant; "mcz" takes any qubits;
"depolarizing" has its strength there, as Qiskit means it.
"""

Term = tuple[str, tuple[int, ...], float]
"""Pauli letters, their qubits, coefficient."""


@dataclass(frozen=True)
class Angles:
    """Angles that are sums of parameters: angle `rows[i]` has `factors[i]` times parameter `columns[i]` as a summand.

    Attributes:
        rows: of every summand.
        columns: likewise.
        factors: likewise.
        offsets: (angles,) constants.
    """

    rows: np.ndarray
    columns: np.ndarray
    factors: np.ndarray
    offsets: np.ndarray

    def at(self, xp: Any, theta: Any) -> Any:
        """All angles, from an array module and the parameters."""
        out = xp.asarray(self.offsets, theta.dtype)
        summands = xp.asarray(self.factors, theta.dtype) * theta[self.columns]
        if xp is np:
            return out + np.bincount(self.rows, summands, len(out))
        return out.at[self.rows].add(summands)

    def slopes(self, by_angles: np.ndarray, n_parameters: int) -> np.ndarray:
        """A gradient in the parameters, from one in the angles."""
        return np.bincount(self.columns, self.factors * by_angles[self.rows], n_parameters)


@dataclass(frozen=True)
class Task:
    """One computation at one size.

    Attributes:
        kind: what is computed: "state", "gradient", "expectation", "energy-hessian" of `terms`, "metric" (the
            Fubini-Study metric in all angles, for several settings of them), "kernel" (the states
            of all `inputs`), "noisy" (<Z> of every qubit for all `inputs`, under channels), "hybrid", "hvp", "hessian",
            "qnn", "training", "patches", "qrnn", or, of ours alone, "pauli-sum", "eager-hessian", "parameters",
            "crosscheck", "remap", "allreduce".
        n_qubits: width; qubit 0 is the most significant bit of a state's index.
        ops: the circuit. Angles are places in `theta`; in a hybrid model the first `n_qubits` places are a sample's
            inputs, the others the weights; in a kernel they are places in `features(sample)`.
        theta: values of the parameters (of the weights alone in a hybrid model).
        terms: the observable of "gradient" and "expectation".
        inputs: (batch, n_qubits) of a hybrid model; (batch, pixels) of "training".
        labels: (batch,) classes.
        extra: other sizes, by name.
        features: of a kernel, from an array module and inputs (..., n_qubits) to all angles (..., places).
        imported: whether ours gets the circuit as Qiskit's, and imports it.
        angles: what the places of `ops` are where they are not the parameters themselves.
    """

    kind: str
    n_qubits: int
    ops: tuple[Op, ...]
    theta: np.ndarray
    terms: tuple[Term, ...] = ()
    inputs: np.ndarray | None = None
    labels: np.ndarray | None = None
    extra: dict[str, int] = field(default_factory=dict)
    features: Callable[[Any, Any], Any] | None = None
    imported: bool = False
    angles: Angles | None = None

    def angles_at(self, xp: Any, theta: Any) -> Any:
        """The angles by their places, from an array module and the parameters."""
        return theta if self.angles is None else self.angles.at(xp, theta)

    @property
    def angle_values(self) -> np.ndarray:
        """The angles by their places."""
        return np.asarray(self.angles_at(np, self.theta))


def pairs(n_qubits: int, layer: int) -> list[tuple[int, int]]:
    """CNOT pairs of a layer: even ones (0, 1), (2, 3), ...; odd ones (1, 2), ..., the last one closing the ring."""
    return [(q, (q + 1) % n_qubits) for q in range(layer % 2, n_qubits - (n_qubits % 2), 2)]


def layers(n_qubits: int, n_layers: int, start: int = 0) -> list[Op]:
    """Layers of RX RY RZ on every qubit and alternating CNOT pairs; parameters from place `start` on."""
    ops: list[Op] = []
    place = start
    for layer in range(n_layers):
        for q in range(n_qubits):
            for name in ("rx", "ry", "rz"):
                ops.append((name, (q,), place))
                place += 1
        ops.extend(("cx", pair, None) for pair in pairs(n_qubits, layer))
    return ops


def layered(n_qubits: int, n_layers: int = 4) -> Task:
    """The layered circuit; its gradient is that of the mean of Z over all qubits."""
    theta = np.random.default_rng(n_qubits).uniform(-np.pi, np.pi, 3 * n_qubits * n_layers)
    terms = tuple(("Z", (q,), 1.0 / n_qubits) for q in range(n_qubits))
    return Task("state", n_qubits, tuple(layers(n_qubits, n_layers)), theta, terms)


# All angles are parameters, values at run time: a circuit of numbers alone would be computed by the compiler.


def random(n_qubits: int, n_gates: int = 300) -> Task:
    """One-qubit gates and CNOTs on random pairs, half and half."""
    rng = np.random.default_rng(7)
    ops: list[Op] = []
    theta: list[float] = []
    for _ in range(n_gates):
        if rng.random() < 0.5:
            name = ("rx", "ry", "rz", "h", "t")[rng.integers(5)]
            place = None if name in "ht" else len(theta)
            if place is not None:
                theta.append(float(rng.uniform(0, 6)))
            ops.append((name, (int(rng.integers(n_qubits)),), place))
        else:
            a, b = rng.permutation(n_qubits)[:2]
            ops.append(("cx", (int(a), int(b)), None))
    return Task("state", n_qubits, tuple(ops), np.array(theta))


def qft(n_qubits: int) -> Task:
    """The quantum Fourier transform, swaps included, of a product state."""
    ops: list[Op] = [("ry", (q,), q) for q in range(n_qubits)]
    theta = [0.1 + 0.37 * q for q in range(n_qubits)]
    for i in range(n_qubits):
        ops.append(("h", (i,), None))
        for j in range(i + 1, n_qubits):
            ops.append(("cp", (j, i), len(theta)))
            theta.append(np.pi / 2 ** (j - i))
    ops.extend(("swap", (i, n_qubits - 1 - i), None) for i in range(n_qubits // 2))
    return Task("state", n_qubits, tuple(ops), np.array(theta))


def hamiltonian(n_qubits: int, n_terms: int) -> Task:
    """A layered state and a sum of random Pauli strings on at most four qubits, each string once."""
    rng = np.random.default_rng(11)
    found: dict[tuple[str, tuple[int, ...]], float] = {}
    while len(found) < n_terms:
        weight = int(rng.integers(1, 5))
        qubits = tuple(sorted(rng.permutation(n_qubits)[:weight].tolist()))
        found["".join(rng.choice(list("XYZ"), weight)), qubits] = float(rng.normal())
    base = layered(n_qubits)
    terms = tuple((letters, qubits, value) for (letters, qubits), value in found.items())
    return Task("expectation", n_qubits, base.ops, base.theta, terms)


def hybrid(kind: str, n_qubits: int, n_layers: int, batch: int) -> Task:
    """RY of every input, layers, <Z> of every qubit as logits of a softmax cross-entropy (a hybrid classifier)."""
    rng = np.random.default_rng(3)
    ops: list[Op] = [("ry", (q,), q) for q in range(n_qubits)]
    ops += layers(n_qubits, n_layers, n_qubits)
    return Task(
        kind,
        n_qubits,
        tuple(ops),
        rng.uniform(-1, 1, 3 * n_qubits * n_layers),
        inputs=rng.uniform(-1, 1, (batch, n_qubits)),
        labels=rng.integers(0, n_qubits, batch),
        extra={"layers": n_layers, "batch": batch},
    )


RATE = 1e-3
"""Adam's learning rate in "training"."""


def training(n_qubits: int, n_layers: int, batch: int) -> Task:
    """One update by Adam of a whole hybrid classifier: linear layer on 28 x 28 pixels, circuit, linear layer to 10."""
    base, rng = hybrid("training", n_qubits, n_layers, batch), np.random.default_rng(13)
    return replace(base, inputs=rng.uniform(0, 1, (batch, 784)), labels=rng.integers(0, 10, batch))


def classical_layers(task: Task) -> dict[str, dict[str, np.ndarray]]:
    """The layers before ("pre") and behind ("post") the circuit of "training"."""
    assert task.inputs is not None
    rng = np.random.default_rng(17)
    shapes = {"pre": (task.n_qubits, task.inputs.shape[1]), "post": (10, task.n_qubits)}
    bounds = {name: shape[1] ** -0.5 for name, shape in shapes.items()}
    return {
        name: {"weight": rng.uniform(-bounds[name], bounds[name], shape), "bias": rng.uniform(-0.1, 0.1, shape[0])}
        for name, shape in shapes.items()
    }


def patches(n_layers: int, batch: int) -> Task:
    """A training step of four patch circuits of 8 qubits on images of 14 x 14 pixels."""
    rng = np.random.default_rng(5)
    return Task(
        "patches",
        8,
        (),
        np.zeros(0),
        inputs=rng.uniform(0, np.pi, (batch, 14, 14)),
        labels=rng.integers(0, 10, batch),
        extra={"layers": n_layers, "batch": batch, "circuits": 4},
    )


def qrnn(width: int, workspace: int, stages: int, degree: int, length: int, batch: int) -> Task:
    """An update of the recurrent quantum network (loss, gradient, clipping, Adam) on random words."""
    rng = np.random.default_rng(13)
    sizes = {"width": width, "workspace": workspace, "stages": stages, "degree": degree, "order": 2}
    return Task(
        "qrnn",
        width + workspace,
        (),
        np.zeros(0),
        inputs=rng.integers(0, 2**width, (batch, length - 1)),
        labels=rng.integers(0, 2**width, (batch, length - 1)),
        extra={**sizes, "batch": batch},
    )


def gates(ops: Sequence[Op], theta: np.ndarray) -> list[tuple[str, tuple[int, ...], float | np.ndarray | None]]:
    """The circuit with all angles as numbers."""
    return [(name, q, float(theta[angle]) if isinstance(angle, int) else angle) for name, q, angle in ops]
