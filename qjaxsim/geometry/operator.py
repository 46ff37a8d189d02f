"""The quantum Fisher information matrix by its products with vectors: for more parameters than a matrix is made for."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.circuits.circuit import Circuit, require_circuit
from qjaxsim.common.checks import shown
from qjaxsim.curvature.chunks import at_once
from qjaxsim.curvature.operators import LinearOperator
from qjaxsim.geometry.tangents import Wrt, run_of
from qjaxsim.geometry.tensor import each_sample
from qjaxsim.planning.doubling import is_mixed
from qjaxsim.planning.options import PlanOptions, plan_options
from qjaxsim.running.batching import Batch, parse_params
from qjaxsim.running.state_functions import Params
from qjaxsim.running.varying import vary_alike


def quantum_fisher_operator(
    circuit: Circuit, params: Params, wrt: Any = None, *, options: PlanOptions | None = None
) -> LinearOperator:
    """The quantum Fisher information matrix of a pure state as a `LinearOperator`, for batches their mean.

    `top_eigenpairs`, `spectral_density` and `trace_estimate` take it as they take a Hessian.

    Args:
        circuit: of a pure state: gates, initial states, projections; a snapshot is taken.
        params: where, by name; leading axes are batch axes, over which the mean is taken. Those in `wrt` have none.
        wrt: names of the parameters that derivatives are taken in, V numbers in all; default all.
        options: forced choices of the planner.

    Returns:
        LinearOperator of size V, in the order of `quantum_fisher`.

    Raises:
        ValueError: as `quantum_fisher`; for channels, measurements or resets; for batch axes of parameters in `wrt`.
        TypeError: as `quantum_fisher`.

    Cost: a product takes about two gradients of an expectation value, for each sample.

    >>> import qjaxsim as qj
    >>> a = qj.Parameter("a", (2,))
    >>> circuit = qj.Circuit(1).ry(a[0], 0).rz(a[1], 0)
    >>> operator = quantum_fisher_operator(circuit, {"a": jnp.array([np.pi / 6, 0.3])})  # diag(1, sin(a0)**2)
    >>> print(np.asarray(operator @ jnp.array([1.0, 1.0])).round(3))
    [1.   0.25]
    """
    require_circuit("circuit", circuit)
    if is_mixed(circuit):
        raise ValueError(
            "Argument `circuit` must prepare a pure state, but has channels, measurements or resets; use "
            "`quantum_fisher`."
        )
    found = Wrt(wrt, circuit.parameters)
    batch = parse_params(params, circuit.parameters, native=False)
    for name in found.names:
        axes = batch.values[name].shape[: len(batch.shape)]
        if max(axes, default=1) > 1:
            raise ValueError(
                f"Argument `params` must hold parameters in `wrt` without batch axes, but {name!r} has {shown(axes)}; "
                "leave it out of `wrt`, or make an operator for each of its values."
            )
    images = _images(circuit.copy(), found, batch, plan_options(options))
    return LinearOperator(found.size, np.dtype(batch.dtype), jax.jit(images))


def _images(circuit: Circuit, wrt: Wrt, batch: Batch, options: PlanOptions) -> Callable[[jax.Array], jax.Array]:
    run = run_of(circuit, options)
    numbers = 2 ** (circuit.n_qubits + 1)

    def sample(rows: jax.Array, env: Mapping[str, jax.Array]) -> jax.Array:
        flat = wrt.join(env)
        state, push = jax.linearize(lambda at: run(wrt.split(at, env), batch.dtype), flat)
        pull = jax.linear_transpose(push, flat)
        norm = (state * state).sum()

        def image(row: jax.Array) -> jax.Array:
            tangent = push(row) / norm
            # |psi><psi| tangent, the real and imaginary parts of states apart.
            real = (state * tangent).sum() / norm
            imaginary = (state[0] * tangent[1] - state[1] * tangent[0]).sum() / norm
            turned = jnp.stack([-state[1], state[0]])
            return 4 * pull(tangent - real * state - imaginary * turned)[0]

        return jax.vmap(image)(rows)

    def images(rows: jax.Array) -> jax.Array:
        rows = vary_alike(rows, batch.values)
        most = max(at_once().numbers // (numbers * len(rows)), 1)
        every = each_sample(batch, lambda env: sample(rows, env), most)
        return every.reshape(-1, *rows.shape).mean(axis=0)

    return images
