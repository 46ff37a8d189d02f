"""The quantum neuron: closed form for simulation, explicit circuits with ancillas for checks and for devices.

On a basis state x of its sources a neuron has the angle eta(x) = bias + theta + sum_S phi_S prod_{i in S} x_i and turns
its target's amplitudes (a0, a1) into (c a0 - s a1, s a0 + c a1), with c = cos(eta / 2)**(2**order) and s the same of
sin. c^2 + s^2 < 1 is the probability that all its projections succeed; simulation divides the whole state by its norm,
which re-weights the branches x. Ideal amplitude amplification keeps their weights and rotates by arctan(s / c)
instead. The two agree only where one branch is occupied or all have equal c^2 + s^2.
"""

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.expressions import Parameter
from qjaxsim.models.qrnn_topology import subsets


def activation(eta: jax.Array, order: int) -> tuple[jax.Array, jax.Array]:
    """(c, s), arrays like the angles `eta` (radians, halved inside): cos and sin of eta / 2 to the power 2**order."""
    c, s = jnp.cos(eta / 2), jnp.sin(eta / 2)
    for _ in range(order):
        c, s = c * c, s * s
    return c, s


def mix(state: jax.Array, lane: int, c: jax.Array, s: jax.Array) -> jax.Array:
    """The state after (a0, a1) -> (c a0 - s a1, s a0 + c a1) on one lane.

    Args:
        state: (2**n, ...) real.
        lane: the target; lane 0 is the most significant bit.
        c: (2**(n - 1), ...) for the other lanes in order, or (1, ...); trailing axes broadcast to the state's.
        s: the same.
    """
    size, tail = state.shape[0], state.shape[1:]
    left, right = 2**lane, size // 2 ** (lane + 1)
    pairs = state.reshape(left, 2, right, *tail)
    if len(c) > 1:
        c, s = (part.reshape(left, right, *part.shape[1:]) for part in (c, s))
    else:
        c, s = c[None], s[None]
    zero, one = pairs[:, 0], pairs[:, 1]
    return jnp.stack([c * zero - s * one, s * zero + c * one], axis=1).reshape(state.shape)


def neuron_circuit(n_sources: int, degree: int, order: int, bias: float, *, project: bool = True) -> Circuit:
    """A neuron as a circuit on sources 0..n-1, target n and ancillas n+1..n+order (a_1 first), which start in |0>.

    Args:
        n_sources: number n of sources.
        degree: largest subset of sources with a number of its own.
        order: number of ancillas.
        bias: fixed part of the angle.
        project: project each ancilla on 0 where the neuron asks for it; without, only order 1 is meaningful.

    Returns:
        A circuit with the parameter "numbers" (theta, then phi by subset size and position). Its gates are ry, cry and
        cx alone, so that any exporter takes it.
    """
    circuit = Circuit(n_sources + 1 + order)
    _neuron(circuit, n_sources, degree, order, n_sources, 1, bias, 0 if project else None)
    return circuit


def amplified_neuron_circuit(n_sources: int, degree: int, order: int, bias: float, levels: int) -> Circuit:
    """The same neuron with fixed-point oblivious amplitude amplification instead of projections.

    The pi/3 recursion V_{k+1} = V_k R V_k^-1 R V_k, R = 1 - (1 - e^{i pi/3}) |0><0| on the neuron's ancilla, takes a
    failure probability eps to eps^3 with three uses (Grover, quant-ph/0503205). Ancillas of lower orders are amplified
    inside. What is left of the ancilla's |1> is not projected away.

    Args:
        n_sources: as in `neuron_circuit`, like the next three.
        degree: see there.
        order: see there.
        bias: see there.
        levels: depth k of the recursion at each order; 0 is the bare circuit. Gates grow as 3**(k order).
    """
    circuit = Circuit(n_sources + 1 + order)
    _neuron(circuit, n_sources, degree, order, n_sources, 1, bias, levels, amplify=True)
    return circuit


def _neuron(
    circuit: Circuit,
    n: int,
    degree: int,
    order: int,
    target: int,
    direction: int,
    bias: float,
    levels: int | None,
    amplify: bool = False,
) -> None:
    """Add a neuron of some order; `direction` -1 inverts its innermost controlled rotation of the target."""
    ancilla = n + order
    bare = Circuit(circuit.n_qubits)
    if order == 1:
        angles = _angle_circuit(circuit.n_qubits, n, degree, ancilla, bias)
        bare.compose(angles).cry(direction * math.pi, ancilla, target).compose(angles.inverse())
    else:
        _neuron(bare, n, degree, order - 1, ancilla, 1, bias, levels, amplify)
        bare.cry(direction * math.pi, ancilla, target)
        _neuron(bare, n, degree, order - 1, ancilla, -1, bias, levels, amplify)
    circuit.compose(_amplified(bare, ancilla, levels or 0) if amplify else bare)
    if not amplify and levels is not None:
        circuit.project(ancilla, 0)


def _amplified(bare: Circuit, ancilla: int, levels: int) -> Circuit:
    out = bare
    # x p x puts the phase on |0>.
    phase = Circuit(bare.n_qubits).x(ancilla).p(math.pi / 3, ancilla).x(ancilla)
    for _ in range(levels):
        out = out.copy().compose(phase).compose(out.inverse()).compose(phase).compose(out)
    return out


def _angle_circuit(n_qubits: int, n: int, degree: int, ancilla: int, bias: float) -> Circuit:
    """Rotate the ancilla by eta(x): a product of bits is a signed sum of parities, each one CX ladder and one CRY."""
    places = subsets(n, degree)
    numbers = Parameter("numbers", (len(places),))
    circuit = Circuit(n_qubits).ry(numbers[0] + bias, ancilla)
    parities: dict[tuple[int, ...], Any] = {}
    for place, subset in enumerate(places[1:], start=1):
        for size in range(1, len(subset) + 1):
            share = (-1) ** (size + 1) / 2 ** (len(subset) - 1)
            for part in itertools.combinations(subset, size):
                angle = share * numbers[place]
                parities[part] = parities[part] + angle if part in parities else angle
    for part, angle in parities.items():
        for lane in part[:-1]:
            circuit.cx(lane, part[-1])
        circuit.cry(angle, part[-1], ancilla)
        for lane in reversed(part[:-1]):
            circuit.cx(lane, part[-1])
    return circuit
