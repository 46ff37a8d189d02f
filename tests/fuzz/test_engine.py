"""Random circuits under transformations against the dense reference, and malformed calls drawn at random."""

import importlib.util
from pathlib import Path

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

import qjaxsim as qj
from qjaxsim import reference
from qjaxsim.gates import GATES, pauli_matrix

pytestmark = pytest.mark.usefixtures("quick_compiler")

_place = importlib.util.spec_from_file_location("circuits", Path(__file__).parents[1] / "test_random_circuits.py")
circuits = importlib.util.module_from_spec(_place)
_place.loader.exec_module(circuits)


def dense_values(circuit, params, labels):
    state = reference.statevector(circuit, params)
    return np.array([np.vdot(state, pauli_matrix(label) @ state).real for label in labels])


@settings(max_examples=max(2, settings.default.max_examples // 4))
@given(st.integers(1000, 10**6))
def test_values_and_derivatives_equal_those_of_the_dense_reference(seed):
    circuit, rng = circuits.random_circuit(seed)
    if circuit.n_qubits > 4:
        return
    # Central differences of `abs`, `sign` and of angles near a kink are not drawn: the generator has sines alone.
    params = {name: jnp.asarray(rng.normal(size=shape)) for name, shape in circuit.parameters.items()}
    labels = ["".join(rng.choice(list("IXYZ"), circuit.n_qubits)) for _ in range(2)]
    options = qj.PlanOptions(**circuits.CHOICES[seed % len(circuits.CHOICES)])
    run = qj.expectation(circuit, [qj.PauliSum.from_label(label) for label in labels], options=options)
    want = dense_values(circuit, params, labels)
    np.testing.assert_allclose(run(params), want, atol=1e-10)
    chances = qj.probabilities(circuit, options=options)(params)
    np.testing.assert_allclose(chances, np.abs(reference.statevector(circuit, params)) ** 2, atol=1e-10)
    if not params:
        return
    direction = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), params)
    step = 1e-5
    ends = [jax.tree.map(lambda p, d: p + sign * step * d, params, direction) for sign in (1, -1)]  # noqa: B023
    slope = (dense_values(circuit, ends[0], labels) - dense_values(circuit, ends[1], labels)) / (2 * step)
    np.testing.assert_allclose(jax.jvp(run, (params,), (direction,))[1], slope, atol=1e-7)
    pulled = jax.vjp(run, params)[1](jnp.ones(2))[0]
    total = sum(jnp.vdot(pulled[name], direction[name]) for name in params)
    np.testing.assert_allclose(total, slope.sum(), atol=1e-7)
    stacked = jax.tree.map(lambda p, d: jnp.stack([p, p + step * d]), params, direction)
    rows = np.stack([want, dense_values(circuit, ends[0], labels)])
    np.testing.assert_allclose(run(stacked), rows, atol=1e-10)
    np.testing.assert_allclose(jax.vmap(run)(stacked), rows, atol=1e-10)


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 5),
    st.floats(),
    st.text(max_size=3),
    st.lists(st.integers(-1, 3), max_size=3),
    st.sampled_from([np.int64(1), np.array([0, 1]), np.array(0.5), 1j, {}, object, qj.Parameter("x"), qj.Z(0)]),
)
OURS = (TypeError, ValueError, AttributeError)
WORDS = (
    "Argument",
    "Qubit",
    "Gate",
    "Unknown gate",
    "An angle",
    "Parameter",
    "A Circuit",
    "A Pauli",
    "Pauli",
    "Coeff",
    "Batch axes",
    "Observable",
)


def refused_or_fine(call):
    try:
        call()
    except OURS as error:
        assert str(error).startswith(WORDS) and "\n" not in str(error), repr(error)


@given(st.sampled_from(sorted(GATES)), st.lists(ODD, max_size=5))
def test_gates_take_odd_arguments_or_say_why_not(name, arguments):
    circuit = qj.Circuit(3)
    refused_or_fine(lambda: getattr(circuit, name)(*arguments))


@given(
    st.sampled_from(["append", "unitary", "project", "repeat", "compose", "cnot", "measure", "rzxx"]),
    st.lists(ODD, min_size=2, max_size=2),
)
def test_other_methods_take_odd_arguments_or_say_why_not(name, arguments):
    refused_or_fine(lambda: getattr(qj.Circuit(2), name)(*arguments))


@given(ODD)
def test_functions_take_odd_arguments_or_say_why_not(value):
    x = qj.Parameter("x")
    circuit = qj.Circuit(1).rx(x, 0)
    for call in (
        lambda: qj.Circuit(value),
        lambda: qj.expectation(circuit, value),
        lambda: qj.probabilities(circuit, value),
        lambda: qj.sample(circuit, value),
        lambda: qj.statevector(value),
        lambda: qj.expectation(circuit, qj.Z(0))({"x": value}),
        lambda: qj.expectation(circuit, qj.Z(0))(value),
        lambda: qj.Z(value),
        lambda: qj.PauliSum.from_label(value),
        lambda: qj.Parameter("y", value),
    ):
        refused_or_fine(call)
