"""qujax: state tensors from lists of gates, jitted, mapped over samples. Its angles are in units of pi."""

from typing import Any

import numpy as np

from qjaxsim_bench.peers.base import MOST_GATES, NOT_IN_JAX, Peer, Work, jax_work, qubit_matrix
from qjaxsim_bench.peers.gate_by_gate import matrix
from qjaxsim_bench.tasks import Task

GATES = {
    "rx": "Rx", "ry": "Ry", "rz": "Rz", "h": "H", "x": "X", "y": "Y", "z": "Z", "s": "S", "sdg": "Sdg",
    "t": "T", "tdg": "Tdg", "sx": "SX", "cx": "CX", "cz": "CZ", "swap": "SWAP", "ccx": "CCX", "cswap": "CSWAP",
}  # fmt: skip


def prepare(task: Task, dtype: str) -> Work:
    """The task with functions that qujax makes."""
    import jax.numpy as jnp
    import qujax

    complex_type = jnp.complex64 if dtype == "single" else jnp.complex128
    numbers: list[float] = []  # angles that are numbers go behind the parameters
    names, qubits, places = [], [], []
    size = 1 + max((angle for _, _, angle in task.ops if isinstance(angle, int)), default=-1)
    for name, where, angle in task.ops:
        names.append(_gate(name, angle))
        qubits.append(list(where))
        if isinstance(angle, float):
            numbers.append(angle)
            angle = size + len(numbers) - 1
        places.append([angle] if isinstance(angle, int) else [])
    run = qujax.get_params_to_statetensor_func(names, qubits, places, task.n_qubits)
    start = jnp.zeros((2,) * task.n_qubits, complex_type).at[(0,) * task.n_qubits].set(1)

    def state(theta: Any) -> Any:
        if not any(places):
            return run(start)
        full = jnp.concatenate([theta, jnp.asarray(numbers, theta.dtype)]) / np.asarray(np.pi, theta.dtype)
        return run(full, start)

    def values(task: Task) -> Any:
        functions = [
            qujax.get_statetensor_to_expectation_func(
                [list(word) for word, _, _ in terms], [list(q) for _, q, _ in terms], [v for _, _, v in terms]
            )
            for terms in qubit_matrix(task)
        ]
        return lambda theta: (lambda psi: jnp.stack([f(psi).real for f in functions]).astype(theta.dtype))(state(theta))

    return jax_work(task, dtype, lambda t: lambda theta: state(theta).reshape(-1), values)


def _gate(name: str, angle: Any) -> Any:
    """Its own name, or a tensor or function of the angle in units of pi, which it takes as well."""
    import jax.numpy as jnp

    if name in GATES:
        return GATES[name]
    if name in ("unitary", "sxdg"):
        found = matrix(name, angle, jnp.result_type(complex))
        return found.reshape((2,) * (2 * (len(found).bit_length() - 1)))
    return lambda turns: (lambda m: m.reshape((2,) * (2 if name == "p" else 4)))(
        matrix(name, jnp.pi * turns, jnp.result_type(turns.dtype, jnp.complex64))
    )


PEERS = {
    "qujax": Peer(
        "qujax",
        ("qujax", "jax"),
        "get_params_to_statetensor_func, jax.jit, jax.vmap over samples",
        ("single", "double"),
        # No "expectation": strings of three letters raise, for the logarithm of 64 is rounded down.
        {
            "state": 12,
            "gradient": 12,
            "energy-hessian": 12,
            "metric": 10,
            "kernel": 8,
            "hybrid": 8,
            "hvp": 4,
            "hessian": 8,
            "qnn": 4,
        },
        prepare,
        ("jax", "qujax"),
        MOST_GATES,
        NOT_IN_JAX,
    )
}
