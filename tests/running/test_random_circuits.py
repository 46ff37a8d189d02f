"""Three hundred random circuits against the dense reference, the planner's choices forced in turn."""

import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.circuits import reference
from qjaxsim.circuits.gates import GATES
from tests.cases import mostly_slow
from tests.random_circuits import CHOICES, parameters_for, random_circuit

PER_TEST = 10


@pytest.mark.parametrize("start", mostly_slow(range(0, 300, PER_TEST)))
def test_random_circuits_equal_the_reference(start):
    for seed in range(start, start + PER_TEST):
        circuit, rng = random_circuit(seed)
        params, tolerance = parameters_for(circuit, rng, seed)
        options = qj.PlanOptions(**CHOICES[seed % len(CHOICES)])
        got = np.asarray(qj.statevector(circuit, options=options)(params))
        batched = any(params[name].shape != shape for name, shape in circuit.parameters.items())
        rows = got if batched else got[None]
        for i, row in enumerate(rows):
            one = {n: (v[i] if v.shape != circuit.parameters[n] else v).astype(float) for n, v in params.items()}
            want = reference.statevector(circuit, one)
            np.testing.assert_allclose(row, want, atol=tolerance, err_msg=f"seed {seed}\n{circuit}")


def test_the_circuits_cover_every_gate_and_every_kind_of_plan():
    seen, widths, repeats = set(), set(), 0
    for seed in range(300):
        circuit, _ = random_circuit(seed)
        seen |= set(circuit.count_ops())
        widths.add(circuit.n_qubits)
        repeats += any(hasattr(op, "times") for op in circuit.operations)
    assert set(GATES) <= seen
    assert widths == set(range(2, 9))
    assert repeats > 100
