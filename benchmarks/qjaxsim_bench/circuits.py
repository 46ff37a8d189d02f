"""Circuits of the kinds that QASMBench collects, written here: arithmetic, search, error checks, chemistry, learning.

Each function gives the width and the gates; all angles are numbers.
"""

import itertools
import math
from collections.abc import Callable

import numpy as np

from qjaxsim_bench.tasks import Op, Task

Made = tuple[int, list[Op]]


def _gates(name: str, qubits: "range | list[int]") -> list[Op]:
    return [(name, (q,), None) for q in qubits]


def _chain(qubits: "range | list[int]") -> list[Op]:
    return [("cx", pair, None) for pair in itertools.pairwise(qubits)]


def cat(n_qubits: int = 16) -> Made:
    """A cat (GHZ) state."""
    return n_qubits, [("h", (0,), None), *_chain(range(n_qubits))]


def w_state(n_qubits: int = 16) -> Made:
    """The W state: one excitation handed on from qubit to qubit."""
    ops: list[Op] = [("x", (0,), None)]
    for q in range(n_qubits - 1):
        angle = 2 * math.acos(math.sqrt(1 / (n_qubits - q)))
        ops += [("ry", (q + 1,), angle / 2), ("cz", (q, q + 1), None), ("ry", (q + 1,), -angle / 2)]
        ops.append(("cx", (q + 1, q), None))
    return n_qubits, ops


def fourier(qubits: "range | list[int]", sign: int = 1) -> list[Op]:
    """The quantum Fourier transform without its final swaps, or its inverse."""
    ops: list[Op] = []
    for i, a in enumerate(qubits):
        ops.append(("h", (a,), None))
        ops += [("cp", (b, a), sign * math.pi / 2 ** (j + 1)) for j, b in enumerate(list(qubits)[i + 1 :])]
    return ops if sign > 0 else ops[::-1]


def qft(n_qubits: int = 16) -> Made:
    """The Fourier transform of a basis state, swaps included."""
    swaps: list[Op] = [("swap", (q, n_qubits - 1 - q), None) for q in range(n_qubits // 2)]
    return n_qubits, [*_gates("x", range(0, n_qubits, 3)), *fourier(range(n_qubits)), *swaps]


def bernstein_vazirani(n_qubits: int = 17) -> Made:
    """The hidden string by one question; the last qubit is the oracle's."""
    target = n_qubits - 1
    asked: list[Op] = [("cx", (q, target), None) for q in range(target) if q % 3 != 1]
    inputs = range(target)
    return n_qubits, [
        *_gates("x", [target]), *_gates("h", range(n_qubits)), *asked, *_gates("h", inputs)
    ]  # fmt: skip


def simon(half: int = 7) -> Made:
    """Simon's problem with the period 11...1: copies of the inputs, and of the first one onto all."""
    copies: list[Op] = [("cx", (q, q + half), None) for q in range(half)]
    period: list[Op] = [("cx", (0, q + half), None) for q in range(half)]
    return 2 * half, [*_gates("h", range(half)), *copies, *period, *_gates("h", range(half))]


def _majority(c: int, b: int, a: int) -> list[Op]:
    return [("cx", (a, b), None), ("cx", (a, c), None), ("ccx", (c, b, a), None)]


def _add_back(c: int, b: int, a: int) -> list[Op]:
    return [("ccx", (c, b, a), None), ("cx", (a, c), None), ("cx", (c, b), None)]


def adder(bits: int = 8) -> Made:
    """Cuccaro's ripple-carry adder of superposed numbers: carry in, a and b by turns, carry out."""
    a, b, out = [2 + 2 * i for i in range(bits)], [1 + 2 * i for i in range(bits)], 2 * bits + 1
    carries = [0, *a[:-1]]
    ops = [*_gates("h", a[:3]), *_gates("x", b[::2])]
    for c, y, x in zip(carries, b, a, strict=True):
        ops += _majority(c, y, x)
    ops.append(("cx", (a[-1], out), None))
    for c, y, x in reversed(list(zip(carries, b, a, strict=True))):
        ops += _add_back(c, y, x)
    return 2 * bits + 2, ops


def multiplier(bits: int = 3) -> Made:
    """Product of two numbers, added in Fourier space by doubly controlled phases."""
    a, b = list(range(bits)), list(range(bits, 2 * bits))
    product = list(range(2 * bits, 4 * bits))  # most significant first
    ops = [*_gates("h", a), *_gates("x", b[::2]), *fourier(product)]
    for (i, x), (j, y) in itertools.product(enumerate(reversed(a)), enumerate(reversed(b))):
        for k, p in enumerate(product):
            turns = 2.0 ** (i + j - (2 * bits - k))
            if turns % 1:
                ops += _doubly_controlled(2 * math.pi * turns, x, y, p)
    return 4 * bits, [*ops, *fourier(product, -1)]


def _doubly_controlled(angle: float, a: int, b: int, c: int) -> list[Op]:
    half = angle / 2
    return [
        ("cp", (b, c), half), ("cx", (a, b), None), ("cp", (b, c), -half), ("cx", (a, b), None), ("cp", (a, c), half)
    ]  # fmt: skip


def ising(n_qubits: int = 16, steps: int = 4) -> Made:
    """Evolution of a transverse Ising chain."""
    ops = _gates("h", range(n_qubits))
    for step in range(steps):
        for a, b in itertools.pairwise(range(n_qubits)):
            ops += [("cx", (a, b), None), ("rz", (b,), 0.3 + 0.02 * step), ("cx", (a, b), None)]
        ops += [("rx", (q,), 0.4 + 0.01 * q) for q in range(n_qubits)]
    return n_qubits, ops


def swap_test(half: int = 7) -> Made:
    """Overlap of two product states by controlled swaps."""
    ops: list[Op] = [("ry", (q,), 0.2 * q) for q in range(1, 2 * half + 1)]
    ops.append(("h", (0,), None))
    ops += [("cswap", (0, q, q + half), None) for q in range(1, half + 1)]
    return 2 * half + 1, [*ops, ("h", (0,), None)]


def knn(half: int = 6) -> Made:
    """Distance of an encoded sample to an entangled superposition of neighbours, by a swap test."""
    width, ops = swap_test(half)
    encoded: list[Op] = [("rz", (q,), 0.3 * q) for q in range(1, width)]
    return width, [*_chain(range(1, half + 1)), *encoded, *ops]


def phase_estimation(bits: int = 10) -> Made:
    """The phase of a P gate read into so many bits."""
    eigen, counting = bits, list(range(bits))
    ops = [*_gates("x", [eigen]), *_gates("h", counting)]
    ops += [("cp", (q, eigen), 2 * math.pi * 0.3141 * 2**q) for q in counting]
    return bits + 1, [*ops, *fourier(counting, -1)]


def uccsd(n_qubits: int = 8) -> Made:
    """A unitary coupled cluster's excitations as ladders of CNOTs around RZ, as files of VQE have them."""
    rng, half = np.random.default_rng(71), n_qubits // 2
    ops = _gates("x", range(0, n_qubits, 2))
    for a, b in itertools.combinations(range(n_qubits), 2):
        if (a < half) == (b < half):
            angle = float(rng.normal() / 4)
            for left, right, sign in (("x", "y", 1), ("y", "x", -1)):
                into = [*_turned(left, a, 1), *_turned(right, b, 1), *_chain(range(a, b + 1))]
                back = [*reversed(_chain(range(a, b + 1))), *_turned(right, b, -1), *_turned(left, a, -1)]
                ops += [*into, ("rz", (b,), sign * angle), *back]
    return n_qubits, ops


def _turned(letter: str, qubit: int, sign: int) -> list[Op]:
    return [("h", (qubit,), None)] if letter == "x" else [("rx", (qubit,), sign * math.pi / 2)]


CIRCUITS: dict[str, Callable[..., Made]] = {
    "adder": adder, "bv": bernstein_vazirani, "cat": cat, "ising": ising, "knn": knn, "multiplier": multiplier,
    "qft": qft, "qpe": phase_estimation, "simon": simon, "swap-test": swap_test, "uccsd": uccsd, "w": w_state,
}  # fmt: skip
"""A dozen circuits by name."""

# Arguments of the small versions.
SMALL = {
    "adder": 2, "bv": 4, "cat": 4, "ising": 4, "knn": 2, "multiplier": 1, "qft": 4, "qpe": 3, "simon": 2,
    "swap-test": 2, "uccsd": 4, "w": 4,
}  # fmt: skip


def circuit(size: str) -> Task:
    """A circuit by its name, "small-" before it for a small version."""
    name = size.removeprefix("small-")
    n_qubits, ops = CIRCUITS[name](SMALL[name]) if name != size else CIRCUITS[name]()
    return Task("state", n_qubits, tuple(ops), np.zeros(0), imported=True)
