"""The circuits of a disentangled layer on a quantum computer, as numbers: CNOT gates, and the noise of shots."""

from importlib.util import find_spec
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.models.disentangler.layer import DisentangledLayer
from qjaxsim.models.disentangler.quantum import shot_forward
from qjaxsim.studies.disentangler.layer import Subject

_ROWS = 64


def exported(layer: DisentangledLayer) -> dict[str, Any]:
    """Columns cnots, cnot_depth and unitary_deviation; none without Qiskit, without circuits or for wide gates."""
    widths = [wall.gate_qubits for wall in (layer.wall_u, layer.wall_v)]
    if find_spec("qiskit") is None or min(widths) < 1:
        return {}
    from qjaxsim_qiskit.disentangled import MOST_GATE_QUBITS, export_circuits

    if max(widths) > MOST_GATE_QUBITS:
        return {}
    u, v = export_circuits(layer)
    return {
        "cnots": u.cnots + v.cnots,
        "cnot_depth": max(u.cnot_depth, v.cnot_depth),
        "unitary_deviation": max(u.deviation, v.deviation),
    }


def shot_rows(
    subject: Subject, method: str, layer: DisentangledLayer, shots: tuple[int, ...], key: dict[str, Any]
) -> list[Any]:
    """One row a number of shots: what they change in the layer's outputs.

    Args:
        subject: the layer; without inputs of its own it receives Gaussian ones.
        method: "explicit" or "gradient", by which the layer was optimised.
        layer: disentangled.
        shots: numbers of shots.
        key: columns that name bond and circuits.
    """
    inputs = subject.inputs
    if inputs is None:
        inputs = np.random.default_rng(subject.seed).normal(size=(_ROWS, subject.shape[1]))
    x = jnp.asarray(inputs[:_ROWS], jnp.float32)
    exact = np.asarray(layer.apply(x))
    rows = []
    for number in shots:
        drawn = np.asarray(shot_forward(layer, x, number, jax.random.key(subject.seed)))
        error = float(np.linalg.norm(drawn - exact) / np.linalg.norm(exact))
        rows.append({**subject.row("shots", method), **key, "shots": number, "shot_error": error})
    return rows
