"""Circuits that measure on their way here and on Aer: Aer draws outcomes, all of which are followed here."""

from typing import Any

import numpy as np

import qjaxsim as qj
from qjaxsim_qiskit.crosschecking import aer
from qjaxsim_qiskit.crosschecking.checks import Check
from qjaxsim_qiskit.crosschecking.comparing import P_VALUE, p_value, paired_seconds, timed

# Enough to see a wrong branch of one in a hundred.
DYNAMIC_SHOTS = 10_000


def dynamic_checks(pair: Any, noise: Any, shots: int, seed: int) -> list[Check]:
    """The test of Aer's counts; `pair` as in `crosschecking`, `noise` as in `noisy_checks` or None."""
    n_qubits = pair.circuit.n_qubits
    n_bits = pair.other.num_clbits  # some of which nothing may be measured into
    read = pair.circuit.copy().measure(range(n_qubits), range(n_bits, n_bits + n_qubits))
    if noise is not None:
        read = noise.own.apply(read)
    exact, times = timed(qj.probabilities(read, bits=range(n_bits + n_qubits)), pair.params)
    model = None if noise is None else noise.aer
    drawn, aer_times = timed(aer.dynamic_counts, pair.other, pair.values, shots, seed, model)
    wanted = np.asarray(exact).reshape(len(pair.values), -1)
    value = min(map(p_value, drawn, wanted))
    text = f"{shots} shots a sample, of {n_bits} bits and {n_qubits} qubits at the end"
    seconds = paired_seconds(times, aer_times)
    bound = P_VALUE / len(pair.values)
    return [Check("counts of Aer, our probabilities", "p-value", value, bound, **seconds, detail=text)]
