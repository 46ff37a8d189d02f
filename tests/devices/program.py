"""Public functions on eight devices: a line of JSON for each function and way, read by `test_devices.py`."""

import contextlib
import functools
import io
import json
import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import qjaxsim as qj
from qjaxsim import curvature, geometry
from qjaxsim.common import memory
from qjaxsim.curvature import blocks, gauss_newton, matrix, programs

AUTO = jax.make_mesh((8,), ("d",), axis_types=(AxisType.Auto,))
GRID = jax.make_mesh((2, 4), ("d", "c"), axis_types=(AxisType.Auto,) * 2)
FEW_COLUMNS = jax.make_mesh((4, 2), ("d", "c"), axis_types=(AxisType.Auto,) * 2)
EXPLICIT = jax.make_mesh((8,), ("d",), axis_types=(AxisType.Explicit,))
SAMPLES = 24
available = memory.available_bytes
KEY = jax.random.key(3)
W = jnp.array([0.3, 0.7, 0.2])
V = jnp.cos(W)
X = jnp.linspace(0, 2, SAMPLES)
Y = jnp.arange(SAMPLES) % 2
SEEN = [qj.Z(1), qj.X(0) @ qj.Y(2)]


def circuit(n: int = 3, layers: int = 1) -> qj.Circuit:
    x, w = qj.Parameter("x"), qj.Parameter("w", (3,))
    made = qj.Circuit(n)
    for _ in range(layers):
        for q in range(n):
            made.ry(x, q).rx(w[q % 3], q)
        for q in range(n):
            made.cx(q, (q + 1) % n)
        made.rzz(w[0], 0, n - 1).ry(x, 1)
    return made


pure, noisy = circuit(), circuit().depolarizing(0.1, [1])
values, chances = qj.expectation(pure, SEEN), qj.probabilities(pure, [0, 2])
drawn, walks = qj.sample(pure, 5), qj.trajectories(pure, SEEN, 3)
fisher = geometry.quantum_fisher(pure, "w")
model = curvature.CircuitOutputs(pure, SEEN, ("x",))


def outputs(w, x):
    return values({"w": w, "x": x})


def loss(z, y):
    return jnp.log1p(jnp.exp(z)).sum(1) - z[:, 0] * y


def scalar(w, x, y):
    return loss(outputs(w, x), y).mean()


def of_params(function):
    return lambda w, x, y: function({"w": w, "x": x})


def of_operator(function):
    return lambda w, x, y: function(curvature.curvature_operators(outputs, loss, w, x, y).hessian)


def natural(w, x, mean=lambda matrix: matrix):
    step = geometry.natural_gradient(lambda p: mean(fisher({"w": p, "x": x}).mean(0)))
    return step.update(V, step.init(w), w)[0]


def kernel(w, x, y):
    """Sums of the blocks of a sample with itself, which every device has."""
    return jnp.einsum("nnkl->kl", geometry.neural_tangent_kernel(outputs, w, x)) / len(x)


# A row of the result for each sample.
ROWS = {
    "statevector": of_params(qj.statevector(pure)),
    "expectation": of_params(values),
    "probabilities": of_params(chances),
    "variance": of_params(qj.variance(pure, SEEN)),
    "density_matrix": of_params(qj.density_matrix(noisy)),
    "unitary": of_params(qj.unitary(pure)),
    "sample": lambda w, x, y: drawn({"w": w, "x": x}, KEY) // 2,  # devices draw apart
    "quantum_fisher": of_params(fisher),
    "quantum_geometric_tensor": of_params(geometry.quantum_geometric_tensor(pure, "w")),
}
# Means over samples.
MEANS = {
    "trajectories": lambda w, x, y: walks({"w": w, "x": x}, KEY).mean((0, 1)),
    "hessian": lambda w, x, y: qj.hessian(lambda w: scalar(w, x, y), w),
    "hvp": lambda w, x, y: qj.hvp(lambda w: scalar(w, x, y), w, V),
    "hessian_operator": lambda w, x, y: curvature.hessian_operator(lambda w: scalar(w, x, y), w).dense(),
    "split_hessian": lambda w, x, y: curvature.split_hessian(outputs, loss, w, x, y, batch_size=2),
    "split_hessian of a circuit": lambda w, x, y: curvature.split_hessian(model, loss, {"w": w}, {"x": x}, y),
    "hessian_product": lambda w, x, y: curvature.hessian_product(outputs, loss, w, x, y, V, batch_size=2),
    "gauss_newton_product": lambda w, x, y: curvature.gauss_newton_product(outputs, loss, w, x, y, V),
    "residual_product": lambda w, x, y: curvature.residual_product(outputs, loss, w, x, y, V),
    "curvature_operators": of_operator(lambda operator: operator.dense()),
    "gauss_newton_dual": lambda w, x, y: jnp.trace(curvature.gauss_newton_dual(outputs, loss, w, x, y)),
    "quantum_fisher_operator": lambda w, x, y: geometry.quantum_fisher_operator(pure, {"w": w, "x": x}, "w") @ V,
    "classical_fisher": lambda w, x, y: geometry.classical_fisher(lambda w, x: chances({"w": w, "x": x}), w, x),
    "empirical_fisher": lambda w, x, y: geometry.empirical_fisher(outputs, loss, w, x, y),
    "neural_tangent_kernel": kernel,
    "natural_gradient": lambda w, x, y: natural(w, x),
}
# Means over samples that the host decides on.
OUTSIDE = {
    "class_decomposition": lambda w, x, y: curvature.class_decomposition(outputs, w, x, y).means,
    "top_eigenpairs": of_operator(lambda operator: curvature.top_eigenpairs(operator, 2, key=KEY).values),
    "power_iteration": of_operator(lambda operator: curvature.power_iteration(operator, key=KEY).value),
    "spectral_density": of_operator(lambda operator: curvature.spectral_density(operator, key=KEY, probes=1).nodes),
    "trace_estimate": of_operator(lambda operator: curvature.trace_estimate(operator, key=KEY, probes=2).value),
}


def mean(tree):
    return jax.lax.pmean(tree, "d")


# Functions of the whole objective: the mean over devices belongs into it, where JAX checks what varies.
WHOLE = {
    "hessian": lambda w, x, y: qj.hessian(lambda w: mean(scalar(w, x, y)), w),
    "hvp": lambda w, x, y: qj.hvp(lambda w: mean(scalar(w, x, y)), w, V),
    "hessian_operator": lambda w, x, y: curvature.hessian_operator(lambda w: mean(scalar(w, x, y)), w).dense(),
    "natural_gradient": lambda w, x, y: natural(w, x, mean),
}


def placed(mesh):
    return tuple(jax.device_put(a, NamedSharding(mesh, s)) for a, s in ((W, P()), (X, P("d")), (Y, P("d"))))


def mapped(function, out=None, check=True):
    specs, out = (P(), P("d"), P("d")), out or P()
    return jax.jit(jax.shard_map(function, mesh=AUTO, in_specs=specs, out_specs=out, check_vma=check))


def spread(name, function, check):
    """The function on each device's share, with what is left to do to make it that of all samples."""
    if name in ROWS:
        return mapped(function, P("d"), check)(W, X, Y)
    if name in WHOLE and (check or name == "natural_gradient"):
        return mapped(WHOLE[name], check=check)(W, X, Y)
    return mapped(lambda *args: mean(function(*args)), check=check)(W, X, Y)


def vmapped(name, function):
    if name in ROWS:
        return jax.vmap(function, (None, 0, 0))(W, X, Y)
    return jax.tree.map(lambda leaf: leaf[1], jax.vmap(function, (0, None, None))(jnp.stack([V, W]), X, Y))


def collectives(text):
    """How many of each kind a program has: one without any, of spread samples, can do no work of other devices."""
    kinds = "all-gather", "all-reduce", "all-to-all", "collective-permute", "reduce-scatter"
    return {kind: len(re.findall(rf" {kind}(?:-start)?\(", text)) for kind in kinds}


def on_mesh(name, function):
    """Called with arrays on a mesh; the engine's functions and what is differentiated inside a user's `jit`, too."""
    if name not in ROWS and name not in ("hessian", "hvp"):
        return function(*placed(AUTO))
    program = jax.jit(function).lower(*placed(AUTO)).compile()
    note(name, "program", collectives(program.as_text()))
    found = program(*placed(AUTO))
    if name in ROWS:
        note(name, "rows", {shard.data.shape[0] for shard in found.addressable_shards} == {SAMPLES // 8})
    return found


def distance(got, want):
    pairs = zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True)
    return max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs)


def note(name, way, found):
    print(json.dumps([name, way, found]), flush=True)


def tried(name, way, run, want):
    try:
        note(name, way, distance(run(), want))
    except (TypeError, ValueError) as error:
        note(name, way, str(error))


# One function of each kind: compiling for eight devices takes the time.
FEW = ("expectation", "sample", "hessian", "split_hessian", "hessian_product", "classical_fisher", "top_eigenpairs")


def table(everything):
    for name, function in {**ROWS, **MEANS, **OUTSIDE}.items():
        if not (everything or name in FEW):
            continue
        want = function(W, X, Y)
        tried(name, "vmap", lambda: vmapped(name, function), want)  # noqa: B023
        tried(name, "checked", lambda: spread(name, function, True), want)  # noqa: B023
        tried(name, "unchecked", lambda: spread(name, function, False), want)  # noqa: B023
        tried(name, "auto", lambda: on_mesh(name, function), want)  # noqa: B023
        tried(name, "explicit", lambda: function(*placed(EXPLICIT)), want)  # noqa: B023


def further():
    """Wider circuits' programs, what a chunk of a split Hessian compiles to, sums without their check, and pieces."""
    wide = circuit(7, 2)
    steps, plus = qj.Diagonal(np.arange(64.0), range(1, 7)), qj.Projector(np.ones(8) / 8**0.5, [1, 2, 4])
    energies, states = qj.expectation(wide, [*SEEN, steps, plus]), qj.sample(wide, 3)
    w, x, y = placed(AUTO)
    slope = jax.grad(lambda w, x: (energies({"w": w, "x": x}) ** 2).mean())
    program = jax.jit(slope).lower(w, x).compile()
    note("gradient", "program", collectives(program.as_text()))
    note("gradient", "auto", distance(program(w, x), slope(W, X)))
    drawn = jax.jit(lambda w, x: states({"w": w, "x": x}, KEY)).lower(w, x).compile()
    note("sample of a wider circuit", "program", collectives(drawn.as_text()))

    def noted(function, *args):
        note("split_hessian", "program", collectives(jax.jit(function).lower(*args).compile().as_text()))
        return programs.compiled_once(function, *args)

    gauss_newton.compiled_once = noted
    seen_by = []
    curvature.split_hessian(outputs, loss, W, x, y, batch_size=2, progress=lambda *now: seen_by.append(now))
    note("split_hessian", "progress", seen_by)
    gauss_newton.compiled_once = programs.compiled_once

    local = jax.hessian(lambda w, x, y: scalar(w, x, y))
    same = lambda f: mapped(f)(W, X, Y)  # noqa: E731  the sum over devices, as JAX has it
    tried("hessian", "as JAX's", lambda: same(MEANS["hessian"]), same(local))
    for name in ("hessian", "hvp", "hessian_operator"):
        tried(name, "sum unchecked", lambda: mapped(WHOLE[name], check=False)(W, X, Y), 0.0)  # noqa: B023

    held = jax.device_put(V, NamedSharding(AUTO, P()))
    reads = lambda w, x: outputs(w + held, x)  # noqa: E731
    split_hessian, product = curvature.split_hessian, curvature.hessian_product
    tried("split_hessian", "reads", lambda: split_hessian(reads, loss, W, x, y), split_hessian(reads, loss, W, X, Y))
    tried("hessian_product", "reads", lambda: product(reads, loss, W, x, y, V), product(reads, loss, W, X, Y, V))
    calls = lambda w, x: outputs(w, x) + outputs(held, x)  # noqa: E731
    tried("hessian_product", "calls", lambda: product(calls, loss, W, x, y, V), product(calls, loss, W, X, Y, V))

    path = Path(sys.argv[2]) / "sums.npz"
    split = lambda *data, **more: curvature.split_hessian(outputs, loss, W, *data, batch_size=1, **more)  # noqa: E731
    try:
        split(x, y, checkpoint=path, progress=lambda done, n: 1 // (done - 8))
    except ZeroDivisionError:
        note("split_hessian", "resumed", distance(split(x, y, checkpoint=path), split(x, y)))
    tried("split_hessian", "one device", lambda: split(X, Y, checkpoint=path), 0.0)

    pieces = jax.device_put(jnp.linspace(0, 1, 8), NamedSharding(AUTO, P("d")))
    waves = lambda w, x: jnp.cos(x[:, None] * w[:2] + w.sum())  # noqa: E731
    want = curvature.split_hessian(waves, loss, jnp.linspace(0, 1, 8), X, Y)
    for name, data in (("pieces", (X, Y)), ("pieces and samples", (x, y))):
        got = curvature.split_hessian(waves, loss, pieces, *data, batch_size=1)
        note("split_hessian", name, distance(got, want))


def curves(w, x):
    return jnp.stack([jnp.cos(x * w.sum() + w[1] * w[0]), jnp.sin(x[:, None] * w).sum(1)], 1)


def models():
    """Outputs of 11 parameters, no multiple of the number of devices, by the way of their split."""
    index = np.array([[0, 1, 2], [3, 4, 2], [5, 6, 2], [7, 8, 2], [9, 10, 2]])
    inputs = lambda x: jnp.stack([x, 2 * x, x + 1, x - 1, 0 * x], 1)  # noqa: E731
    angle, w = qj.Parameter("x"), qj.Parameter("w", (3,))
    small = qj.Circuit(2).ry(angle, 0).rx(w[0], 0).cx(0, 1).ry(angle, 1).ry(w[1], 0).rx(w[2], 1)
    part = curvature.StagedCircuit(small, (qj.Z(1), qj.Z(0)), {"w": np.arange(3)}, lambda x: {"x": x}, frozenset("x"))
    return {
        "pushed": curves,
        "parts": curvature.PartSum(curves, index, inputs, 0.5),
        "stages": curvature.PartSum(part, index, inputs, 0.5),
    }


def noting(name):
    """`compiled_once`, which also tells a program's collectives and the bytes that a device keeps of its results."""

    def noted(function, *args, donate=False):
        program = jax.jit(function).lower(*args).compile()
        size = program.memory_analysis().output_size_in_bytes
        note(name, f"program of {function.__name__}", [collectives(program.as_text()), size])
        return programs.compiled_once(function, *args, donate=donate)

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


def split_in_blocks():
    """`split_hessian` over samples x columns by each way, over columns alone, of few and of many, and resumed."""
    x, y, split = grid(X, "d"), grid(Y, "d"), curvature.split_hessian
    wants = {way: split(model, loss, THETA, X, Y) for way, model in models().items()}
    for way, model in models().items():
        assert curvature.plan_split(model, loss, THETA, X, Y).structure == way
        blocks.compiled_once = noting(way)
        note_split(way, split(model, loss, THETA, x, y, columns="c", batch_size=12, rows=2), wants[way])
    blocks.compiled_once = noting("few")
    split(curves, loss, THETA, *(jax.device_put(a, NamedSharding(FEW_COLUMNS, P("d"))) for a in (X, Y)), columns="c")
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


def spectra_of_blocks(held, want):
    """What takes a matrix, of one in blocks."""
    ours, whole = curvature.matrix_operator(held, 11), curvature.matrix_operator(want)
    note("matrix_operator", "columns", distance(ours @ jnp.eye(11), want))
    program = matrix.times_rows.lower(matrix.blocks_of(held), held, THETA[None]).compile().as_text()
    note("matrix_operator", "gathered", re.findall(r"= f64\[([\d,]+)\]\S* all-gather\(", program))
    for name, values in {
        "top_eigenpairs": lambda operator: curvature.top_eigenpairs(operator, 2, key=KEY, steps=6).values,
        "spectral_density": lambda operator: curvature.spectral_density(operator, key=KEY, probes=1, steps=6).nodes,
    }.items():
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


def cones():
    """A circuit whose data come first, by its light cones, on spread samples; over columns it is pushed."""
    angles, w = qj.Parameter("x", (5,)), qj.Parameter("w", (5,))
    layer = qj.Circuit(5)
    for q in range(5):
        layer.ry(angles[q], q).rx(w[q], q)
    seen = curvature.CircuitOutputs(layer.cx(0, 1), [qj.Z(1), qj.Z(3)], ("x",))
    rows = np.outer(X, np.arange(1, 6))
    assert curvature.plan_split(seen, loss, {"w": THETA[:5]}, {"x": rows}, Y).structure == "cones"
    split = lambda x, y: curvature.split_hessian(seen, loss, {"w": THETA[:5]}, {"x": x}, y, batch_size=2)  # noqa: E731
    note("cones", "auto", distance(split(grid(rows, "d"), grid(Y, "d")), split(rows, Y)))


def guide():
    """The page for users, as it stands: whether it prints what it says."""
    page = (Path(__file__).parents[2] / "docs" / "devices.md").read_text(encoding="utf-8")
    names, printed = {}, io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec("".join(re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)), names)
    note("guide", "printed", printed.getvalue().splitlines())
    note("guide", "devices", names["devices"])


table(sys.argv[1] == "all")
further()
held, want = split_in_blocks()
spectra_of_blocks(held, want)
rows_of_hessian(want)
cones()
guide()
