"""Circuits and observables to and from Qiskit, cross-checks against Aer, runs on IBM hardware.

Qubit q is qubit q on both sides; the order of bits in indices and matrices is turned round in `ordering` alone. Qiskit
comes with the extra "qiskit", its runtime for hardware (`qjaxsim_qiskit.ibm`) with "ibm".
"""

from importlib.util import find_spec

from qjaxsim.common.extras import missing_extra

if find_spec("qiskit") is None:
    raise missing_extra("Qiskit's circuits need the package qiskit", "qiskit")

from qjaxsim_qiskit.crosschecking.checks import Check, CrossCheck
from qjaxsim_qiskit.crosschecking.crosscheck import crosscheck
from qjaxsim_qiskit.exporting import assignment, to_qiskit
from qjaxsim_qiskit.importing.imported import ImportedCircuit, Measurement, from_qiskit
from qjaxsim_qiskit.noise import from_aer_noise_model, from_backend, to_aer_noise_model
from qjaxsim_qiskit.observables import from_sparse_pauli_op, to_sparse_pauli_op
from qjaxsim_qiskit.programs.files import from_qasm, from_qpy, to_qasm, to_qpy
from qjaxsim_qiskit.shift_hessian import shift_hessian

__all__ = [
    "Check",
    "CrossCheck",
    "ImportedCircuit",
    "Measurement",
    "assignment",
    "crosscheck",
    "from_aer_noise_model",
    "from_backend",
    "from_qasm",
    "from_qiskit",
    "from_qpy",
    "from_sparse_pauli_op",
    "shift_hessian",
    "to_aer_noise_model",
    "to_qasm",
    "to_qiskit",
    "to_qpy",
    "to_sparse_pauli_op",
]
