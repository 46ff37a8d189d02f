"""Circuits rich in phases between CNOTs, Pauli evolutions, multi-controlled phases and what looks like them."""

import numpy as np

import qjaxsim as qj

# Gates before and after a rotation about Z that make it one about the letter.
BASES = {"X": (["h"], ["h"]), "Y": (["sdg", "h"], ["h", "s"]), "Z": ([], [])}
ROOTS = {**BASES, "Y": (["sx"], ["sxdg"])}


def string_rotation(circuit, letters, angle, bases=BASES, pairs=None, mirrored=True):
    """exp(-i angle P / 2) as it is usually written: bases, a ladder of CNOTs, RZ, and all of it undone."""
    qubits = list(letters)
    pairs = list(zip(qubits, qubits[1:], strict=False)) if pairs is None else pairs
    for qubit, letter in letters.items():
        for name in bases[letter][0]:
            circuit.append(name, [qubit])
    for pair in pairs:
        circuit.cx(*pair)
    circuit.rz(angle, qubits[-1])
    for pair in reversed(pairs) if mirrored else pairs:
        circuit.cx(*pair)
    for qubit, letter in letters.items():
        for name in bases[letter][1]:
            circuit.append(name, [qubit])
    return circuit


def _angle(rng, parameters):
    draw = rng.random()
    name = parameters[rng.integers(len(parameters))]
    element = name[int(rng.integers(name.shape[0]))]
    if draw < 0.2:
        return float(rng.choice([np.pi / 2, 0.3, -np.pi / 4]))
    return element if draw < 0.7 else 2 * element - 0.3 if draw < 0.9 else (element * 0.5).sin()


def _evolution(rng, circuit, qubits, angle):
    chosen = qubits[: int(rng.integers(2, len(qubits) + 1))]
    letters = {q: "XYZ"[rng.integers(3)] for q in chosen}
    star = rng.random() < 0.5
    pairs = [(q, chosen[-1]) for q in chosen[:-1]] if star else None
    bases = BASES if rng.random() < 0.5 else ROOTS
    string_rotation(circuit, letters, angle, bases, pairs, mirrored=not star or rng.random() < 0.7)


def _block(rng, circuit, parameters, swaps):
    qubits = rng.permutation(circuit.n_qubits).tolist()
    a, b, c = qubits[:3]
    angle, other = _angle(rng, parameters), _angle(rng, parameters)
    match rng.integers(11):
        case 0:
            circuit.cx(a, b).p(angle, b).cx(a, b)
        case 1 | 2:
            _evolution(rng, circuit, qubits, angle)
        case 3:
            circuit.ccx(a, b, c).append(["p", "rz"][rng.integers(2)], [c], [angle]).rzz(other, a, b).ccx(a, b, c)
        case 4:
            circuit.cx(a, b).t(b).cx(a, b).tdg(a)
        case 5:
            circuit.cp(angle, a, b).rz(other, b).crz(other, b, c)
        case 6:
            circuit.h(a)
        case 7:
            circuit.ry(angle, a)
        case 8:
            circuit.x(a).cp(angle, a, b).x(a).ccz(a, b, c)
        case 9:
            circuit.cz(a, b).rx(angle, a).cz(a, b)
        case _:
            circuit.append(["cx", "cy", "ecr", "iswap", *(["swap"] if swaps else [])][rng.integers(4 + swaps)], [a, b])


def random_gadgets(seed, repeats=True, swaps=True):
    """A circuit of three to five qubits with data x and weights w, some with a repeated layer of weights v."""
    rng = np.random.default_rng(seed)
    x, w, v = qj.Parameter("x", (2,)), qj.Parameter("w", (3,)), qj.Parameter("v", (3,))
    circuit = qj.Circuit(int(rng.integers(3, 6)))
    for q in range(circuit.n_qubits):
        if rng.random() < 0.5:
            circuit.h(q)
    for _ in range(int(rng.integers(3, 12))):
        _block(rng, circuit, [x, w] if seed % 3 else [w], swaps)
    if repeats and seed % 4 == 0:
        layer = qj.Circuit(circuit.n_qubits)
        for _ in range(3):
            _block(rng, layer, [v], swaps)
        circuit.repeat(layer, 2)
    return circuit, rng
