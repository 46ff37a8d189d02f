"""TensorCircuit-NG with its JAX backend, jitted, mapped over samples."""

from typing import Any

from qjaxsim_bench.families import angle_sets
from qjaxsim_bench.peers.base import MOST_GATES, NOT_IN_JAX, Peer, Work, compiled, jax_work, qubit_matrix
from qjaxsim_bench.peers.gate_by_gate import matrix
from qjaxsim_bench.tasks import Task

GATES = {"cx": "cnot", "cp": "cphase", "p": "phase", "ccx": "toffoli", "cswap": "fredkin", "sdg": "sd"}


def prepare(task: Task, dtype: str) -> Work:
    """The task with its circuits."""
    import tensorcircuit as tc

    tc.set_backend("jax")
    tc.set_dtype("complex64" if dtype == "single" else "complex128")
    backend = tc.backend

    def circuit(task: Task, theta: Any) -> Any:
        made = tc.Circuit(task.n_qubits)
        for name, qubits, angle in task.ops:
            value = theta[angle] if isinstance(angle, int) else angle
            # It has no name for two of these, and its matrix of the last one is off by 1e-8.
            if name in ("unitary", "sx", "sxdg", "tdg"):
                made.any(*qubits, unitary=matrix(name, value, tc.dtypestr))
                continue
            arguments = {} if value is None else {"theta": value}
            getattr(made, GATES.get(name, name))(*qubits, **arguments)
        return made

    def values(task: Task) -> Any:
        def run(theta: Any) -> Any:
            made = circuit(task, theta)
            out = []
            for terms in qubit_matrix(task):
                parts = [
                    value
                    * made.expectation_ps(
                        **{axis: [q for w, q in zip(word, qubits, strict=True) if w == axis.upper()] for axis in "xyz"}
                    )
                    for word, qubits, value in terms
                ]
                out.append(backend.real(sum(parts)))
            return backend.stack(out)

        return run

    if task.kind == "metric":
        import jax
        from tensorcircuit import experimental

        metric = experimental.qng(lambda theta: circuit(task, theta).state(), postprocess=None)
        sets = backend.cast(backend.convert_to_tensor(angle_sets(task)), tc.rdtypestr)
        return compiled(lambda given: jax.vmap(metric)(given).real, sets)
    return jax_work(task, dtype, lambda t: lambda theta: circuit(t, theta).state(), values)


PEERS = {
    "tensorcircuit": Peer(
        "tensorcircuit",
        ("tensorcircuit-ng", "jax"),
        "jax backend, default contractor, jax.jit, jax.vmap over samples",
        ("single", "double"),
        {
            "state": 12,
            "gradient": 12,
            "energy-hessian": 12,
            "kernel": 8,
            "metric": 10,
            "hybrid": 8,
            "hvp": 4,
            "hessian": 8,
            "qnn": 4,
        },
        prepare,
        ("jax", "tensorcircuit"),
        MOST_GATES,
        NOT_IN_JAX,
    )
}
