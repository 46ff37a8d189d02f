"""Public functions on eight devices: a line of JSON for each function and way, read by `test_devices.py`."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from columns import columns
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from reporting import collectives, distance, note, tried

import qjaxsim as qj
from qjaxsim import curvature, geometry
from qjaxsim.curvature import gauss_newton, programs

AUTO = jax.make_mesh((8,), ("d",), axis_types=(AxisType.Auto,))
EXPLICIT = jax.make_mesh((8,), ("d",), axis_types=(AxisType.Explicit,))
SAMPLES = 24
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


everything = sys.argv[1] == "all"
table(everything)
further()
columns(everything)
