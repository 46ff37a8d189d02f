"""Observables of four qubits, and a job of a few shots that reports to nobody."""

import qjaxsim as qj

OBSERVABLES = [qj.Z(0), qj.Z(1) @ qj.X(3), 0.5 * qj.Y(2) - 2.0 * qj.Z(0) @ qj.Z(3) + 0.25]


def submit(circuit, params, observables, tmp_path, **options):
    from qjaxsim_qiskit import ibm

    options = {"shots": 1000, "out": tmp_path, "report": lambda line: None, **options}
    return ibm.run(circuit, params, observables, **options)
