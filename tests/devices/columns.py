"""Second order over samples x columns of a mesh, and what takes matrices in blocks; part of `program.py`."""

import contextlib
import functools
import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from reporting import collectives, distance, note, tried

import qjaxsim as qj
from qjaxsim import curvature, geometry
from qjaxsim.common import memory
from qjaxsim.curvature import blocks, matrix, programs

GRID, FEW = (jax.make_mesh(shape, ("d", "c"), axis_types=(AxisType.Auto,) * 2) for shape in ((2, 4), (4, 2)))
EXPLICIT = jax.make_mesh((8,), ("d",), axis_types=(AxisType.Explicit,))
X, Y = jnp.linspace(0, 2, 24), jnp.arange(24) % 2
KEY = jax.random.key(3)
available = memory.available_bytes


def loss(z, y):
    return jnp.log1p(jnp.exp(z)).sum(1) - z[:, 0] * y


def curves(w, x):
    return jnp.stack([jnp.cos(x * w.sum() + w[1] * w[0]), jnp.sin(x[:, None] * w).sum(1)], 1)


def models(everything):
    """Outputs of 11 parameters, no multiple of the number of devices, by the way of their split."""
    index = np.array([[0, 1, 2], [3, 4, 2], [5, 6, 2], [7, 8, 2], [9, 10, 2]])
    inputs = lambda x: jnp.stack([x, 2 * x, x + 1, x - 1, 0 * x], 1)  # noqa: E731
    angle, w = qj.Parameter("x"), qj.Parameter("w", (3,))
    small = qj.Circuit(2).ry(angle, 0).rx(w[0], 0).cx(0, 1).ry(angle, 1).ry(w[1], 0).rx(w[2], 1)
    part = curvature.StagedCircuit(small, (qj.Z(1), qj.Z(0)), {"w": np.arange(3)}, lambda x: {"x": x}, frozenset("x"))
    made = {"pushed": curves, "stages": curvature.PartSum(part, index, inputs, 0.5)}
    return made | ({"parts": curvature.PartSum(curves, index, inputs, 0.5)} if everything else {})


def noting(name):
    """`compiled_once`, which also tells a program's collectives and the bytes that a device keeps of its results."""

    def noted(function, *args, donate=False):
        traced, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
        leaves = [traced.consts, jax.tree.leaves(args)]  # what it reads beside is an argument, and stays where it lies
        run = lambda consts, leaves: core.jaxpr_as_fun(core.ClosedJaxpr(traced.jaxpr, consts))(*leaves)  # noqa: E731
        program = jax.jit(run).lower(*leaves).compile()
        size = program.memory_analysis().output_size_in_bytes
        note(name, f"program of {function.__name__}", [collectives(program.as_text()), size])
        return jax.tree.unflatten(jax.tree.structure(shapes), program(*leaves))

    return noted


THETA = jnp.cos(jnp.arange(11.0))


def grid(array, *spec):
    return jax.device_put(array, NamedSharding(GRID, P(*spec)))


def note_split(name, found, want):
    """How far a split in blocks is from one device's, and where it lies."""
    parts = [np.asarray(part) for part in found[:3]]
    inner = (*(part[:11, :11] for part in parts), found.gradient)
    note(name, "columns", distance(inner, want))
    note(name, "symmetric, zero beyond", all((a == a.T).all() and not a[11:].any() for a in parts))
    note(name, "blocks", [[str(part.sharding.spec), part.addressable_shards[0].data.shape] for part in found[:3]])


def split_in_blocks(everything):
    """`split_hessian` over samples x columns by each way, over columns alone, of few and of many, and resumed."""
    x, y, split = grid(X, "d"), grid(Y, "d"), curvature.split_hessian
    wants = {}
    for way, model in models(everything).items():
        wants[way] = split(model, loss, THETA, X, Y)
        assert curvature.plan_split(model, loss, THETA, X, Y).structure == way
        blocks.compiled_once = noting(way)
        note_split(way, split(model, loss, THETA, x, y, columns="c", batch_size=12, rows=2), wants[way])
    blocks.compiled_once = noting("few")
    split(curves, loss, THETA, *(jax.device_put(a, NamedSharding(FEW, P("d"))) for a in (X, Y)), columns="c")
    blocks.compiled_once = noting("alone")
    with jax.set_mesh(GRID):
        note_split("alone", split(curves, loss, THETA, X, Y, columns=("c", "d")), wants["pushed"])
    blocks.compiled_once = programs.compiled_once
    path = Path(sys.argv[2]) / "blocks.npz"
    again = functools.partial(split, curves, loss, THETA, x, y, columns="c", batch_size=6, checkpoint=path)
    with contextlib.suppress(ZeroDivisionError):
        again(progress=lambda done, n: 1 // (done - 12))
    note_split("resumed", again(), wants["pushed"])
    return again().hessian, wants["pushed"].hessian


def spectra_of_blocks(everything, held, want):
    """What takes a matrix, of one in blocks."""
    ours, whole = curvature.matrix_operator(held, 11), curvature.matrix_operator(want)
    note("matrix_operator", "columns", distance(ours @ jnp.eye(11), want))
    program = matrix.times_rows.lower(matrix.blocks_of(held), held, THETA[None]).compile().as_text()
    note("matrix_operator", "gathered", re.findall(r"= f64\[([\d,]+)\]\S* all-gather\(", program))
    for name, values in {
        "spectral_density": lambda operator: curvature.spectral_density(operator, key=KEY, probes=1, steps=6).nodes,
        "top_eigenpairs": lambda operator: curvature.top_eigenpairs(operator, 2, key=KEY, steps=6).values,
    }.items():
        if everything or name == "spectral_density":
            note(name, "columns", distance(values(ours), values(whole)))
    note("dense_spectrum", "columns", distance(curvature.dense_spectrum(held)[-2:], np.linalg.eigvalsh(want)[-2:]))
    memory.available_bytes = lambda: 1000
    try:
        curvature.dense_spectrum(held)
    except MemoryError as error:
        note("dense_spectrum", "refused", str(error))
    memory.available_bytes = available


def rows_of_hessian(want):
    """`hessian` over columns, of samples that stay spread over another axis; and what is refused."""
    x, y = grid(X, "d"), grid(Y, "d")
    mean_loss = lambda w: loss(curves(w, x), y).mean()  # noqa: E731
    scalars = sys.modules["qjaxsim.curvature.hvp"]
    scalars.compiled_once = noting("rows")
    with jax.set_mesh(GRID):
        found = qj.hessian(mean_loss, THETA, 2, columns="c")
    scalars.compiled_once = programs.compiled_once
    note("hessian", "columns", distance(np.asarray(found)[:11, :11], want))
    note("rows", "blocks", [[str(found.sharding.spec), found.addressable_shards[0].data.shape]])
    split = lambda columns, x=x: curvature.split_hessian(curves, loss, THETA, x, y, columns=columns)  # noqa: E731
    explicit = jax.device_put(THETA, NamedSharding(EXPLICIT, P()))
    for name, run in {
        "no mesh": lambda: qj.hessian(mean_loss, THETA, columns="c"),
        "no axis": lambda: split(("c", "e")),
        "axis of samples": lambda: split("d"),
        "twice": lambda: split(["c", "c"]),
        "no name": lambda: split(2),
        "traced": lambda: jax.jit(lambda x: split("c", x).hessian)(x),
        "explicit mesh": lambda: qj.hessian(lambda w: (w**4).sum(), explicit, columns="d"),
    }.items():
        tried(name, "refused", run, 0.0)


def pairs_of_samples(everything):
    """Matrices of samples, which a ring of devices fills; in an order of axes other than that of the mesh."""
    x, y = grid(X, ("c", "d")), grid(Y, ("c", "d"))
    dual = functools.partial(curvature.gauss_newton_dual, curves, loss)
    program = jax.jit(lambda w: dual(w, x, y)).lower(THETA).compile()
    note("gauss_newton_dual", "program of rows", collectives(program.as_text()))
    found = program(THETA)
    note("gauss_newton_dual", "rows of pairs", [distance(found, dual(THETA, X, Y)), rows_of(found)])
    if everything:
        kernel = functools.partial(geometry.neural_tangent_kernel, curves, jnp.sin(THETA) / 8)
        for name, other in (("itself", None), ("others", X[:16] + 1), ("few", X[:5])):
            found = kernel(x, other)
            note(f"neural_tangent_kernel, {name}", "rows of pairs", [distance(found, kernel(X, other)), rows_of(found)])


def rows_of(array):
    return array.addressable_shards[0].data.shape[0]


def cones():
    """A circuit whose data come first, by its light cones, on spread samples; over columns it is pushed."""
    angles, w = qj.Parameter("x", (5,)), qj.Parameter("w", (5,))
    layer = qj.Circuit(5)
    for q in range(5):
        layer.ry(angles[q], q)
    for q in range(5):
        layer.rx(w[q], q)
    seen = curvature.CircuitOutputs(layer.cx(0, 1), [qj.Z(1), qj.Z(3)], ("x",))
    rows = np.outer(X, np.arange(1, 6))
    assert curvature.plan_split(seen, loss, {"w": THETA[:5]}, {"x": rows}, Y).structure == "cones"
    split = lambda x, y: curvature.split_hessian(seen, loss, {"w": THETA[:5]}, {"x": x}, y, batch_size=2)  # noqa: E731
    note("cones", "auto", distance(split(grid(rows, "d"), grid(Y, "d")), split(rows, Y)))


def columns(everything):
    """All of it, or what takes less time."""
    held, want = split_in_blocks(everything)
    spectra_of_blocks(everything, held, want)
    rows_of_hessian(want)
    pairs_of_samples(everything)
    if everything:
        cones()
