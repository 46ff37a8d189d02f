"""Parameters and directions of the patches model that cannot change its outputs: predicted, and found in numbers."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import jax
import numpy as np

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.expressions import Expression
from qjaxsim.circuits.observables import PauliSum
from qjaxsim.circuits.operations import Gate, Repeat
from qjaxsim.models.patches import PatchesModel, circuit_params, readout, trainable_layer
from qjaxsim.running.simulate import statevector


def null_parameters(model: PatchesModel) -> int:
    """Number of parameters that no output depends on: weights outside the readout's light cone, pixels in no patch."""
    pixels = model.image_size**2 - np.unique(model.patch_pixels).size
    return model.n_patches * null_weights(model.circuit, readout(model.n_classes, model.n_qubits)) + pixels


def redundant_weights(model: PatchesModel) -> int:
    """First blocks' weights beyond the real dimension 2 (2^n - 1) of the states that they reach, all circuits."""
    return model.n_patches * max(0, 2 * model.n_layers * model.n_qubits - 2 * (2**model.n_qubits - 1))


def null_weights(circuit: Circuit, observables: list[PauliSum]) -> int:
    """Rotations outside the light cone of observables, for circuits of RX, RY and CZ as `patch_circuit` makes them.

    Backwards through the circuit, CZ carries an observable to a neighbour as Z there, which goes no further through CZ;
    a rotation makes anything of it. A rotation where there is nothing has no effect.
    """
    anything = {qubit for observable in observables for term in observable.terms for qubit, _ in term}
    only_z: set[int] = set()
    count = 0
    for gate in _backwards(circuit):
        if len(anything) == circuit.n_qubits:
            break
        if gate.name == "cz":
            a, b = gate.qubits
            only_z |= ({b} if a in anything else set()) | ({a} if b in anything else set())
            only_z -= anything
        elif gate.qubits[0] in anything | only_z:
            anything.add(gate.qubits[0])
            only_z.discard(gate.qubits[0])
        else:
            count += isinstance(gate.angles[0], Expression)
    return count


def _backwards(circuit: Circuit) -> Iterator[Gate]:
    for operation in reversed(circuit.operations):
        if isinstance(operation, Repeat):
            for _ in range(operation.times):
                yield from _backwards(operation.circuit)
        elif isinstance(operation, Gate):
            yield operation


def block_redundancy(model: PatchesModel, weights: jax.Array) -> int:
    """First block's weights of one circuit less the rank of the state's derivatives in them, at weights (n_weights,).

    Every output depends on them through that state alone, and not on its phase: derivatives along i times the state
    count for nothing. As many directions are null in each Jacobian.
    """
    if model.n_layers == 0:
        return 0
    block = circuit_params(weights, model.n_qubits, model.n_layers, model.n_features)["block1"]
    jacobian, state = (np.asarray(found) for found in _block_jacobian(model.n_qubits, model.n_layers)(block))
    moved = jacobian.reshape(-1, block.size)
    moved = moved - np.outer(state, state.conj() @ moved)
    return int(block.size - np.linalg.matrix_rank(np.concatenate([moved.real, moved.imag])))


@lru_cache
def _block_jacobian(n_qubits: int, n_layers: int) -> Any:
    """From a block's weights to the state's derivatives in them (2^n, ...) and the state (2^n,)."""
    state = statevector(Circuit(n_qubits).repeat(trainable_layer(n_qubits, "block1", ring=True), n_layers))
    return jax.jit(jax.jacfwd(lambda block: (state({"block1": block}),) * 2, has_aux=True))
