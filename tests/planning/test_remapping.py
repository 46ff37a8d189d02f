"""Where qubits lie when a state is cut over devices: few exchanges, and the gates each in its place."""

import itertools

import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.planning.leaves import Leaf
from qjaxsim.planning.normal_form import normal_form
from qjaxsim.planning.remapping import remapped
from qjaxsim.planning.schedule import Graph
from qjaxsim.planning.steps import Exchange
from tests.random_circuits import add_gates


def rotated(n, layers, entangle):
    """Layers of RY and RZ on all qubits, then what a function adds."""
    w = qj.Parameter("w", (layers, n, 2))
    circuit = qj.Circuit(n)
    for i in range(layers):
        for q in range(n):
            circuit.ry(w[i, q, 0], q).rz(w[i, q, 1], q)
        entangle(circuit, i)
    return circuit


def ring(circuit, i, step=1):
    for q in range(circuit.n_qubits):
        circuit.cx(q, (q + step) % circuit.n_qubits)


def strongly(circuit, i):
    ring(circuit, i, i % (circuit.n_qubits - 1) + 1)


def brick(circuit, i):
    for q in range(i % 2, circuit.n_qubits - 1, 2):
        circuit.cx(q, q + 1)


def phases(circuit, i):
    for q in range(circuit.n_qubits):
        circuit.cz(q, (q + 1) % circuit.n_qubits)


def fourier(n):
    circuit = qj.Circuit(n)
    for q in range(n):
        circuit.h(q)
        for k in range(q + 1, n):
            circuit.cp(np.pi / 2 ** (k - q), k, q)
    for q in range(n // 2):
        circuit.swap(q, n - 1 - q)
    return circuit


def volume(n, layers=10):
    """Random pairs; the gates themselves do not matter but that they are not block diagonal."""
    rng = np.random.default_rng(0)
    circuit = qj.Circuit(n)
    for _ in range(layers):
        order = rng.permutation(n).tolist()
        for a, b in zip(order[::2], order[1::2], strict=True):
            matrix = np.linalg.qr(rng.normal(size=(4, 4)) + 1j * rng.normal(size=(4, 4)))[0]
            circuit.unitary(matrix, [a, b])
    return circuit


def exchanges(circuit, bits):
    return sum(isinstance(item, Exchange) for item in remapped(normal_form(circuit, ()), circuit.n_qubits, bits).items)


# By qubits and device bits, what good scheduling needs for ten layers.
NEEDED = {(34, 4): (11, 5, 1, 1, 1, 2), (36, 6): (12, 6, 1, 1, 1, 3), (40, 10): (15, 8, 2, 2, 1, 4)}


@pytest.mark.thorough
@pytest.mark.parametrize("size", NEEDED)
def test_no_more_exchanges_than_good_scheduling_needs(size):
    n, bits = size
    layered = [rotated(n, 10, entangle) for entangle in (ring, strongly, brick, phases)]
    found = [exchanges(circuit, bits) for circuit in (*layered, fourier(n), volume(n))]
    assert all(own <= needed for own, needed in zip(found, NEEDED[size], strict=True)), found


def needs(leaf):
    return {q for q, axis in zip(leaf.qubits, leaf.axes, strict=True) if axis != "Z"}


def best_of_all(leaves, n, bits):
    """The fewest exchanges, by trying every set of qubits at every turn."""
    graph = Graph(leaves)
    parents = {i: [] for i in range(len(graph.leaves))}
    for i, followers in enumerate(graph.followers):
        for follower in followers:
            parents[follower].append(i)
    wanted = [set() if leaf is None else needs(leaf) for leaf in graph.leaves]
    reached, turns = {frozenset()}, 0
    while True:
        after = set()
        for done in reached:
            for apart in itertools.combinations(range(n), bits):
                more, grown = set(done), True
                while grown:
                    grown = [
                        i
                        for i in parents
                        if i not in more and more.issuperset(parents[i]) and wanted[i].isdisjoint(apart)
                    ]
                    more.update(grown)
                after.add(frozenset(more))
        if any(len(done) == len(parents) for done in after):
            return turns
        # What does less than another is no better.
        reached = {done for done in after if not any(done < other for other in after)}
        turns += 1


def in_time_order(leaves, n, bits):
    """The fewest exchanges if every gate waits for all before it."""
    count, start = 0, 0
    while True:
        ends = []
        for apart in itertools.combinations(range(n), bits):
            end = start
            while end < len(leaves) and needs(leaves[end]).isdisjoint(apart):
                end += 1
            ends.append(end)
        start = max(ends)
        if start == len(leaves):
            return count
        count += 1


def leaves_of(circuit):
    return [item for item in normal_form(circuit, ()) if isinstance(item, Leaf)]


SMALL = [rotated(6, 2, each) for each in (ring, strongly, brick, phases)] + [fourier(6), volume(6, 3)]


@pytest.mark.parametrize("place", range(len(SMALL)))
@pytest.mark.parametrize("bits", [1, 2])
def test_small_circuits_need_as_few_exchanges_as_any_choice_of_qubits(place, bits):
    circuit = SMALL[place]
    assert exchanges(circuit, bits) == best_of_all(leaves_of(circuit), 6, bits)


def test_random_circuits_never_need_more_exchanges_than_gates_in_time_order():
    worse = {}
    for seed in range(150):
        rng = np.random.default_rng(seed)
        x = qj.Parameter("x", (2,))
        circuit = add_gates(rng, qj.Circuit(8), 40, [x, x])
        bits = 1 + seed % 3
        own, other = exchanges(circuit, bits), in_time_order(leaves_of(circuit), 8, bits)
        if own > other:
            worse[seed] = own, other
    assert worse == {}


def test_a_loop_leaves_qubits_where_they_were_and_two_iterations_share_exchanges():
    layer = qj.Circuit(12)
    w = qj.Parameter("w", (12,))
    for q in range(12):
        layer.ry(w[q], q)
    ring(layer, 0)
    loop = qj.explain(qj.Circuit(12).repeat(layer, 10), state_qubits=3)
    odd = qj.explain(qj.Circuit(12).repeat(layer, 9), state_qubits=3)
    assert loop.exchanges / 10 <= odd.exchanges / 9 <= 2
    assert loop.exchanges <= 2 * 10


def test_bytes_sent_are_those_of_the_exchanged_bits():
    explained = qj.explain(rotated(12, 2, ring), state_qubits=2, dtype="complex128")
    assert explained.state_bytes == 16 * 2**10
    # Two bits: each device keeps a quarter of its piece.
    assert explained.sent_bytes == explained.exchanges * 0.75 * explained.state_bytes > 0
    assert "12 qubits cut over 4 devices" in str(explained)
    assert f"{explained.exchanges} exchanges, in which each device sends" in str(explained)


@pytest.mark.parametrize("value", [-1, 3, 1.5, "two"])
def test_a_number_of_state_qubits_that_cannot_be_is_refused(value):
    with pytest.raises(ValueError, match="Argument `state_qubits` must be an integer from 0 to 2, but is"):
        qj.explain(qj.Circuit(3).h(0), state_qubits=value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"state_axes": ("a", "a")}, "Option `state_axes` must be different names of mesh axes, but is"),
        ({"state_axes": 5}, "Option `state_axes` must be different names of mesh axes, but is 5"),
        ({"state_axes": 0}, "Option `state_axes` must be different names of mesh axes, but is 0"),
        ({"state_axes": (1,)}, "Option `state_axes` must be different names of mesh axes, but is"),
        ({"state_axes": "a", "batch_axis": "a"}, "Option `batch_axis` must be the name of a mesh axis that is not in"),
        ({"batch_axis": 3}, "Option `batch_axis` must be the name of a mesh axis that is not in"),
    ],
)
def test_names_of_axes_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        qj.PlanOptions(**options)
