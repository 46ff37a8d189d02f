"""The adjoint sweep: memory and programs that do not grow with depth, and when it is chosen."""

import re
from collections import Counter

import jax
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.planning.plan import make_plan
from qjaxsim.planning.steps import Dense, Loop
from qjaxsim.running import adjoint
from tests.cases import layered, mostly_slow


def layers(n, depth):
    return layered(n, depth, ring=True, data=False)


def scratch(depth, gradient, second_order):
    """Temporary bytes of a compiled gradient or Hessian-vector product of 10 qubits, in states."""
    values = qj.expectation(layers(10, depth), qj.Z(0) @ qj.Z(1), options=qj.PlanOptions(gradient=gradient))

    def derivative(w, v):
        slope = jax.grad(lambda w: values({"w": w}))
        return jax.jvp(slope, (w,), (v,))[1] if second_order else slope(w)

    w = jax.ShapeDtypeStruct((depth, 10, 3), np.float64)
    return jax.jit(derivative).lower(w, w).compile().memory_analysis().temp_size_in_bytes / (16 * 2**10)


@pytest.mark.thorough
@pytest.mark.parametrize("second_order", mostly_slow([False, True], keep=[1]))
def test_compiled_memory_does_not_grow_with_depth(second_order):
    shallow, deep = scratch(16, "adjoint", second_order), scratch(256, "adjoint", second_order)
    assert deep <= 1.05 * shallow
    assert deep < 40
    assert scratch(64, "backprop", second_order) > 10 * deep


def test_programs_do_not_grow_with_depth():
    def length(depth):
        values = qj.expectation(layers(4, depth), qj.Z(0), options=qj.PlanOptions(gradient="adjoint"))
        w = jax.ShapeDtypeStruct((depth, 4, 3), np.float64)
        slope = jax.grad(lambda w: values({"w": w}))
        return len(str(jax.make_jaxpr(lambda w: jax.jvp(slope, (w,), (w,)))(w)).splitlines())

    assert length(8) == length(80)


@pytest.mark.parametrize("gradient", ["adjoint", "backprop"])
def test_pairs_and_stacks_come_apart_in_one_equation_and_identities_are_constants(gradient):
    """A slice for each piece would have a padded copy of the whole for its derivative, and a sum over those."""
    w, x = qj.Parameter("w", (3,)), qj.Parameter("x", (3,))
    circuit = qj.Circuit(3)
    for q in range(3):
        circuit.ry(x[q], q).rx(w[q], q).cx(q, (q + 1) % 3)
    circuit.crz(w[0], 0, 2).rx(w[1], 1)
    values = qj.expectation(circuit, qj.Z(0) @ qj.X(2), options=qj.PlanOptions(gradient=gradient))
    found = jax.make_jaxpr(jax.grad(lambda params: values(params).sum()))({"w": np.ones(3), "x": np.ones((5, 3))})
    count = Counter(re.findall(r" = (\w+)", str(found)))
    assert count["unstack"] > count["squeeze"] and count["stack"] > count["pad"]
    assert count["iota"] == count["eq"] == 0


def test_the_choice_follows_the_states_that_backpropagation_would_keep():
    options = qj.PlanOptions()

    def chosen(depth, n=10, columns=1):
        return adjoint.uses_adjoint(make_plan(layers(n, depth)), columns, 8, options)

    depths = [2**i for i in range(1, 14)]
    decisions = [chosen(depth) for depth in depths]
    assert decisions == sorted(decisions) and {True, False} == set(decisions)
    assert chosen(64, columns=512) and not chosen(64)
    few, many = (adjoint.kept_bytes(make_plan(layers(10, d)).steps, 10, 1, 8) for d in (10, 30))
    assert many == 3 * few
    state = 16 * 2**10
    (loop,) = [step for step in make_plan(layers(10, 10)).steps if isinstance(step, Loop)]
    products = sum(isinstance(step, Dense) for step in loop.body.steps)
    assert few == 10 * products * state
    plan = make_plan(layers(10, 2**13))
    assert not adjoint.uses_adjoint(plan, 1, 8, qj.PlanOptions(gradient="backprop"))
