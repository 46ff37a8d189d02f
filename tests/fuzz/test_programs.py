"""Compiled computations that are met again, against the same of NumPy: random programs that differ in one place."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given

from qjaxsim.curvature.programs import compiled_once

# A random straight-line program on registers of shape (3,): operation, operands, a number of Python, an array.
OPERATIONS = {
    "add": lambda xp, a, b, number, data: a + b,
    "subtract": lambda xp, a, b, number, data: a - b,
    "multiply": lambda xp, a, b, number, data: a * b,
    "scale": lambda xp, a, b, number, data: a * number,
    "shift": lambda xp, a, b, number, data: a + number,
    "data": lambda xp, a, b, number, data: a * data + b,
    "sine": lambda xp, a, b, number, data: xp.sin(a),
    "roll": lambda xp, a, b, number, data: xp.roll(a, int(abs(number) * 10) % 3),
    "sum": lambda xp, a, b, number, data: a + xp.sum(b),
    "sign": lambda xp, a, b, number, data: xp.copysign(a, xp.full(3, -0.0 if number < 0 else 0.0, a.dtype)),
    "select": lambda xp, a, b, number, data: xp.where(a > number, a, b),
}
STEPS = st.tuples(
    st.sampled_from(sorted(OPERATIONS)),
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from([-1.5, -0.0, 0.0, 0.5, 2.0]),
    st.integers(0, 3),
)
CHANGES = st.tuples(st.integers(0, 5), st.integers(0, 4), STEPS)


def computed(xp, steps, x, wrapped):
    """What the program gives for x (3,), its steps in a jitted function of their own if so asked."""
    constant = lambda seed: np.random.default_rng(seed).normal(size=3).astype(x.dtype)  # noqa: E731

    def run(x):
        registers = [x, x]
        for name, a, b, number, seed in steps:
            operand = lambda k: registers[k % len(registers)]  # noqa: B023, E731
            held = constant(seed) if seed % 2 else xp.asarray(constant(seed))
            registers.append(OPERATIONS[name](xp, operand(a), operand(b), number, held))
        return registers[-1]

    return (jax.jit(run) if wrapped else run)(x)


@given(
    st.lists(STEPS, min_size=1, max_size=5),
    st.lists(CHANGES, min_size=1, max_size=3),
    st.integers(0, 10**6),
    st.booleans(),
)
def test_no_computation_gets_the_program_of_another(steps, changes, seed, wrapped):
    rng = np.random.default_rng(seed)
    variants = [steps]
    for place, part, other in changes:  # one operation, operand, number or array differs
        changed = [list(step) for step in steps]
        changed[place % len(steps)][part] = other[part]
        variants.append([tuple(step) for step in changed])
    for dtype in (np.float64, np.float32):
        for variant in (*variants, steps):
            x = rng.normal(size=3).astype(dtype)
            found = compiled_once(lambda x, variant=variant: computed(jnp, variant, x, wrapped), jnp.asarray(x))
            want = computed(np, variant, x, wrapped=False)
            assert found.dtype == want.dtype
            np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-5)
            np.testing.assert_array_equal(np.signbit(found)[want == 0], np.signbit(want)[want == 0])
