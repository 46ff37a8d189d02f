"""Random circuits under transformations against the dense reference, and malformed calls drawn at random."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

import qjaxsim as qj
from qjaxsim.circuits import reference
from qjaxsim.circuits.dense import pauli_matrix
from qjaxsim.circuits.gates import GATES
from tests.random_circuits import CHOICES, parameters_for, random_circuit

# Larger circuits are drawn in the files of fixed seeds: their dense references take the time.
MOST_QUBITS = 6
# Absolute errors of values and of slopes: against single precision, and against the differences.
BOUNDS = {np.dtype(np.float64): (1e-10, 1e-7), np.dtype(np.float32): (1e-4, 1e-3)}


def dense_values(circuit, params, labels):
    """Expectation values of Pauli labels at parameters without batch axes, in double precision."""
    state = reference.statevector(circuit, {name: np.asarray(value, float) for name, value in params.items()})
    return np.array([np.vdot(state, pauli_matrix(label) @ state).real for label in labels])


def drawn(seed):
    """A circuit of at most six qubits, its labels, options and values in either precision; None for a wider one."""
    circuit, rng = random_circuit(seed)
    if circuit.n_qubits > MOST_QUBITS:
        return None
    labels = ["".join(rng.choice(list("IXYZ"), circuit.n_qubits)) for _ in range(2)]
    options = qj.PlanOptions(**CHOICES[seed % len(CHOICES)])
    return circuit, labels, options, rng


@pytest.mark.slow
@settings(max_examples=max(5, settings.default.max_examples // 4))
@given(st.integers(1000, 10**6), st.sampled_from([np.float64, np.float32]))
def test_values_and_derivatives_equal_those_of_the_dense_reference(seed, dtype):
    if (found := drawn(seed)) is None:
        return
    circuit, labels, options, rng = found
    close, near = BOUNDS[np.dtype(dtype)]
    # Central differences of `abs`, `sign` and of angles near a kink are not drawn: the generator has sines alone.
    params = {name: jnp.asarray(rng.normal(size=shape), dtype) for name, shape in circuit.parameters.items()}
    run = qj.expectation(circuit, [qj.PauliSum.from_label(label) for label in labels], options=options)
    want = dense_values(circuit, params, labels)
    np.testing.assert_allclose(run(params), want, atol=close)
    if not params:
        return
    assert run(params).dtype == dtype
    direction = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), dtype), params)
    step = 1e-5
    moved = [
        {n: np.asarray(params[n], float) + step * sign * np.asarray(direction[n]) for n in params} for sign in (1, -1)
    ]
    slope = (dense_values(circuit, moved[0], labels) - dense_values(circuit, moved[1], labels)) / (2 * step)
    value, forward = jax.jvp(run, (params,), (direction,))
    np.testing.assert_allclose(value, want, atol=close)
    np.testing.assert_allclose(forward, slope, atol=near)
    pulled = jax.vjp(run, params)[1](jnp.ones(2, dtype))[0]
    total = sum(jnp.vdot(pulled[name], direction[name]) for name in params)
    np.testing.assert_allclose(total, slope.sum(), atol=near)


@pytest.mark.slow
@settings(max_examples=max(5, settings.default.max_examples // 4))
@given(st.integers(1000, 10**6))
def test_states_and_batches_equal_the_dense_reference(seed):
    if (found := drawn(seed)) is None:
        return
    circuit, labels, options, rng = found
    params, _ = parameters_for(circuit, rng, seed)
    close = BOUNDS[np.result_type(np.float32, *(value.dtype for value in params.values()))][0] if params else 1e-10
    batched = any(params[name].shape != shape for name, shape in circuit.parameters.items())
    one = [
        {n: v[i] if v.shape != circuit.parameters[n] else v for n, v in params.items()}
        for i in range(2 if batched else 1)
    ]
    states = np.array([reference.statevector(circuit, {n: v.astype(float) for n, v in each.items()}) for each in one])
    values = np.array([dense_values(circuit, each, labels) for each in one])
    run = qj.expectation(circuit, [qj.PauliSum.from_label(label) for label in labels], options=options)
    shaped = (lambda rows: rows) if batched else (lambda rows: rows[0])
    np.testing.assert_allclose(run(params), shaped(values), atol=close)
    chances = qj.probabilities(circuit, options=options)(params)
    np.testing.assert_allclose(chances, shaped(np.abs(states) ** 2), atol=close)
    stacked = {name: jnp.stack([each[name] for each in one]) for name in params}
    if params:
        np.testing.assert_allclose(jax.vmap(run)(stacked), values, atol=close)


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
    "Parameters are given",
    "The factor",
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
