"""Circuits on IBM hardware, or on its fake backends without an account, with the exact values beside the measured ones.

run(circuit, params, [Z(0), Z(1)], backend="fake_manila")     expectation values by the Estimator
run(circuit, params, backend="fake_manila")                   counts by the Sampler
fetch(job_id)                                                 a result that was not waited for
"""

from qjaxsim_qiskit.ibm.jobs import MODES, fetch, run
from qjaxsim_qiskit.ibm.records import JobRecord, load
from qjaxsim_qiskit.service import backends, connect

__all__ = ["MODES", "JobRecord", "backends", "connect", "fetch", "load", "run"]
