"""Random circuits and parameters that several test files draw."""

import numpy as np

import qjaxsim as qj
from qjaxsim.circuits.gates import GATES

CHOICES = [
    {},
    {"max_block": 1},
    {"max_block": 2, "collapse": True},
    {"max_block": 3, "scan": True, "gradient": "adjoint"},
    {"collapse": True, "gradient": "adjoint", "unroll": 2},
    {"collapse": False, "scan": True},
    {"max_block": 7, "scan": False},
]
NAMES = sorted(GATES)


def random_angle(rng, parameters):
    """A number, an element, or an expression of two."""
    draw = rng.random()
    name = parameters[rng.integers(len(parameters))]
    element = name[int(rng.integers(name.shape[0]))]
    if draw < 0.3:
        return float(rng.uniform(-3, 3))
    if draw < 0.7:
        return element
    return (0.5 * element + float(rng.normal())).sin() * parameters[0][0] if draw < 0.8 else 2 * element - 0.3


def add_gates(rng, circuit, n_gates, parameters):
    """Gates of any kind, now and then with the last one undone, a swap or a constant unitary."""
    for _ in range(n_gates):
        spec = GATES[NAMES[rng.integers(len(NAMES))]]
        if spec.n_qubits > circuit.n_qubits:
            continue
        qubits = rng.permutation(circuit.n_qubits)[: spec.n_qubits].tolist()
        circuit.append(spec.name, qubits, [random_angle(rng, parameters) for _ in range(spec.n_angles)])
        if rng.random() < 0.1:
            circuit.extend([circuit.operations[-1].inverse()])
        if rng.random() < 0.1:
            circuit.swap(*rng.permutation(circuit.n_qubits)[:2].tolist())
    return circuit


def random_circuit(seed):
    """Two to eight qubits, data and weights, some with repeats in repeats."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 9)) if seed % 3 == 0 else int(rng.integers(2, 5))
    x, w, s = qj.Parameter("x", (2,)), qj.Parameter("w", (3,)), qj.Parameter("s", (1,))
    circuit = add_gates(rng, qj.Circuit(n), int(rng.integers(4, 16)), [x, s])
    if seed % 2:
        inner = add_gates(rng, qj.Circuit(n), 3, [w])
        layer = add_gates(rng, qj.Circuit(n), 4, [w, s] if seed % 4 == 1 else [w, x, s])
        shared = [name for name in ("x", "s") if name in layer.parameters]
        if seed % 5 == 0:
            layer = add_gates(rng, qj.Circuit(n).repeat(inner, 2), 2, [s])
            shared = [name for name in ("s",) if name in layer.parameters]
        circuit.repeat(layer, 2, shared=shared)
    elif seed % 4 == 0:  # equal layers written out
        layer = add_gates(rng, qj.Circuit(n), 3, [s])
        circuit.compose(layer).compose(layer).compose(layer)
    add_gates(rng, circuit, 3, [x, s])
    return circuit, rng


def parameters_for(circuit, rng, seed):
    """Values in float64 or float32, with no batch, a batch of data, or one of everything."""
    dtype = np.float64 if seed % 2 else np.float32
    batch = 2 if seed % 3 else None
    params = {}
    for name, shape in circuit.parameters.items():
        carries = batch and (name == "x" or seed % 6 == 1)
        params[name] = rng.normal(size=((batch, *shape) if carries else shape)).astype(dtype)
    return params, (1e-12 if dtype == np.float64 else 5e-5)
