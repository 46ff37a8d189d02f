"""A hybrid model beside EstimatorQNN, the circuit in Qiskit written out here by hand."""

import jax
import numpy as np
import pytest

from qjaxsim.models.hybrid import HybridModel

pytest.importorskip("qiskit_machine_learning", reason="needs the extra bench")
pytest.importorskip("qiskit_algorithms", reason="needs the extra bench")

pytestmark = [
    pytest.mark.usefixtures("quick_compiler"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning"),
]


def by_hand(turned: bool = False):
    """Three qubits, two layers; `turned` exchanges two angles."""
    from qiskit import QuantumCircuit
    from qiskit.circuit import ParameterVector

    x, w = ParameterVector("inputs", 3), list(ParameterVector("weights", 18))
    if turned:
        w[0], w[1] = w[1], w[0]
    made = QuantumCircuit(3)
    for q in range(3):
        made.ry(x[q], q)
    for layer, pair in enumerate(((0, 1), (1, 2))):
        for q in range(3):
            first = 9 * layer + 3 * q
            made.rx(w[first], q)
            made.ry(w[first + 1], q)
            made.rz(w[first + 2], q)
        made.cx(*pair)
    return made


@pytest.fixture(scope="module")
def setting():
    model = HybridModel(3, 2, image_size=4)
    return model, model.init(jax.random.key(3), np.float64), np.random.default_rng(0).uniform(0, 1, (2, 4, 4))


@pytest.mark.parametrize("gradient", ["reverse", "shift"])
def test_values_and_gradients_agree(setting, gradient):
    from qjaxsim_qiskit.estimator_qnn import compare_estimator_qnn

    found = compare_estimator_qnn(*setting, by_hand(), gradient=gradient)
    assert found.largest < 1e-12 and found.samples == 2 and found.dtype == "float64"
    assert 0 < found.seconds_ours < found.seconds_theirs and found.first_ours > found.seconds_ours


def test_other_weights_do_not_agree(setting):
    from qjaxsim_qiskit.estimator_qnn import compare_estimator_qnn

    found = compare_estimator_qnn(*setting, by_hand(turned=True))
    assert min(found.values, found.weight_gradients, found.input_gradients) > 1e-3


def test_bad_arguments(setting):
    from qjaxsim_qiskit.estimator_qnn import compare_estimator_qnn

    with pytest.raises(ValueError, match=r"`gradient` must be one of \['reverse', 'shift'\], but is 'spsa'"):
        compare_estimator_qnn(*setting, by_hand(), gradient="spsa")
    wrong = by_hand()
    wrong.assign_parameters({wrong.parameters[0]: 0.5}, inplace=True)
    with pytest.raises(ValueError, match="`circuit` must have a ParameterVector 'inputs' with 3 elements"):
        compare_estimator_qnn(*setting, wrong)
