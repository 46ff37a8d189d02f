"""Problems that several test files share, as plain functions."""

import contextlib
import html
import io
import itertools
import re
import shutil
import socket

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.studies.shared.listing import first_table, list_runs
from qjaxsim.studies.shared.run import load_run
from qjaxsim.studies.shared.side_by_side import side_by_side, write_page


def mostly_slow(values, keep=1):
    """Values of a parametrisation of which the first `keep`, or those at the places `keep`, are in every run.

    The others repeat what those find and are marked slow. A tuple holds the values of several arguments.
    """
    kept = range(keep) if isinstance(keep, int) else keep
    return [_parameters(value, place not in kept) for place, value in enumerate(values)]


def _parameters(value, slow):
    marks = [pytest.mark.slow] * slow
    if hasattr(value, "marks"):  # a pytest.param already
        return value._replace(marks=[*value.marks, *marks])
    return pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=marks)


def free_port():
    """A port of this machine that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def layered(n_qubits, depth, entangler="cx", ring=False, data=True):
    """RY encoding of `data`, then RX RY RZ on every qubit and entanglers on pairs, or on a `ring`, `depth` times."""
    x, w = qj.Parameter("x", (n_qubits,)), qj.Parameter("w", (n_qubits, 3))
    layer, circuit = qj.Circuit(n_qubits), qj.Circuit(n_qubits)
    for q in range(n_qubits):
        layer.rx(w[q, 0], q).ry(w[q, 1], q).rz(w[q, 2], q)
        if data:
            circuit.ry(x[q], q)
    for q in range(n_qubits) if ring else range(0, n_qubits - 1, 2):
        layer.append(entangler, (q, (q + 1) % n_qubits))
    return circuit.repeat(layer, depth)


def written_out(n_qubits, depth):
    """RX RY RZ on every qubit and CNOTs on even and odd pairs in turn, each layer with weights of its own."""
    w, circuit = qj.Parameter("w", (depth, n_qubits, 3)), qj.Circuit(n_qubits)
    for i in range(depth):
        for q in range(n_qubits):
            circuit.rx(w[i, q, 0], q).ry(w[i, q, 1], q).rz(w[i, q, 2], q)
        for q in range(i % 2, n_qubits - 1, 2):
            circuit.cx(q, q + 1)
    return circuit


def equations(jaxpr):
    """All equations of a program, those of inner programs (scans, jits) included."""
    for equation in jaxpr.eqns:
        yield equation
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda v: hasattr(v, "jaxpr")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


def program(function, *arguments):
    """All equations of a function's program."""
    return list(equations(jax.make_jaxpr(function)(*arguments).jaxpr))


def network(params, x):
    """Logits of two dense layers: 5 inputs, 4 hidden units; a model that is no circuit."""
    return jnp.tanh(x["image"] @ params["hidden"]) @ params["head"]


def network_problem(dtype=jnp.float64, n_samples=13, n_classes=3):
    """Parameters, inputs and labels for `network`."""
    keys = jax.random.split(jax.random.key(7), 4)
    params = {
        "hidden": jax.random.normal(keys[0], (5, 4), dtype),
        "head": jax.random.normal(keys[1], (4, n_classes), dtype),
    }
    x = {"image": jax.random.normal(keys[2], (n_samples, 5), dtype)}
    return params, x, jax.random.randint(keys[3], (n_samples,), 0, n_classes)


def qubo_file(folder):
    """Three variables, two couplings, lowest energy -2."""
    path = folder / "problem.coo"
    path.write_text("# vartype=BINARY\n0 0 -1\n1 1 -2\n3 3 1\n0 1 2.5\n1 3 -0.5\n")
    return path


def assert_compares_with_itself(out, copy, headline):
    """A real run is listed with its number, and beside its copy differs in nothing."""
    shutil.copytree(out, copy)
    (listed,) = list_runs([copy]).rows
    assert listed["headline"].column == headline and listed["state"] == "finished"
    found = side_by_side([load_run(out), load_run(copy)])
    numbered = [row for row in first_table(load_run(out)) if row.get(headline) is not None]
    assert found.headline == headline and found.settings == [] and len(found.short) == len(numbered) > 0
    assert {row["B - A"] for row in found.shared} == {0}
    assert write_page(found, copy, "again").is_file() and (copy / "compare.png").is_file()


def run_lines_of_page(page):
    """What the lines print that a report has under "Use it in Python"."""
    (lines,) = re.findall(r">Use it in Python</h2>\n<pre>(.*?)</pre>", page.read_text(encoding="utf-8"), re.DOTALL)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(html.unescape(lines), {})
    return printed.getvalue()


def rows_where(rows, **wanted):
    """Rows with these values in their columns."""
    return [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]


def one(rows, **wanted):
    """The only such row."""
    (found,) = rows_where(rows, **wanted)
    return found


def assignments(n, vartype="BINARY"):
    """All values of binary variables or spins, (2**n, n), the last one changing first."""
    return np.array(list(itertools.product((0, 1) if vartype == "BINARY" else (-1, 1), repeat=n)))
