"""Every public function on eight devices, one line of JSON for each way to spread samples: run by `test_devices.py`."""

import json
import sys
import traceback

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import qjaxsim as qj
from qjaxsim import curvature, geometry

AUTO = jax.make_mesh((8,), ("d",), axis_types=(AxisType.Auto,))
EXPLICIT = jax.make_mesh((8,), ("d",), axis_types=(AxisType.Explicit,))
SAMPLES = 16
KEY = jax.random.key(3)


def circuit(noise: bool = False) -> qj.Circuit:
    x, w = qj.Parameter("x"), qj.Parameter("w", (3,))
    made = qj.Circuit(3)
    for q in range(3):
        made.ry(x, q).rx(w[q], q)
    made.cx(0, 1).cx(1, 2).rzz(w[0], 0, 2).ry(x, 1)
    return made.depolarizing(0.1, [1]) if noise else made


W = jnp.array([0.3, 0.7, 0.2])
V = jnp.cos(W)
X = jnp.linspace(0, 2, SAMPLES)
Y = jnp.arange(SAMPLES) % 2 * 1.0
SEEN = [qj.Z(1), qj.X(0) @ qj.Y(2)]
pure, noisy = circuit(), circuit(noise=True)
values = qj.expectation(pure, SEEN)
chances = qj.probabilities(pure, [0, 2])


def outputs(w, x):
    return values({"w": w, "x": x})


def loss(z, y):
    return jnp.log1p(jnp.exp(z)).sum(1) - z[:, 0] * y


def scalar(w, x, y):
    return loss(outputs(w, x), y).mean()


def of_params(function, *more):
    return lambda w, x, y: function({"w": w, "x": x}, *more)


def per_sample_key(function):
    """Devices draw apart: compared is what does not depend on the key, the shape and the range."""
    return lambda w, x, y: function({"w": w, "x": x}, KEY) // 2


def operators(w, x, y):
    return curvature.curvature_operators(outputs, loss, w, x, y)


model = curvature.CircuitOutputs(pure, SEEN, ("x",))
# Functions whose result has a row for each sample, and means over samples.
ROWS = {
    "statevector": of_params(qj.statevector(pure)),
    "expectation": of_params(values),
    "probabilities": of_params(chances),
    "variance": of_params(qj.variance(pure, SEEN)),
    "density_matrix": of_params(qj.density_matrix(noisy)),
    "unitary": of_params(qj.unitary(pure)),
    "sample": per_sample_key(qj.sample(pure, 5)),
    "quantum_fisher": of_params(geometry.quantum_fisher(pure, "w")),
    "quantum_geometric_tensor": of_params(geometry.quantum_geometric_tensor(pure, "w")),
}
MEANS = {
    "hessian": lambda w, x, y: qj.hessian(lambda w: scalar(w, x, y), w),
    "hvp": lambda w, x, y: qj.hvp(lambda w: scalar(w, x, y), w, V),
    "trajectories": lambda w, x, y: qj.trajectories(pure, SEEN, 3)({"w": w, "x": x}, KEY).mean((0, 1)),
    "split_hessian": lambda w, x, y: curvature.split_hessian(outputs, loss, w, x, y),
    "split_hessian, circuit": lambda w, x, y: curvature.split_hessian(model, loss, {"w": w}, {"x": x}, y),
    "hessian_product": lambda w, x, y: curvature.hessian_product(outputs, loss, w, x, y, V),
    "gauss_newton_product": lambda w, x, y: curvature.gauss_newton_product(outputs, loss, w, x, y, V),
    "residual_product": lambda w, x, y: curvature.residual_product(outputs, loss, w, x, y, V),
    "curvature_operators": lambda w, x, y: operators(w, x, y).hessian.dense(),
    "hessian_operator": lambda w, x, y: curvature.hessian_operator(lambda w: scalar(w, x, y), w).dense(),
    "quantum_fisher_operator": lambda w, x, y: (
        geometry.quantum_fisher_operator(pure, {"w": w, "x": x}, "w") @ V
    ),
    "classical_fisher": lambda w, x, y: geometry.classical_fisher(lambda w, x: chances({"w": w, "x": x}), w, x),
    "empirical_fisher": lambda w, x, y: geometry.empirical_fisher(outputs, loss, w, x, y),
    "natural_gradient": lambda w, x, y: natural(w, x),
    "gauss_newton_dual": lambda w, x, y: jnp.trace(curvature.gauss_newton_dual(outputs, loss, w, x, y)),
    "neural_tangent_kernel": lambda w, x, y: jnp.einsum(
        "nnkk->nk", geometry.neural_tangent_kernel(outputs, w, x)
    ).mean(0),
    "class_decomposition": lambda w, x, y: curvature.class_decomposition(
        lambda w, x: values({"w": w, "x": x}), w, x, jnp.asarray(y, int)
    ),
    "top_eigenpairs": lambda w, x, y: curvature.top_eigenpairs(operators(w, x, y).hessian, 2, key=KEY).values,
    "spectral_density": lambda w, x, y: curvature.spectral_density(operators(w, x, y).hessian, key=KEY, probes=1).nodes,
    "trace_estimate": lambda w, x, y: curvature.trace_estimate(operators(w, x, y).hessian, key=KEY, probes=4)[0],
}


def natural(w, x):
    step = geometry.natural_gradient(geometry.quantum_fisher(pure, "w"))
    return step.update(V, step.init(w), {"w": w, "x": x})[0]


def spread(function, mesh, check, rows):
    def mapped(w, x, y):
        found = function(w, x, y)
        return found if rows else jax.lax.pmean(found, "d")

    return jax.jit(
        jax.shard_map(
            mapped, mesh=mesh, in_specs=(P(), P("d"), P("d")), out_specs=P("d") if rows else P(), check_vma=check
        )
    )


def placed(mesh):
    put = lambda a, s: jax.device_put(a, NamedSharding(mesh, s))  # noqa: E731
    return put(W, P()), put(X, P("d")), put(Y, P("d"))


def ways(function, rows):
    mapped = jax.vmap(function, (None, 0, 0)) if not rows else None
    yield "vmap", lambda: (
        jax.vmap(lambda x, y: function(W, x, y))(X, Y)
        if rows
        else jax.vmap(lambda w: function(w, X, Y))(jnp.stack([W, W]))[0] * 1.0
    )
    yield "checked", lambda: spread(function, AUTO, True, rows)(W, X, Y)
    yield "unchecked", lambda: spread(function, AUTO, False, rows)(W, X, Y)
    yield "auto", lambda: function(*placed(AUTO))
    yield "jit auto", lambda: jax.jit(function)(*placed(AUTO))
    yield "params on the mesh", lambda: function(jax.device_put(W, NamedSharding(AUTO, P())), np.asarray(X), np.asarray(Y))
    yield "explicit", lambda: function(*placed(EXPLICIT))


def distance(got, want):
    return max(
        float(np.abs(np.asarray(a) - np.asarray(b)).max())
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True)
    )


def main(only=None):
    for name, function in {**ROWS, **MEANS}.items():
        if only and name not in only:
            continue
        want = function(W, X, Y)
        for way, run in ways(function, name in ROWS):
            print(json.dumps([name, way, "begins"]), flush=True, file=sys.stderr)
            try:
                got = run()
                if way == "vmap" and name not in ROWS:
                    got = got
                found = distance(got, want)
            except Exception as error:
                found = f"{type(error).__name__}: {str(error)[:160]}"
            print(json.dumps([name, way, found]), flush=True)


if __name__ == "__main__":
    main(set(sys.argv[1:]))
