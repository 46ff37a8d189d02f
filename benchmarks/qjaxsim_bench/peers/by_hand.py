"""This engine given by hand the form that it should find: a peer of its own where the usual form is another.

What a kernel's CX P CX do is written as phases, separately named parameters as one vector, a sum built term by term as
one dictionary, and a Hessian outside `jax.jit` inside it.
"""

import itertools
import math
from typing import Any

from qjaxsim_bench.peers import ours
from qjaxsim_bench.peers.base import OURS, Peer, Work, compiled
from qjaxsim_bench.tasks import Task


def prepare(task: Task, dtype: str) -> Work:
    """The task in its better form."""
    import jax
    import jax.numpy as jnp

    import qjaxsim as qj

    if task.kind == "kernel":
        return ours.kernel(_phases(task), task, dtype)
    if task.kind == "pauli-sum":
        words = {tuple(zip(qubits, word, strict=True)): value for word, qubits, value in task.terms}
        return Work(lambda: qj.PauliSum(words), ours.coefficients(task))
    theta = jnp.asarray(task.theta, jnp.float32 if dtype == "single" else jnp.float64)
    if task.kind == "eager-hessian":
        energy = qj.expectation(ours.circuit(task), ours.observables(task)[0])
        return compiled(lambda t: qj.hessian(energy, {"weights": t}), theta)
    run = qj.statevector(ours.circuit(task))
    return Work(lambda: jax.block_until_ready(run({"weights": theta})))


def _phases(task: Task) -> Any:
    """The ZZ feature map with the phase between two CNOTs as phases: of either qubit, and less twice of both."""
    import qjaxsim as qj

    n = task.n_qubits
    x, made = qj.Parameter("x", (n,)), qj.Circuit(n)
    for _ in range(task.extra["repetitions"]):
        for q in range(n):
            made.h(q).p(2 * x[q], q)
        for i, j in itertools.combinations(range(n), 2):
            phase = 2 * (math.pi - x[i]) * (math.pi - x[j])
            made.p(phase, i).p(phase, j).cp(-2 * phase, i, j)
    return made


_KINDS = dict.fromkeys(("kernel", "pauli-sum", "eager-hessian", "parameters"), 30)
PEERS = {
    "by-hand": Peer(
        "by-hand",
        ("qjaxsim", "jax"),
        f"{OURS}, given by hand the form that its planner should find",
        ("single", "double"),
        _KINDS,
        prepare,
        ("jax", "qjaxsim.curvature"),
    )
}
