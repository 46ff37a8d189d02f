"""Tasks that users bring: kernels, variational energies, evolutions, textbook algorithms, circuits of numbers."""

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np

from qjaxsim_bench.tasks import Op, Task, Term, layered, layers


def kernel(n_qubits: int, samples: int, repetitions: int = 2) -> Task:
    """States of the ZZ feature map (Havlicek et al., all pairs) for a kernel's samples."""
    couples = list(itertools.combinations(range(n_qubits), 2))
    ops: list[Op] = []
    for _ in range(repetitions):
        for q in range(n_qubits):
            ops += [("h", (q,), None), ("p", (q,), q)]
        for place, (i, j) in enumerate(couples, n_qubits):
            ops += [("cx", (i, j), None), ("p", (j,), place), ("cx", (i, j), None)]

    def features(xp: Any, x: Any) -> Any:
        first, second = (np.array(ends) for ends in zip(*couples, strict=True))
        products = 2 * (math.pi - x[..., first]) * (math.pi - x[..., second])
        return xp.concatenate([2 * x, products], axis=-1)

    x = np.random.default_rng(19).uniform(0, np.pi, (samples, n_qubits))
    extra = {"repetitions": repetitions}
    return Task("kernel", n_qubits, tuple(ops), np.zeros(0), inputs=x, features=features, extra=extra)


def noisy(n_qubits: int, samples: int, n_layers: int = 3) -> Task:
    """<Z> of every qubit of an encoding circuit with depolarizing after every gate, for all samples."""
    ops: list[Op] = []

    def gate(name: str, qubits: tuple[int, ...], place: int | None) -> None:
        ops.append((name, qubits, place))
        ops.extend(("depolarizing", (q,), 0.002 if len(qubits) == 1 else 0.01) for q in qubits)

    for q in range(n_qubits):
        gate("ry", (q,), q)
    for layer, q in itertools.product(range(n_layers), range(n_qubits)):
        place = n_qubits + 2 * (layer * n_qubits + q)
        gate("ry", (q,), place)
        gate("rz", (q,), place + 1)
        if q == n_qubits - 1:
            for i in range(n_qubits - 1):
                gate("cx", (i, i + 1), None)
    rng = np.random.default_rng(67)
    theta, x = rng.uniform(-np.pi, np.pi, 2 * n_qubits * n_layers), rng.uniform(0, np.pi, (samples, n_qubits))
    return Task("noisy", n_qubits, tuple(ops), theta, inputs=x, labels=np.zeros(samples, int))


def vqe(kind: str, n_qubits: int, n_layers: int) -> Task:
    """Energy of a transverse Ising chain in the state of layers of RY, RZ and a chain of CNOTs."""
    ops: list[Op] = []
    for layer, q in itertools.product(range(n_layers), range(n_qubits)):
        place = 2 * (layer * n_qubits + q)
        ops += [("ry", (q,), place), ("rz", (q,), place + 1)]
        if q == n_qubits - 1:
            ops += [("cx", (i, i + 1), None) for i in range(n_qubits - 1)]
    terms: list[Term] = [("ZZ", (q, q + 1), -1.0) for q in range(n_qubits - 1)]
    terms += [("X", (q,), -0.7) for q in range(n_qubits)]
    theta = np.random.default_rng(23).uniform(-np.pi, np.pi, 2 * n_qubits * n_layers)
    return Task(kind, n_qubits, tuple(ops), theta, tuple(terms))


def metric(n_qubits: int, n_layers: int, circuits: int) -> Task:
    """The metric of a circuit's state: of the VQE's circuit, or with several settings of the angles of deep layers."""
    base = vqe("metric", n_qubits, n_layers) if circuits == 1 else layered(n_qubits, n_layers)
    return replace(base, kind="metric", terms=(), extra={"circuits": circuits})


def angle_sets(task: Task) -> np.ndarray:
    """The settings of all angles, (circuits, places)."""
    return np.stack([task.theta + 0.1 * number for number in range(task.extra["circuits"])])


def qaoa(kind: str, n_qubits: int, depth: int, n_edges: int) -> Task:
    """Cut of a random graph in the state of QAOA: one angle for all edges and one for all qubits in each round."""
    rng = np.random.default_rng(29)
    couples = list(itertools.combinations(range(n_qubits), 2))
    edges = [couples[i] for i in sorted(rng.permutation(len(couples))[:n_edges])]
    ops: list[Op] = [("h", (q,), None) for q in range(n_qubits)]
    for layer in range(depth):
        ops += [("rzz", edge, 2 * layer) for edge in edges]
        ops += [("rx", (q,), 2 * layer + 1) for q in range(n_qubits)]
    terms: tuple[Term, ...] = tuple(("ZZ", edge, 0.5) for edge in edges)
    return Task(kind, n_qubits, tuple(ops), rng.uniform(0.1, 1.2, 2 * depth), terms)


def molecule(n_qubits: int) -> list[Term]:
    """Pauli strings of a random Hamiltonian of a molecule's form under Jordan and Wigner: occupations and their
    products, hops within a spin, and pairs that hop together, whose strings have Z on all qubits between."""
    rng = np.random.default_rng(31)
    terms: list[Term] = [("Z", (q,), rng.normal()) for q in range(n_qubits)]
    terms += [("ZZ", pair, 0.2 * rng.normal()) for pair in itertools.combinations(range(n_qubits), 2)]
    half = n_qubits // 2
    for a, b in itertools.combinations(range(n_qubits), 2):
        if (a < half) == (b < half):
            coefficient, between = 0.1 * rng.normal(), tuple(range(a + 1, b))
            terms += [(w + "Z" * len(between) + w, (a, *between, b), coefficient) for w in "XY"]
    couples = list(itertools.combinations(range(half), 2))
    for _ in range(n_qubits):
        (a, b), (c, d) = (couples[i] for i in rng.integers(len(couples), size=2))
        terms += _double((a, b, c + half, d + half), 0.05 * rng.normal())
    return terms


def _double(ends: tuple[int, int, int, int], coefficient: float) -> list[Term]:
    """The eight strings of two electrons that hop, each with an even number of Y."""
    a, b, c, d = ends
    between = {*range(a + 1, b), *range(c + 1, d)}
    out: list[Term] = []
    for word in itertools.product("XY", repeat=4):
        if word.count("Y") % 2 == 0:
            letters = {**dict.fromkeys(between, "Z"), **dict(zip(ends, word, strict=True))}
            qubits = tuple(sorted(letters))
            sign = -1.0 if word in (tuple("XXYY"), tuple("YYXX")) else 1.0
            out.append(("".join(letters[q] for q in qubits), qubits, sign * coefficient))
    return out


def evolution(n_qubits: int, steps: int) -> Task:
    """Trotter steps of a molecule-like sum, each string as Qiskit's PauliEvolutionGate decomposes it."""
    terms = molecule(n_qubits)
    ops: list[Op] = [("x", (q,), None) for q in range(0, n_qubits, 2)]
    for _ in range(steps):
        for place, (word, qubits, _) in enumerate(terms):
            ops += _rotation(word, qubits, place)
    theta = np.array([2 * value / steps for _, _, value in terms])
    return Task("state", n_qubits, tuple(ops), theta)


def _rotation(word: str, qubits: tuple[int, ...], place: int) -> list[Op]:
    """exp(-i theta P / 2): to the basis of Z, parities down to the first qubit, RZ, and back."""
    before: list[Op] = []
    after: list[Op] = []
    for letter, q in zip(word, qubits, strict=True):
        if letter != "Z":
            before.append(("h" if letter == "X" else "sx", (q,), None))
            after.append(("h" if letter == "X" else "sxdg", (q,), None))
    down: list[Op] = [("cx", (b, a), None) for a, b in itertools.pairwise(qubits)]
    return [*before, *reversed(down), ("rz", (qubits[0],), place), *down, *after]


def grover(n_qubits: int, rounds: int) -> Task:
    """Rounds of Grover's search for one marked string."""
    marked = np.random.default_rng(37).integers(0, 2, n_qubits)
    everyone = tuple(range(n_qubits))
    superpose: list[Op] = [("h", (q,), None) for q in everyone]
    flips: list[Op] = [("x", (q,), None) for q in everyone if not marked[q]]
    all_flips: list[Op] = [("x", (q,), None) for q in everyone]
    phase: list[Op] = [("mcz", everyone, None)]
    one = [*flips, *phase, *flips, *superpose, *all_flips, *phase, *all_flips, *superpose]
    return Task("state", n_qubits, (*superpose, *one * rounds), np.zeros(0), imported=True)


def quantum_volume(n_qubits: int, depth: int) -> Task:
    """Layers of random two-qubit unitaries on random pairs."""
    rng = np.random.default_rng(41)
    ops: list[Op] = []
    for _ in range(depth):
        order = rng.permutation(n_qubits).tolist()
        ops += [("unitary", (a, b), haar(4, rng)) for a, b in zip(order[::2], order[1::2], strict=False)]
    return Task("state", n_qubits, tuple(ops), np.zeros(0), imported=True)


def haar(size: int, rng: np.random.Generator) -> np.ndarray:
    """A random unitary matrix."""
    q, r = np.linalg.qr(rng.normal(size=(size, size)) + 1j * rng.normal(size=(size, size)))
    return q * (np.diag(r) / np.abs(np.diag(r)))


def wide_unitary(n_qubits: int) -> Task:
    """One unitary on all qubits: random phases and Fourier transforms by turns, which are made fast."""
    matrix, rng = np.eye(2**n_qubits, dtype=complex), np.random.default_rng(43)
    for _ in range(3):
        matrix = np.fft.fft(np.exp(2j * np.pi * rng.uniform(size=len(matrix)))[:, None] * matrix, axis=0, norm="ortho")
    ops: tuple[Op, ...] = (("unitary", tuple(range(n_qubits)), matrix),)
    return Task("state", n_qubits, ops, np.zeros(0), imported=True)


def preparation(n_qubits: int) -> Task:
    """A random state, prepared by gates."""
    vector = np.random.default_rng(47).normal(size=(2, 2**n_qubits)).T @ np.array([1, 1j])
    ops: tuple[Op, ...] = (("prepare", tuple(range(n_qubits)), vector / np.linalg.norm(vector)),)
    return Task("state", n_qubits, ops, np.zeros(0), imported=True)


def clifford_t(n_qubits: int, n_gates: int) -> Task:
    """Random H, S, T and CNOT."""
    rng = np.random.default_rng(53)
    ops: list[Op] = []
    for kind in rng.integers(4, size=n_gates):
        a, b = (int(q) for q in rng.permutation(n_qubits)[:2])
        ops.append(("cx", (a, b), None) if kind == 3 else (("h", "s", "t")[kind], (a,), None))
    return Task("state", n_qubits, tuple(ops), np.zeros(0), imported=True)


def parameters(n_qubits: int, count: int) -> Task:
    """Layers with a parameter of its own name for every angle."""
    ops = layers(n_qubits, -(-count // (3 * n_qubits)))
    theta = np.random.default_rng(59).uniform(-np.pi, np.pi, count)
    ops = [op for op in ops if not isinstance(op[2], int) or op[2] < count]
    return Task("parameters", n_qubits, tuple(ops), theta)


def pauli_sum(n_qubits: int, n_terms: int) -> Task:
    """A Hamiltonian that is built term by term."""
    rng = np.random.default_rng(61)
    terms: dict[tuple[str, tuple[int, ...]], float] = {}
    while len(terms) < n_terms:
        qubits = tuple(sorted(rng.permutation(n_qubits)[: rng.integers(1, 5)].tolist()))
        terms["".join(rng.choice(list("XYZ"), len(qubits))), qubits] = float(rng.normal())
    return Task("pauli-sum", n_qubits, (), np.zeros(0), tuple((w, q, value) for (w, q), value in terms.items()))


def crosscheck(n_qubits: int, n_layers: int) -> Task:
    """The comparison of a circuit with Qiskit Aer, parameter shifts included."""
    ops = layers(n_qubits, n_layers)
    theta = np.random.default_rng(67).uniform(-np.pi, np.pi, 3 * n_qubits * n_layers)
    return Task("crosscheck", n_qubits, tuple(ops), theta)
