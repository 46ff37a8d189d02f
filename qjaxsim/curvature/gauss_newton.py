"""The split H = G + R of a loss Hessian into Gauss-Newton part and residual part; `hessian.md` derives it.

`objective.py` says what the objective is; `products.py` has the products with vectors.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common.checkpoint import Checkpoint, Fingerprint, digest, stored_identity
from qjaxsim.common.checks import is_traced
from qjaxsim.curvature.blocks import by_columns
from qjaxsim.curvature.chunks import evenly, window
from qjaxsim.curvature.hvp import as_arrays, flatten_real
from qjaxsim.curvature.objective import Loss, ModelShapes, Outputs, check_model
from qjaxsim.curvature.programs import compiled_once
from qjaxsim.curvature.split_plan import SplitPlan, plan
from qjaxsim.curvature.spreading import Spread, off_mesh, on_no_mesh, spread_columns, spread_of, whole
from qjaxsim.curvature.ways import WAYS, Split, Way, evidence
from qjaxsim.running.array_types import require_unsharded, to_jax
from qjaxsim.running.varying import vary


class HessianSplit(NamedTuple):
    """Hessian of a mean loss and its two parts, each of shape (P, P) and exactly symmetric, with the gradient.

    Attributes:
        hessian: gauss_newton + residual.
        gauss_newton: mean of J^T A J, positive semi-definite for a loss convex in the outputs.
        residual: mean of sum_k (dl/dz_k) Hess z_k.
        gradient: gradient of the mean loss, shape (P,), met on the way.

    >>> outputs, loss = lambda w, x: x @ w[:, None], lambda z, y: ((z - y) ** 2).sum(1) / 2
    >>> found = split_hessian(outputs, loss, jnp.ones(2), jnp.array([[3.0, 4.0]]), jnp.zeros((1, 1)))
    >>> print(found.gauss_newton, found.gradient)  # of a linear model x x^T and x (z - y)
    [[ 9. 12.]
     [12. 16.]] [21. 28.]
    """

    hessian: jax.Array
    gauss_newton: jax.Array
    residual: jax.Array
    gradient: jax.Array


def split_hessian(
    outputs: Outputs,
    loss: Loss,
    params: Any,
    x: Any,
    y: Any,
    *,
    batch_size: int | None = None,
    rows: int | None = None,
    columns: str | Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
    checkpoint: str | Path | None = None,
) -> HessianSplit:
    """Dense Hessian of the mean loss with its two parts, in `ravel_pytree` order.

    Per chunk of samples, the tangents of the gradient of the linearised loss sum_k slope_k z_k are the rows
    of R, and the tangents of z met on the way are the Jacobian, so G costs one matrix product more than R.
    A model that tells its structure takes a cheaper way to the same numbers: `PartSum`, `StagedCircuit` as its
    part, `CircuitOutputs` (`hessian.md` derives each). `plan_split` says beforehand which, and what it holds.

    Samples that lie spread over the devices of an automatic mesh (x or y, along axis 0) are added up by the device that
    holds them, with one sum over devices at the end; `batch_size` is that of each device. With `columns`, parameters
    are spread over further axes of the mesh, of C devices, say: each pushes its own directions, holds P^2 / C numbers
    of each sum, and in the end keeps one block of each matrix. H, G and R then lie in blocks over both,
    `PartitionSpec(columns, samples)`, and have the shape (P', P'), where P' is P rounded up to a multiple of the number
    of devices; beyond P they are zero. `docs/devices.md` has an example.

    With `checkpoint`, sums are saved as chunks go by, and a later call with the same arguments goes on from there; the
    result is the same bit for bit (on the same machine with the same versions). A save is skipped while less than 10
    times the duration of the last one has passed since it, so a killed call loses at most that and the chunk
    in flight. A finished file stays: calls on it compute no sample again, and the caller removes it. A file that is
    damaged is refused and not overwritten: writes are atomic, so it is more likely a wrong path or a failing disk than
    a leftover of ours.

    Args:
        outputs: maps (params, x) to real outputs of shape (B, K). Sample b's outputs may depend on sample b
            alone, or the result depends on batch_size.
        loss: maps (z, y) to one loss a sample, shape (B,); the objective is its mean.
        params: pytree of real float arrays of one dtype, P numbers in all.
        x: inputs, pytree of arrays (NumPy or JAX) with N samples along axis 0.
        y: targets, pytree of arrays with N samples along axis 0.
        batch_size: samples in one chunk. Default: that of the checkpoint if there is one, else as in `plan_split`.
            The result is the same up to rounding, also where it does not divide N.
        rows: parameter directions pushed at once. Default: as in `plan_split`.
        columns: axes of the mesh that parameters are spread over, one name or several; other than those of the samples.
            The mesh is that of the samples, or the one set by `jax.set_mesh`. Default: none.
        progress: called as progress(samples_done, N) after each chunk has been computed (and saved), and once before
            for what a checkpoint holds.
        checkpoint: file (.npz) to save the sums in and to go on from, about 2 P^2 numbers without structure. Default:
            nothing is saved.

    Returns:
        HessianSplit of three arrays of shape (P, P), the dtype of params; with `columns` (P', P') in blocks.

    Raises:
        TypeError: if params holds anything but real floats of one dtype, or with `columns` where JAX traces arguments.
        ValueError: if x and y differ in their number of samples, outputs or loss return another shape, batch_size or
            rows is not a positive integer, columns are no free axes of an automatic mesh, or the checkpoint is damaged
            or of another computation: other params, data, settings or structure, or functions that differ in the first
            or second derivatives of the loss in z, or in its gradient, on a chunk of samples spread over all.
        MemoryError: if what `plan_split` counts does not fit in free memory; checked before anything is allocated.
        OSError: if the checkpoint cannot be written; an older one is then untouched.

    Cost without structure: N P forward-over-reverse passes of one sample and N K P^2 multiply-adds; memory
    5 P^2 numbers plus 3 batch_size K P. Compiled once for all chunks, and once for repeated calls with the
    same `outputs` and `loss` objects (they are jit-static: define them once, not in the loop, and change nothing
    that they read beside their arguments). Runs a Python loop over chunks. A checkpoint costs a digest of params, x and
    y, a gradient of one chunk, and a tenth of the time.

    >>> outputs, loss = lambda w, x: jnp.cos(w[0] * x), lambda z, y: ((z - y) ** 2).sum(1) / 2
    >>> w, x, y = jnp.array([jnp.pi / 3]), jnp.ones((1, 1)), jnp.zeros((1, 1))
    >>> found = split_hessian(outputs, loss, w, x, y)  # H = -cos(2 w), G = sin(w)^2, R = -cos(w)^2
    >>> [round(float(part[0, 0]), 3) for part in found[:3]]
    [0.5, 0.75, -0.25]
    """
    flat_unsharded(params, x, y)
    spread = spread_of(x, y) if columns is None else spread_columns(columns, params, x, y)
    if any(map(is_traced, jax.tree.leaves(params))):
        spread = None  # the sums are then part of a program of the caller's
    if batch_size is None and checkpoint is not None:
        # The default depends on free memory, which must not part a computation from its own file.
        batch_size = stored_identity(checkpoint).get("batch_size")

    def found(params: Any) -> HessianSplit:
        params = whole(params) if spread is None else off_mesh(params)
        summed = sample_sum(outputs, loss, params, x, y, batch_size, rows, spread=spread)
        return HessianSplit(*_added_up(summed, progress, checkpoint))

    if spread is None and any(map(is_traced, jax.tree.leaves((params, x, y)))):
        return jax.jit(found)(params)  # what programs in a program give up, `vmap` need not find a use for
    with nullcontext() if spread is None else on_no_mesh():
        return found(params)


def _added_up(summed: "SampleSum", progress: Callable[[int, int], None] | None, checkpoint: str | Path | None) -> Split:
    """The split, chunk of samples by chunk of samples."""
    carried, done, saved, shares, total = summed.way.start, 0, None, summed.shares, summed.of
    if checkpoint is not None:
        saved = summed.checkpoint(checkpoint)
        state = saved.restore({"state": carried, "samples": done})
        carried, done = (state["state"], state["samples"]) if state else (carried, done)
        if done and progress is not None:
            progress(done * shares, total)
    for begin in range(done, summed.count, summed.size):
        carried = summed.add(carried, begin)
        done = min(begin + summed.size, summed.count)
        if saved is not None:
            saved.save({"state": carried, "samples": done}, last=done == summed.count)
        if progress is not None:
            jax.block_until_ready(carried)
            progress(done * shares, total)
    return summed.way.finish(carried)


@dataclass(frozen=True, eq=False)
class SampleSum:
    """A split as a sum over samples, ready to be taken chunk by chunk.

    Attributes:
        way, planned: from no samples to the result, and what it holds.
        outputs, loss: the model's functions.
        shapes: of the samples here.
        flat, arguments: the parameters as a vector, and params, x and y; these by share where they are spread.
        size, count, of: samples of a chunk and in all, on each device, and of the mean.
        spread: how samples are.
    """

    way: Way
    planned: SplitPlan
    outputs: Outputs
    loss: Loss
    shapes: ModelShapes
    flat: jax.Array
    arguments: dict[str, Any]
    size: int
    count: int
    of: int
    spread: Spread | None

    @property
    def shares(self) -> int:
        """Of the samples, one a device."""
        return 1 if self.spread is None else self.spread.devices

    def add(self, carried: Any, begin: int) -> Any:
        """What is carried on after the chunk from sample `begin` on."""
        x, y, shares = self.arguments["x"], self.arguments["y"], self.spread and self.shares
        sizes: dict[str, Any] = {"size": self.size, "shapes": self.shapes, "shares": shares, "of": self.of}
        return self.way.chunk(carried, *samples_from(x, y, begin, **sizes))

    def total(self, carried: Any) -> Any:
        """What is carried, of all devices together."""
        return carried if self.spread is None else self.spread.total(carried)

    def mark(self) -> Fingerprint:
        """What stands for the functions: derivatives of as many samples as a chunk has, from all of them."""
        params, x, y = (self.arguments[name] for name in ("params", "x", "y"))
        places = evenly(self.size, self.count)
        if self.spread is not None:
            x, y = jax.tree.map(lambda leaf: leaf[0], (x, y))
        xs, ys = jax.tree.map(lambda leaf: to_jax(leaf[places]), (x, y))
        weights = jnp.full(self.size, 1 / self.of, self.shapes.loss_dtype)
        return Fingerprint("evidence", "outputs or loss", evidence(self.outputs, self.loss, params, xs, ys, weights))

    def identity(self) -> dict[str, Any]:
        """What sums over samples belong to."""
        return {
            **{name: digest(value) for name, value in self.arguments.items()},
            "number of samples": self.of,
            "number of outputs": self.shapes.n_outputs,
            "number of parameters": self.planned.parameters,
            "dtype": str(self.flat.dtype),
            "batch_size": self.size,
            "rows": self.planned.rows,
            "structure": self.planned.structure,
            **({} if self.spread is None else {"devices": self.spread.devices}),
            **({"columns": self.spread.parts} if self.spread is not None and self.spread.columns else {}),
        }

    def checkpoint(self, path: str | Path) -> Checkpoint:
        """The file of these sums."""
        return Checkpoint(path, self.identity(), fingerprint=self.mark())


def sample_sum(
    outputs: Outputs,
    loss: Loss,
    params: Any,
    x: Any,
    y: Any,
    batch_size: int | None,
    rows: int | None,
    *,
    spread: Spread | None = None,
    of: int | None = None,
) -> SampleSum:
    """The sum that `split_hessian` takes, with its arguments; of a mean over `of` samples if x and y are some alone."""
    params = as_arrays(params)
    shapes = check_model(outputs, loss, params, x, y)
    flat, params = vary((flat_unsharded(params, x, y)[0], params), shapes.axes)
    count = shapes.n_samples // (1 if spread is None else spread.devices)
    planned = plan(outputs, params, shapes._replace(n_samples=of or count), batch_size, rows, spread)
    way = _way(planned, outputs, loss, params, flat, spread)
    x, y = (x, y) if spread is None else spread.shares((x, y))
    arguments, size = {"params": params, "x": x, "y": y}, min(planned.samples, count)
    return SampleSum(way, planned, outputs, loss, shapes, flat, arguments, size, count, of or shapes.n_samples, spread)


def samples_from(
    x: Any, y: Any, begin: int, size: int, shapes: ModelShapes, shares: int | None = None, of: int | None = None
) -> tuple[Any, Any, jax.Array]:
    """A chunk of inputs and targets with the weights of their losses, 1 / `of` or, where met before, exactly zero.

    On a mesh samples come by share, (shares, N / shares, ...), and the chunk is one of each share.
    """
    start, _, fresh = window(begin, size, shapes.n_samples // (shares or 1), np)
    now = (slice(None),) * (shares is not None) + (slice(start, start + size),)
    xs, ys = jax.tree.map(lambda leaf: to_jax(leaf[now]), (x, y))
    return xs, ys, jnp.asarray(fresh / (of or shapes.n_samples), shapes.loss_dtype)


def flat_unsharded(params: Any, x: Any, y: Any) -> tuple[jax.Array, Callable[[jax.Array], Any]]:
    """As `flatten_real`, after a look at what JAX could not map over."""
    for name, tree in (("params", params), ("x", x), ("y", y)):
        require_unsharded(f"Argument `{name}`", tree)
    return flatten_real(params)


def _way(planned: SplitPlan, outputs: Outputs, loss: Loss, params: Any, flat: jax.Array, spread: Spread | None) -> Way:
    """How the split is found, on one device or on all of a mesh."""
    if spread is not None and spread.columns:
        return by_columns(planned, outputs, loss, params, spread)
    way = WAYS[planned.structure](outputs, loss, params, flat, planned.rows)
    return way if spread is None else _on_shares(way, spread)


def _on_shares(way: Way, spread: Spread) -> Way:
    """The way on every device for its own samples, with one sum over devices in the end."""

    def chunk(carried: Any, x: Any, y: Any, weights: jax.Array) -> Any:
        way.ready()  # not while the chunk is traced, which would leave it in the trace
        return compiled_once(spread.each(way.chunk), carried, x, y, weights)

    return Way(spread.copies(way.start), chunk, lambda carried: way.finish(spread.total(carried)))
