"""Random circuits with channels of every kind between gates of every kind."""

import numpy as np

import qjaxsim as qj
from qjaxsim.circuits.channels import CHANNELS
from qjaxsim.circuits.gates import GATES


def strengths(rng, name, element=None):
    """Possible strengths of a channel; the first one may be an expression."""
    if name == "thermal_relaxation":
        return [50.0, 70.0, float(rng.uniform(1, 20)), float(rng.uniform(0, 0.5))]
    values = [float(x) for x in rng.uniform(0.02, 0.3, len(CHANNELS[name].strengths))]
    return values if element is None else [element, *values[1:]]


def random_kraus(rng, n_qubits):
    """Three random Kraus matrices."""
    size = 2**n_qubits
    columns, _ = np.linalg.qr(rng.normal(size=(3 * size, size)) + 1j * rng.normal(size=(3 * size, size)))
    return columns.reshape(3, size, size)


def _some(rng, circuit, count):
    return [int(q) for q in rng.permutation(circuit.n_qubits)[:count]]


def _gate(rng, circuit, weights):
    names = [
        g for g in GATES.values() if 1 <= g.n_qubits <= min(circuit.n_qubits, 3) and not g.name.startswith("delay")
    ]
    spec = names[rng.integers(len(names))]
    angles = [
        weights[int(rng.integers(weights.shape[0]))] * 0.7 if rng.random() < 0.6 else float(rng.normal())
        for _ in range(spec.n_angles)
    ]
    circuit.append(spec.name, _some(rng, circuit, spec.n_qubits), angles)


def _noise(rng, circuit, free):
    draw = rng.random()
    width = min(circuit.n_qubits, 2)
    if draw < 0.8:
        names = [spec for spec in CHANNELS.values() if spec.n_qubits <= width]
        spec = names[rng.integers(len(names))]
        element = free[int(rng.integers(free.shape[0]))] if rng.random() < 0.4 else None
        circuit.append(spec.name, _some(rng, circuit, spec.n_qubits), strengths(rng, spec.name, element))
    elif draw < 0.9:
        circuit.kraus(random_kraus(rng, width), _some(rng, circuit, width))
    else:
        labels = {"".join(rng.choice(list("IXYZ"), width)) for _ in range(2)}
        circuit.pauli_channel({label: 0.1 for label in sorted(labels)}, _some(rng, circuit, width))


def random_noisy(seed, n_qubits=None, gates=10):
    """A circuit with parameters w (angles) and p (strengths, up to .3), sometimes with a noisy repeated layer."""
    rng = np.random.default_rng(seed)
    w, p = qj.Parameter("w", (3,)), qj.Parameter("p", (2,))
    circuit = qj.Circuit(int(rng.integers(1, 6)) if n_qubits is None else n_qubits)

    def block(target, count):
        for _ in range(count):
            (_gate(rng, target, w) if rng.random() < 0.55 else _noise(rng, target, p))

    block(circuit, gates)
    if seed % 3 == 0:
        layer = qj.Circuit(circuit.n_qubits)
        block(layer, 4)
        circuit.repeat(layer, 3, shared=list(layer.parameters))
    block(circuit, 2)
    return circuit, rng


def random_values(rng, circuit, batch=()):
    """Values of its parameters; `batch` in front of the angles."""
    return {
        name: rng.uniform(0.02, 0.3, shape) if name == "p" else rng.normal(size=(*batch, *shape))
        for name, shape in circuit.parameters.items()
    }
