"""Parameters and expressions: values, text, affine form, and angles through the engine."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.circuits import reference

x, w, s = qj.Parameter("x", (2,)), qj.Parameter("w", (2, 3)), qj.Parameter("s")
VALUES = {"x": np.array([0.3, -0.8]), "w": np.linspace(-0.7, 0.9, 6).reshape(2, 3), "s": np.array(0.45)}

# Every operation and elementary function, with what NumPy makes of it.
CASES = {
    "add": (x[0] + w[1, 2], lambda x, w, s: x[0] + w[1, 2]),
    "radd": (2 + x[0], lambda x, w, s: 2 + x[0]),
    "sub": (x[0] - w[0, 1], lambda x, w, s: x[0] - w[0, 1]),
    "rsub": (2 - s, lambda x, w, s: 2 - s),
    "sub of sub": (x[0] - (x[1] - s), lambda x, w, s: x[0] - (x[1] - s)),
    "sub of add": (x[0] - (x[1] + s), lambda x, w, s: x[0] - (x[1] + s)),
    "mul": (x[1] * w[0, 0], lambda x, w, s: x[1] * w[0, 0]),
    "rmul": (3 * s, lambda x, w, s: 3 * s),
    "div": (x[1] / s, lambda x, w, s: x[1] / s),
    "div by number": (x[1] / 4, lambda x, w, s: x[1] / 4),
    "rdiv": (1 / s, lambda x, w, s: 1 / s),
    "div of div": (x[0] / (x[1] / s), lambda x, w, s: x[0] / (x[1] / s)),
    "pow": (s**3, lambda x, w, s: s**3),
    "pow of negative": (x[1] ** 2, lambda x, w, s: x[1] ** 2),
    "pow of two": (s ** x[0], lambda x, w, s: s ** x[0]),
    "rpow": (2 ** x[1], lambda x, w, s: 2 ** x[1]),
    "neg": (-x[0], lambda x, w, s: -x[0]),
    "neg of sum": (-(x[0] + s), lambda x, w, s: -(x[0] + s)),
    "neg of product": (-(x[0] * s), lambda x, w, s: -(x[0] * s)),
    "neg of pow": (-(x[0] ** 2), lambda x, w, s: -(x[0] ** 2)),
    "pow of neg": ((-x[0]) ** 2, lambda x, w, s: (-x[0]) ** 2),
    "affine": (2 * x[0] - 1 + x[0] / 4, lambda x, w, s: 2.25 * x[0] - 1),
    "abs": (abs(x[1]), lambda x, w, s: abs(x[1])),
    "sign": (x[1].sign() * s, lambda x, w, s: np.sign(x[1]) * s),
    "sqrt": (s.sqrt() + np.sqrt(s), lambda x, w, s: 2 * np.sqrt(s)),
    "sin": (x[0].sin(), lambda x, w, s: np.sin(x[0])),
    "cos": (x[0].cos(), lambda x, w, s: np.cos(x[0])),
    "tan": (x[0].tan(), lambda x, w, s: np.tan(x[0])),
    "arcsin": (x[0].arcsin(), lambda x, w, s: np.arcsin(x[0])),
    "arccos": (x[0].arccos(), lambda x, w, s: np.arccos(x[0])),
    "arctan": (x[0].arctan(), lambda x, w, s: np.arctan(x[0])),
    "exp": (x[0].exp(), lambda x, w, s: np.exp(x[0])),
    "log": (s.log(), lambda x, w, s: np.log(s)),
    "nested": ((x[0] * w[1, 1] + 1).exp() / (s**2 + 2), lambda x, w, s: np.exp(x[0] * w[1, 1] + 1) / (s**2 + 2)),
}


@pytest.mark.parametrize("case", CASES)
def test_values_text_and_affine_form_agree_with_numpy(case):
    expression, function = CASES[case]
    value = function(**VALUES)
    got = expression.evaluate(lambda name, i: VALUES[name].reshape(-1)[i], np)
    np.testing.assert_allclose(got, value, rtol=1e-15)
    # The text read back as Python is the same function.
    names = {f: getattr(np, f) for f in ("sin", "cos", "tan", "arcsin", "arccos", "arctan", "exp", "log", "sign")}
    np.testing.assert_allclose(eval(str(expression), {**names, **VALUES, "abs": abs}), value, rtol=1e-15)
    affine = expression.affine()
    if affine is not None:
        coefficients, offset = affine
        total = offset + sum(c * VALUES[name].reshape(-1)[i] for (name, i), c in coefficients.items())
        np.testing.assert_allclose(total, value, rtol=1e-14)
    shown = "sub of sub,sub of add,add,radd,sub,rsub,rmul,div by number,neg,neg of sum,affine"
    assert (affine is not None) == (case in shown.split(","))


def test_every_expression_as_an_angle_of_weights_of_data_and_of_both():
    """One circuit of three qubits holds them all; data is x, or x and s, or w."""
    circuit = qj.Circuit(3)
    for i, (expression, _) in enumerate(CASES.values()):
        circuit.ry(expression, i % 3).append(("rx", "p", "rz")[i // 3 % 3], (i + 1) % 3, [expression * 0.7])
        circuit.cx(i % 3, (i + 1) % 3)
    rng = np.random.default_rng(3)
    run = qj.statevector(circuit)
    for names in ("", "x", "xws"):
        batch = {k: np.stack([v] * 3) * rng.uniform(0.5, 1, (3,) + (1,) * v.ndim) for k, v in VALUES.items()}
        params = {k: batch[k] if k in names else VALUES[k] for k in VALUES}
        got = run(params)
        assert got.shape == ((3, 8) if names else (8,))
        for b in range(3 if names else 1):
            one = {k: batch[k][b] if k in names else VALUES[k] for k in VALUES}
            want = reference.statevector(circuit, one)
            np.testing.assert_allclose(got[b] if names else got, want, atol=1e-13)


def test_gradient_of_expression_angles():
    circuit = qj.Circuit(3).h(2)
    for i, (expression, _) in enumerate(CASES.values()):
        circuit.cry(expression, i % 3, (i + 1) % 3).rx(expression, i % 3)
    run = jax.jit(qj.expectation(circuit, qj.X(0) @ qj.Y(1) + qj.Z(2)))
    gradient = jax.jit(jax.grad(run))({name: jnp.asarray(value) for name, value in VALUES.items()})
    for name, value in VALUES.items():
        for index in np.ndindex(value.shape):
            step = np.zeros(value.shape)
            step[index] = 1e-5
            difference = (run({**VALUES, name: value + step}) - run({**VALUES, name: value - step})) / 2e-5
            np.testing.assert_allclose(gradient[name][index], difference, atol=1e-7)


def test_derivatives_of_whole_powers_hold_at_zero():
    circuit = qj.Circuit(4).h(range(4))
    for n in range(4):
        circuit.rz(s**n + 0.3, n)
    run = qj.expectation(circuit, [qj.X(n) for n in range(4)])  # cos(s**n + 0.3)

    def f(value):
        return run({"s": value})

    first, second = jax.jit(lambda v: (jax.jacfwd(f)(v), jax.jacfwd(jax.jacrev(f))(v)))(0.0)
    np.testing.assert_allclose(first, [0, -np.sin(0.3), 0, 0], atol=1e-14)
    np.testing.assert_allclose(second, [0, -np.cos(0.3), -2 * np.sin(0.3), 0], atol=1e-14)
    with np.errstate(divide="raise"):
        np.testing.assert_allclose((s**-2).evaluate(lambda name, i: np.float64(-4), np), 1 / 16)


def test_a_long_sum_as_an_angle():
    z, v = qj.Parameter("z", (784,)), qj.Parameter("v", (784,))
    total = sum(z[i] for i in range(784)) + 0.25
    assert total.affine() == ({("z", i): 1.0 for i in range(784)}, 0.25)
    assert str(total).startswith("0+z[0]+z[1]+") and str(total).endswith("+z[783]+0.25")
    product = sum(z[i] * v[i] for i in range(784))
    values = {"z": np.linspace(0, 1, 784), "v": np.linspace(-1, 1, 784)}
    got = product.evaluate(lambda name, i: values[name][i], np)
    np.testing.assert_allclose(got, values["z"] @ values["v"])


def nested(angle, turns):
    """Two operations within one another for each turn."""
    for _ in range(turns):
        angle = angle.sin() + 0.1
    return angle


def test_deep_nesting_is_evaluated_or_refused_as_it_is_written():
    value = 0.45
    for _ in range(200):
        value = np.sin(value) + 0.1
    np.testing.assert_allclose(nested(s, 200).evaluate(lambda name, i: 0.45, np), value)
    with pytest.raises(ValueError, match="must be nested at most 400 operations deep, but one is deeper"):
        nested(s, 201)


def test_indexing_and_iteration():
    assert len(w) == 2 and len(w[0]) == 3
    assert [str(e) for e in w[1]] == ["w[1, 0]", "w[1, 1]", "w[1, 2]"]
    assert [[e for e in row] for row in w] == [[w[i, j] for j in range(3)] for i in range(2)]
    assert w[-1, -1] == w[1, 2] == w[1][2] == w[np.int64(1), np.int64(2)]
    assert w[1, 2].flat_index == 5 and w[0, 1].flat_index == 1
    assert qj.Parameter("a", 3) == qj.Parameter("a", [3]) == qj.Parameter("a", np.int64(3))
    assert [e.name for e in (x[0] * s + x[1]).elements()] == ["x", "s", "x"]


def test_equality_is_as_written():
    assert x[0] + 1 == x[0] + 1
    assert x[0] + 1 != 1 + x[0]
    assert hash(x[0] * s) == hash(x[0] * s)
    negative = -x[0]
    assert -negative == x[0]
    assert x[0] * 1.00000001 != x[0] * 1.00000002
    assert (x[0] + x[1]) + s != x[0] + (x[1] + s)


def test_numpy_numbers_stand_on_either_side():
    for number in (np.float64(2), np.float32(2), np.int64(2)):
        assert number * x[0] == 2 * x[0] == 2.0 * x[0]
        assert number + s == 2 + s
        assert s**number == s**2


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: qj.Parameter(""), ValueError, "Argument `name` must be a non-empty string, but is ''"),
        (lambda: qj.Parameter(3), ValueError, "Argument `name` must be a non-empty string, but is 3"),
        (lambda: qj.Parameter("a", (2, 0)), ValueError, r"`shape` of parameter 'a' must hold .* but is \(2, 0\)"),
        (lambda: qj.Parameter("a", 2.5), ValueError, r"must hold positive integers, but is \(2.5,\)"),
        (lambda: qj.Parameter("a", -1), ValueError, r"must hold positive integers, but is \(-1,\)"),
        (lambda: len(s), TypeError, "Parameter 's' is a scalar and has no length"),
        (lambda: s[0], IndexError, r"Parameter 's' has shape \(\), so index \(0,\) has too many entries"),
        (lambda: w[0, 1, 2], IndexError, r"has shape \(2, 3\), so index \(0, 1, 2\) has too many entries"),
        (lambda: w[0][3], IndexError, r"so index \(0, 3\) is out of range"),
        (lambda: w[-3], IndexError, r"so index \(-3,\) is out of range"),
        (lambda: w[:, 0], TypeError, "Parameter 'w' takes integer indices, but got"),
        (lambda: w["a"], TypeError, "Parameter 'w' takes integer indices, but got 'a'"),
        (lambda: w[0] + 1, ValueError, r"Parameter 'w' has shape \(2, 3\), but an angle is one number; index it down"),
        (lambda: x[0] + "a", TypeError, r"must be a real number or an expression of parameters, but is 'a' \(str\)"),
        (lambda: x[0] * 1j, TypeError, r"must be a real number .* but is 1j \(complex\)"),
        (lambda: x[0] * True, TypeError, r"but is True \(bool\)"),
        (lambda: x[0] - np.nan, ValueError, "An angle must be finite, but is nan"),
        (lambda: np.inf / x[0], ValueError, "An angle must be finite, but is inf"),
        (lambda: s / 0, ZeroDivisionError, "The divisor of an expression must not be zero, but is"),
        (lambda: (x[0] + 1) / np.float64(0), ZeroDivisionError, "The divisor of an expression must not be zero"),
        (lambda: 2 / (s * 0) / -0.0, ZeroDivisionError, "The divisor of an expression must not be zero"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()
