"""Fisher matrices of a model's probabilities and losses, and its neural tangent kernel."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common.checks import is_traced, positive_integer
from qjaxsim.common.memory import require_memory
from qjaxsim.common.precision import HIGHEST
from qjaxsim.curvature.chunks import at_once
from qjaxsim.curvature.hvp import flatten_real, symmetrised
from qjaxsim.curvature.objective import Loss, ModelShapes, Outputs, check_model, check_outputs, gauss_newton_block
from qjaxsim.curvature.programs import compiled_once
from qjaxsim.curvature.spreading import spread_of
from qjaxsim.running.array_types import to_jax
from qjaxsim.running.varying import vary, vary_alike


def classical_fisher(
    probabilities: Callable[..., jax.Array], params: Any, x: Any = None, *, batch_size: int | None = None
) -> jax.Array:
    """The Fisher information matrix of a model's probabilities, mean over x of sum_k dp_k dp_k^T / p_k.

    That of `jax.nn.softmax` of logits is the Gauss-Newton matrix of the cross-entropy.

    Args:
        probabilities: maps (params, x) to probabilities of K outcomes a sample, (B, K); `qj.probabilities` with
            parameters filled in does, and so does a softmax. Without x it maps params to those of one, (K,), as
            `qj.probabilities` does as it is.
        params: pytree of real float arrays of one dtype, P numbers in all.
        x: inputs, pytree of arrays with N samples along axis 0; None for a model without inputs.
        batch_size: samples whose derivatives are held at once; default some dozens.

    Returns:
        Array of shape (P, P), in `ravel_pytree` order. Outcomes of probability zero are left out: dp is zero there too,
        and the limit of dp**2 / p depends on the way to that point. Under JAX's transformations NaN where probabilities
        are below zero or do not add up to one.

    Raises:
        TypeError: if params holds anything but real floats of one dtype.
        ValueError: if probabilities returns another shape or, outside JAX's transformations, numbers that are no
            probabilities of all outcomes; or if batch_size is not a positive integer.
        MemoryError: if the matrix does not fit.

    Cost: P derivatives of all outputs (N K gradients beyond 2,000 parameters) and N K P**2 multiply-adds. Works under
    `jax.jit` and `jax.vmap` (over params, for example); outside compiled once, as `qj.hessian`.

    >>> coin = lambda w, x: jnp.stack([x * w[0], 1 - x * w[0]], axis=1)
    >>> found = classical_fisher(coin, jnp.array([0.25]), jnp.ones(3))  # 1 / (p (1 - p))
    >>> round(float(found[0, 0]), 3)
    5.333

    How well a measurement tells an angle, at most the quantum Fisher information, which is 4 here:

    >>> import qjaxsim as qj
    >>> state = qj.Circuit(2).h(0).cx(0, 1).rz(qj.Parameter("a"), [0, 1])
    >>> angle = {"a": jnp.array(0.3)}
    >>> for circuit in (state, state.copy().h([0, 1])):  # in the basis of Z, of X
    ...     print(classical_fisher(qj.probabilities(circuit), angle).round(3))
    [[0.]]
    [[4.]]
    """
    if x is None:
        return _fisher(_of_one(probabilities), params, np.zeros(1), batch_size)
    return _fisher(probabilities, params, x, batch_size)


def _of_one(probabilities: Callable[[Any], jax.Array]) -> Outputs:
    """Probabilities without inputs as those of one sample."""

    def of_sample(params: Any, _: Any) -> jax.Array:
        found = probabilities(params)
        if np.ndim(found) != 1:
            raise ValueError(
                f"Argument `probabilities` must return numbers of shape (K,) where `x` is not given, but it returned "
                f"shape {np.shape(found)}; pass what its samples differ in as `x`."
            )
        return found[None]

    return of_sample


def _fisher(probabilities: Outputs, params: Any, x: Any, batch_size: int | None) -> jax.Array:
    def weights(p: jax.Array, _: Any) -> jax.Array:
        positive, rounding = p > 0, float(jnp.finfo(p.dtype).eps) ** 0.5
        distributed = (p >= -rounding).all() & (abs(p.sum() - 1) <= rounding)
        return jnp.diag(jnp.where(distributed, jnp.where(positive, 1 / jnp.where(positive, p, 1), 0), jnp.nan))

    check = lambda params, x, _: check_outputs(probabilities, "probabilities", params, x=x)  # noqa: E731
    found = _gram(probabilities, check, weights, params, x, None, batch_size)
    if not is_traced(found) and bool(jnp.isnan(found).any()):
        raise ValueError(
            "Argument `probabilities` must return the probabilities of all outcomes of each sample, none below 0 and "
            "with the sum 1, but does not; give the softmax of logits, or both p and 1 - p."
        )
    return found


def empirical_fisher(
    outputs: Outputs, loss: Loss, params: Any, x: Any, y: Any, *, batch_size: int | None = None
) -> jax.Array:
    """The mean of the outer products of each sample's gradient of the loss with itself, (P, P).

    Not an estimate of the Fisher matrix unless the model is right (Kunstner et al. 2019, arXiv:1905.12558): labels are
    those of the data, not drawn from the model.

    Args:
        outputs: maps (params, x) to real outputs of shape (B, K).
        loss: maps (z, y) to one loss a sample, shape (B,).
        params: pytree of real float arrays of one dtype, P numbers in all.
        x: inputs, pytree of arrays with N samples along axis 0.
        y: targets, pytree of arrays with N samples along axis 0.
        batch_size: samples whose derivatives are held at once; default some dozens.

    Returns:
        Array of shape (P, P), in `ravel_pytree` order.

    Raises:
        TypeError: if params holds anything but real floats of one dtype.
        ValueError: if x and y differ in their number of samples, outputs or loss return another shape, or batch_size is
            not a positive integer.
        MemoryError: if the matrix does not fit.

    Cost: that of `classical_fisher`.

    >>> outputs, loss = lambda w, x: x @ w[:, None], lambda z, y: ((z - y) ** 2).sum(1) / 2
    >>> found = empirical_fisher(outputs, loss, jnp.ones(2), jnp.array([[3.0, 4.0]]), jnp.zeros((1, 1)))
    >>> print(found / 49)  # x x^T (z - y)**2
    [[ 9. 12.]
     [12. 16.]]
    """

    def slopes(z: jax.Array, target: Any) -> jax.Array:
        slope = jax.grad(lambda out: loss(out[None], jax.tree.map(lambda leaf: leaf[None], target))[0])(z)
        return jnp.outer(slope, slope)

    return _gram(outputs, functools.partial(check_model, outputs, loss), slopes, params, x, y, batch_size)


def _gram(
    outputs: Outputs,
    check: Callable[[Any, Any, Any], ModelShapes],
    weights: Callable[[jax.Array, Any], jax.Array],
    params: Any,
    x: Any,
    y: Any,
    batch_size: int | None,
) -> jax.Array:
    """The mean of J_b^T A_b J_b with A_b (K, K) from a sample's outputs (K,) and target; `check` takes params, x, y."""
    flat, unravel = flatten_real(params)
    shapes = check(params, x, y)
    if (spread := spread_of(x, y)) is not None:

        def share(params: Any, data: tuple[Any, Any]) -> jax.Array:
            return _gram(outputs, check, weights, params, data[0], data[1], batch_size)

        return compiled_once(spread.mean(share), spread.everywhere(unravel(flat)), spread.samples((x, y)))
    flat = vary(flat, shapes.axes)
    size = flat.size
    asked = at_once().samples if batch_size is None else positive_integer("batch_size", batch_size)
    held = min(asked, shapes.n_samples)
    itemsize = np.dtype(flat.dtype).itemsize
    require_memory(
        (3 * size**2 + 3 * held * shapes.n_outputs * size) * itemsize,
        f"A Fisher matrix of {size} parameters",
        "use fewer parameters, or `curvature_operators` for products with vectors",
    )

    def block(flat: jax.Array, xs: Any, ys: Any) -> jax.Array:
        jacobian = jacobians(outputs, unravel, flat, xs)
        z = outputs(unravel(flat), xs)
        return gauss_newton_block(jacobian, jax.vmap(weights)(z, ys).astype(flat.dtype))

    def total(flat: jax.Array, x: Any, y: Any) -> jax.Array:
        stacked, rest = _in_chunks((x, y), held)
        nothing = vary_alike(jnp.zeros((size, size), flat.dtype), flat)
        found = jax.lax.scan(lambda carried, chunk: (carried + block(flat, *chunk), None), nothing, stacked)[0]
        found = found if rest is None else found + block(flat, *rest)
        return symmetrised(found) / shapes.n_samples

    return compiled_once(total, flat, *jax.tree.map(to_jax, (x, y)))


def _in_chunks(samples: Any, held: int) -> tuple[Any, Any]:
    """Samples in chunks of `held`, (chunks, held, ...), and what is left over, None for nothing."""
    count = jax.tree.leaves(samples)[0].shape[0]
    cut = count - count % held
    stacked = jax.tree.map(lambda leaf: leaf[:cut].reshape(cut // held, held, *leaf.shape[1:]), samples)
    return stacked, None if cut == count else jax.tree.map(lambda leaf: leaf[cut:], samples)


# Parameters up to which derivatives go forwards through all samples at once. A circuit runs samples as columns of one
# array then; backwards it would run each by itself, a hundred times slower.
FORWARDS = 2000


def jacobians(outputs: Outputs, unravel: Callable[[jax.Array], Any], flat: jax.Array, x: Any) -> jax.Array:
    """The derivatives of every sample's outputs in the flat parameters, (B, K, P)."""
    if flat.size <= FORWARDS:
        push = lambda unit: jax.jvp(lambda w: outputs(unravel(w), x), (flat,), (unit,))[1]  # noqa: E731
        units = vary_alike(jnp.eye(flat.size, dtype=flat.dtype), flat)
        columns = jax.lax.map(push, units, batch_size=min(at_once().directions, flat.size))
        return jnp.moveaxis(columns, 0, -1)

    def own(sample: Any) -> jax.Array:
        one = jax.tree.map(lambda leaf: leaf[None], sample)
        return jax.jacrev(lambda w: outputs(unravel(w), one)[0])(flat)

    return jax.vmap(own)(x)


def neural_tangent_kernel(outputs: Outputs, params: Any, x1: Any, x2: Any = None) -> jax.Array:
    """The neural tangent kernel, the inner products of outputs' derivatives in the parameters.

    Args:
        outputs: maps (params, x) to real outputs of shape (B, K); of a circuit a quantum neural tangent kernel.
        params: pytree of real float arrays of one dtype, P numbers in all.
        x1: inputs, pytree of arrays with N samples along axis 0.
        x2: inputs with M samples; default x1.

    Returns:
        Array of shape (N, M, K, K): sum over parameters of dz_k(x1_n) dz_l(x2_m). Where x1 lies spread over the devices
        of a mesh, a number that divides M, each keeps the rows of its own samples.

    Raises:
        TypeError: if params holds anything but real floats of one dtype.
        ValueError: if outputs returns another shape.
        MemoryError: if derivatives and kernel do not fit.

    Cost: P derivatives of all outputs ((N + M) K gradients beyond 2,000 parameters) and N M K**2 P multiply-adds; holds
    the derivatives of all samples. Jacot et al. 2018, arXiv:1806.07572; Liu et al. 2022,
    doi:10.1103/PRXQuantum.3.030323.

    >>> outputs = lambda w, x: x @ w[:, None]
    >>> print(neural_tangent_kernel(outputs, jnp.ones(2), jnp.array([[3.0, 4.0], [1.0, 0.0]]))[:, :, 0, 0])
    [[25.  3.]
     [ 3.  1.]]
    """
    flat, unravel = flatten_real(params)
    given = {"x1": x1} if x2 is None else {"x1": x1, "x2": x2}
    shapes = [check_outputs(outputs, "outputs", params, **{name: x}) for name, x in given.items()]
    inputs = [jax.tree.map(to_jax, x) for x in given.values()]
    flat = vary(flat, shapes[0].axes | shapes[-1].axes)
    n, m = shapes[0].n_samples, shapes[-1].n_samples
    k = shapes[0].n_outputs
    require_memory(
        ((n + m) * k * flat.size * 2 + 2 * n * m * k * k) * np.dtype(flat.dtype).itemsize,
        f"A neural tangent kernel of {n} x {m} samples",
        "use fewer samples",
    )

    def every(flat: jax.Array, x: Any) -> jax.Array:
        stacked, rest = _in_chunks(x, min(at_once().samples, jax.tree.leaves(x)[0].shape[0]))
        found = jax.lax.map(lambda chunk: jacobians(outputs, unravel, flat, chunk), stacked)
        found = found.reshape(-1, *found.shape[2:])
        return found if rest is None else jnp.concatenate([found, jacobians(outputs, unravel, flat, rest)])

    def kernel(flat: jax.Array, *inputs: Any) -> jax.Array:
        found = [every(flat, x) for x in inputs]
        return jnp.einsum("nkp,mlp->nmkl", found[0], found[-1], precision=HIGHEST)

    spread = spread_of(x1)
    if spread is None or m % spread.devices:
        return compiled_once(kernel, flat, *inputs)

    def share(flat: jax.Array, *inputs: Any) -> jax.Array:
        found = [every(flat, x).reshape(-1, flat.size) for x in inputs]
        return jnp.moveaxis(spread.with_all(found[0], found[-1]).reshape(-1, k, m, k), 2, 1)

    return compiled_once(spread.over_samples(share), flat, *spread.samples(inputs))
