"""PennyLane's noise channels as ours."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pennylane as qml
from autograd.tracer import isbox

from qjaxsim.circuits.channels import ROUNDING
from qjaxsim.circuits.operations import Channel, Kraus
from qjaxsim_pennylane.symbols import plain

# Our name, and our strengths from PennyLane's numbers, which may be traced.
_NAMES: dict[type, tuple[str, Callable[..., Sequence[Any]]]] = {
    qml.BitFlip: ("bit_flip", lambda p: (p,)),
    qml.PhaseFlip: ("phase_flip", lambda p: (p,)),
    # There the probability that some Pauli acts, here that of a mixture of all four.
    qml.DepolarizingChannel: ("depolarizing", lambda p: (4 * p / 3,)),
    qml.AmplitudeDamping: ("amplitude_damping", lambda gamma: (gamma,)),
    qml.PhaseDamping: ("phase_damping", lambda gamma: (gamma,)),
    qml.GeneralizedAmplitudeDamping: ("generalized_amplitude_damping", lambda gamma, p: (gamma, p)),
    qml.ResetError: ("reset_error", lambda p0, p1: (p0, p1)),
    qml.ThermalRelaxationError: ("thermal_relaxation", lambda pe, t1, t2, tg: (t1, t2, tg, pe)),
}


def read_channel(operation: Any, qubits: tuple[int, ...], where: str) -> list[Channel | Kraus]:
    """A channel of PennyLane's, whose numbers may be traced by autograd.

    Raises:
        ValueError: for matrices that depend on parameters, or do not keep the trace.
    """
    if type(operation) in _NAMES:
        name, strengths = _NAMES[type(operation)]
        return [Channel(name, qubits, tuple(strengths(*operation.data)))]
    if type(operation) is qml.PauliError:
        word = "".join(operation.hyperparameters["operators"])
        return [Channel(f"pauli[{word}]", qubits, tuple(operation.data))] if set(word) - {"I"} else []
    if any(map(isbox, operation.data)):
        raise ValueError(
            f"{where} depends on parameters by matrices ({operation.name}), not by strengths of a channel; keep it "
            'constant, as by parameters="constant".'
        )
    matrices = np.stack([plain(each).astype(complex) for each in operation.kraus_matrices()])
    error = np.abs(np.einsum("mba,mbc->ac", matrices.conj(), matrices) - np.eye(matrices.shape[-1])).max()
    if not error < ROUNDING:
        raise ValueError(f"{where} must keep the trace ({operation.name}), but differs by {error:.2g}.")
    return [Kraus(matrices, qubits, operation.name)]
