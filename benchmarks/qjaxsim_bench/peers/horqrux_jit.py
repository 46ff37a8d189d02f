"""horqrux: gates as dataclasses, jitted, mapped over samples.

Under our JAX its `jit` and `grad` raise, so it is run in an environment of its own with JAX 0.6:
`--environments horqrux=FOLDER`.
"""

from typing import Any

from qjaxsim_bench.peers.base import MOST_GATES, NOT_IN_JAX, Peer, Work, jax_work, qubit_matrix
from qjaxsim_bench.tasks import Op, Task


def _gates(op: Op) -> list[Any]:
    """A gate in horqrux's own; angles by name, which leaves them to the values of a call."""
    import horqrux.primitives as hx

    name, q, angle = op
    value: Any = f"t{angle}" if isinstance(angle, int) else angle
    if name in ("rx", "ry", "rz"):
        return [getattr(hx, name.upper())(value, q[0])]
    if name in ("p", "cp"):
        return [hx.PHASE(value, q[-1], *q[:-1])]
    if name == "rzz":
        return [hx.X(q[1], q[0]), hx.RZ(value, q[1]), hx.X(q[1], q[0])]
    if name in ("cx", "ccx", "cz"):
        gate = hx.Z if name == "cz" else hx.X
        return [gate(q[-1], q[0] if len(q) == 2 else q[:-1])]
    if name in ("swap", "cswap"):
        return [hx.SWAP(q[-2:], *q[:-2])]
    return [getattr(hx, name.upper())(q[0])]


def prepare(task: Task, dtype: str) -> Work:
    """The task with horqrux's circuit and observables."""
    import horqrux
    import jax.numpy as jnp
    from horqrux.composite import Observable, OpSequence, Scale
    from horqrux.primitives import X, Y, Z

    circuit = OpSequence([gate for op in task.ops for gate in _gates(op)])
    letters = {"X": X, "Y": Y, "Z": Z}

    def state(theta: Any) -> Any:
        start = horqrux.zero_state(task.n_qubits)
        return circuit(start, {f"t{i}": theta[i] for i in range(theta.shape[0])})

    def term(word: str, qubits: tuple[int, ...], value: float) -> Any:
        return Scale([letters[w](q) for w, q in zip(word, qubits, strict=True)], value)

    def values(task: Task) -> Any:
        chosen = [Observable([term(*part) for part in terms]) for terms in qubit_matrix(task)]

        def run(theta: Any) -> Any:
            psi = state(theta)
            return jnp.stack([observable(psi) for observable in chosen])

        return run

    return jax_work(task, dtype, lambda t: lambda theta: state(theta).reshape(-1), values)


PEERS = {
    "horqrux": Peer(
        "horqrux",
        ("horqrux", "jax"),
        "OpSequence, jax.jit, differentiated by JAX, jax.vmap over samples; an environment of its own",
        ("double",),
        {
            "state": 12,
            "gradient": 12,
            "energy-hessian": 12,
            "kernel": 8,
            "hybrid": 8,
            "hvp": 4,
            "hessian": 8,
            "qnn": 4,
        },
        prepare,
        ("jax", "horqrux"),
        MOST_GATES,
        (*NOT_IN_JAX, "unitary", "sx", "sxdg", "sdg", "tdg"),
    )
}
