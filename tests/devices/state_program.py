"""A state cut over eight devices: a line of JSON for each check, read by `test_state.py`."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import qjaxsim as qj
from tests.devices.reporting import collectives, distance, note
from tests.random_circuits import add_gates

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
MESH = jax.make_mesh((2, 2, 2), ("a", "b", "c"), axis_types=(AxisType.Auto,) * 3)
WIDE = jax.make_mesh((2, 4), ("node", "gpu"), axis_types=(AxisType.Auto,) * 2)
AXES = [("a",), ("b", "c"), ("c", "a", "b")]
FEW = sys.argv[1] == "few"


def observables(rng, n):
    """One of each kind, on qubits anywhere."""
    order = lambda k: rng.permutation(n)[:k].tolist()  # noqa: E731
    a, b, c = order(3)
    half = rng.normal(size=(4, 4)) + 1j * rng.normal(size=(4, 4))
    state = rng.normal(size=8) + 1j * rng.normal(size=8)
    whole = rng.normal(size=2**n) + 1j * rng.normal(size=2**n)
    return [
        qj.Z(a) @ qj.Z(b) + 0.3 * qj.Z(c),
        qj.X(a) @ qj.Y(b) @ qj.Z(c) - 0.7 * qj.Y(c) + qj.X(b) + 0.2 * qj.I(),
        sum((0.1 * q * qj.X(q) @ qj.X((q + 1) % n) for q in range(1, n)), qj.Y(0)),
        qj.Hermitian(half + half.conj().T, order(2)),
        qj.Diagonal(rng.normal(size=8), order(3)),
        qj.Diagonal(rng.normal(size=2**n), order(n)),
        qj.Projector(state / np.linalg.norm(state), order(3)),
        qj.Projector(whole / np.linalg.norm(whole), order(n)),
    ]


def circuit_of(seed):
    """Five to seven qubits, data and weights; a loop in every second, a projection in every fifth."""
    rng = np.random.default_rng(seed)
    bits = 1 + seed % 3
    n = int(rng.integers(4, 6)) + bits - (bits == 3)
    x, w, s = qj.Parameter("x", (2,)), qj.Parameter("w", (3,)), qj.Parameter("s", (1,))
    circuit = add_gates(rng, qj.Circuit(n), int(rng.integers(10, 24)), [x, s])
    if seed % 2:
        layer = add_gates(rng, qj.Circuit(n), 6, [w, s] if seed % 4 == 1 else [w, x, s])
        shared = [name for name in ("x", "s") if name in layer.parameters]
        circuit.repeat(layer, 2 + seed % 3, shared=shared)
    if seed % 5 == 4:
        qubit = int(rng.integers(n))
        circuit.ry(0.7, qubit).project(qubit, 0)  # an outcome that is possible
    add_gates(rng, circuit, 8, [x, s, w] if seed % 2 == 0 else [x, s])
    return circuit, AXES[bits - 1], rng


def random_circuits(seeds):
    for seed in seeds:
        circuit, axes, rng = circuit_of(seed)
        batch = (3,) if seed % 3 else ()
        params = {
            name: jnp.asarray(rng.normal(size=(*batch, *shape) if name == "x" else shape))
            for name, shape in circuit.parameters.items()
        }
        seen = observables(rng, circuit.n_qubits)
        gradient = "adjoint" if seed % 4 < 2 and seed % 5 != 4 else None
        whole = qj.expectation(circuit, seen)
        cut = qj.expectation(circuit, seen, options=qj.PlanOptions(state_axes=axes, gradient=gradient))
        one, other = (derivatives(f)(params) for f in (whole, cut))
        for name, a, b in zip(("value", "gradient", "hvp"), one, other, strict=True):
            note(name, seed, distance(a, b))


def derivatives(function):
    """Values, and first and second derivatives of a sum of them, in one program."""

    def total(params):
        out = function(params)
        weights = jnp.arange(1.0, 1 + out.shape[-1], dtype=out.dtype)
        return jnp.einsum("...k,k->...", jnp.sin(out), weights).sum(), out

    def both(params):
        slope = jax.grad(total, has_aux=True)
        return jax.jvp(slope, (params,), (jax.tree.map(jnp.cos, params),), has_aux=True)

    def apart(params):
        gradient, product, out = both(params)
        return out, gradient, product

    return jax.jit(apart)


def layers(n, depth, loop=False):
    w = qj.Parameter("w", (n,) if loop else (depth, n))
    ring = qj.Circuit(n)
    for i in range(1 if loop else depth):
        for q in range(n):
            ring.ry(w[q] if loop else w[i, q], q)
        for q in range(n):
            ring.cx(q, (q + 1) % n)
    return qj.Circuit(n).repeat(ring, depth) if loop else ring


def single_precision():
    """Parameters of 32 bits where 64 are possible."""
    circuit = layers(5, 2).rx(0.3, 1).crx(0.2, 4, 0)
    w = {"w": jnp.linspace(0, 1, 10, dtype=jnp.float32).reshape(2, 5)}
    for name, read in {
        "values": lambda o: qj.expectation(circuit, [qj.Z(0), qj.X(4)], options=o),
        "chances": lambda o: qj.probabilities(circuit, [4, 1], options=o),
        "spread": lambda o: qj.variance(circuit, qj.Y(2) + qj.Z(4), options=o),
    }.items():
        whole, cut = (read(qj.PlanOptions(state_axes=axes)) for axes in ((), ("node", "gpu")))
        note("single", name, [distance(whole(w), cut(w)), str(cut(w).dtype)])


def few_local():
    """Pieces of fewer qubits than the device's number has bits."""
    circuit = qj.Circuit(5)
    w = qj.Parameter("w", (10,))
    for i in range(10):
        circuit.ry(w[i], i % 5).cx(i % 5, (2 * i + 1) % 5 if i % 5 != (2 * i + 1) % 5 else (i + 1) % 5)
    params = {"w": jnp.linspace(0.1, 2, 10)}
    wide = np.linspace(1, 2, 32)
    for name, read in {
        "states": lambda o: qj.statevector(circuit, options=o),
        "values": lambda o: qj.expectation(circuit, [qj.X(4) @ qj.X(0), qj.Y(1) @ qj.Z(2) + qj.X(3)], options=o),
        "projector": lambda o: qj.expectation(
            circuit, qj.Projector(wide / np.linalg.norm(wide), [3, 0, 4, 2, 1]), options=o
        ),
        "spread": lambda o: qj.variance(circuit, qj.X(4) @ qj.Z(0) + qj.Y(2), options=o),
    }.items():
        note("few local", name, distance(read(None)(params), read(qj.PlanOptions(state_axes=("node", "gpu")))(params)))


def readings():
    """What is read of one circuit besides values."""
    n, rng = 6, np.random.default_rng(1)
    circuit, options = layers(n, 2), qj.PlanOptions(state_axes=("node", "gpu"))
    params, key = {"w": jnp.asarray(rng.normal(size=(3, 2, n)))}, jax.random.key(0)
    seen = [observable for observable in observables(rng, n)][:4]
    functions = {
        "statevector": lambda o: qj.statevector(circuit, options=o),
        "probabilities of some": lambda o: qj.probabilities(circuit, [4, 0, 2], options=o),
        "probabilities": lambda o: qj.probabilities(circuit, options=o),
        "variance": lambda o: qj.variance(circuit, seen, options=o),
    }
    for name, make in functions.items():
        whole, cut = make(None), make(options)
        note(name, "value", distance(whole(params), cut(params)))
        if name == "statevector":
            note(name, "spread", str(cut(params).sharding.spec))
        if FEW and name != "variance":
            continue
        real = lambda f: lambda p: jnp.abs(f(p)) ** 2  # noqa: E731
        _, one, _ = derivatives(real(whole))(params)
        _, other, _ = derivatives(real(cut))(params)
        note(name, "gradient", distance(one, other))
    wrong = layers(n, 2).readout_error(0.1, 0.2, [0, 4])
    for name, make in {
        "readout errors": lambda o: qj.probabilities(wrong, [4, 0, 2], options=o),
        "readout errors of values": lambda o: qj.expectation(wrong, qj.Z(0) @ qj.Z(4) + qj.Z(1), options=o),
    }.items():
        note(name, "value", distance(make(None)(params), make(options)(params)))
    for name, qubits in (("sample of some", [3, 1, 5]), ("sample", None)):
        whole, cut = (qj.sample(circuit, 50, qubits, options=o) for o in (None, options))
        note(name, "value", int(jnp.abs(whole(params, key) - cut(params, key)).sum()))
    # Of more outcomes than are put together on each device.
    deep, w = layers(13, 1), {"w": jnp.asarray(rng.normal(size=(1, 13)))}
    whole, cut = (qj.sample(deep, 40, options=o) for o in (None, options))
    note("sample of many", "value", int(jnp.abs(whole(w, key) - cut(w, key)).sum()))
    note("sample of many", "kinds", collectives(jax.jit(cut).lower(w, key).compile().as_text()))
    whole, cut = (qj.probabilities(deep, options=o) for o in (None, options))
    note("probabilities of many", "value", distance(whole(w), cut(w)))
    note("probabilities of many", "spread", str(cut(w).sharding.spec))


def second_order():
    n = 5
    seen = [qj.Z(0) @ qj.Z(3), qj.X(1) + qj.Y(4)]
    w = jnp.asarray(np.random.default_rng(2).normal(size=(2, n)))
    for loop, gradient in ((True, "adjoint"), (False, "backprop"))[: 1 if FEW else 2]:
        options = qj.PlanOptions(state_axes=("node", "gpu"), gradient=gradient)
        whole, cut = (qj.expectation(layers(n, 2, loop), seen, options=o) for o in (None, options))
        loss = [lambda w, f=f: (f({"w": w}) ** 2).sum() for f in (whole, cut)]
        want = jax.jit(jax.hessian(loss[0]))(w).reshape(2 * n, 2 * n)
        note("hessian", gradient, distance(qj.hessian(loss[1], w), want))
        note("jax.hessian", gradient, distance(jax.jit(jax.hessian(loss[1]))(w).reshape(2 * n, 2 * n), want))


def programs():
    """Collectives against the plan, memory against the number of devices, a batch over an axis of its own."""
    n = 14  # states outweigh the matrices of blocks
    circuit, w = layers(n, 3), jnp.linspace(0, 1, 3 * n).reshape(3, n)
    for bits in (0, 3) if FEW else (0, 1, 2, 3):
        mesh = jax.make_mesh((2**bits,), ("q",), axis_types=(AxisType.Auto,), devices=jax.devices()[: 2**bits])
        options = qj.PlanOptions(state_axes=("q",) if bits else (), gradient="adjoint")
        value = qj.expectation(circuit, qj.Z(0) @ qj.Z(5), options=options)
        with jax.set_mesh(mesh):
            forward = value.lower({"w": w}).compile()
            back = jax.jit(jax.grad(lambda w, f=value: f({"w": w}))).lower(w).compile()
        exchanges = qj.explain(circuit, state_qubits=bits).exchanges
        note("programs", bits, [exchanges, *(collectives(each.as_text()) for each in (forward, back))])
        note("memory", bits, back.memory_analysis().temp_size_in_bytes)
    x, v = qj.Parameter("x"), qj.Parameter("v", (6,))
    fed = qj.Circuit(6)
    for q in range(6):
        fed.ry(x, q).rx(v[q], q).cx(q, (q + 1) % 6)
    samples = jax.device_put(jnp.linspace(0, 2, 8), NamedSharding(MESH, P("c")))
    whole = qj.expectation(fed, [qj.Z(0), qj.X(3)])
    for name, axes in (("batch and state", ("a", "b")), ("batch", ())):
        cut = qj.expectation(fed, [qj.Z(0), qj.X(3)], options=qj.PlanOptions(state_axes=axes, batch_axis="c"))
        params = {"x": samples, "v": jnp.linspace(0, 1, 6)}
        with jax.set_mesh(MESH):
            loss = [lambda v, f=f: (f({"x": samples, "v": v}) ** 2).mean() for f in (whole, cut)]
            note(name, "value", distance(whole(params), cut(params)))
            note(name, "gradient", distance(*(jax.grad(each)(params["v"]) for each in loss)))
            note(name, "spread", str(cut(params).sharding.spec))
            note(name, "kinds", collectives(cut.lower(params).compile().as_text()))


def named():
    """A mesh axis whose name begins with "state" cuts what can be cut, without options."""
    circuit, w = layers(5, 1), {"w": jnp.linspace(0, 1, 5).reshape(1, 5)}
    value = qj.expectation(circuit, qj.X(0))
    noisy = qj.expectation(layers(3, 1).depolarizing(0.1, [0]), qj.Z(0))
    apart = qj.expectation(circuit, qj.X(0), options=qj.PlanOptions(state_axes=()))
    few = {"w": w["w"][:, :3]}
    want = value(w), noisy(few)
    with jax.set_mesh(jax.make_mesh((4,), ("states",), axis_types=(AxisType.Auto,), devices=jax.devices()[:4])):
        note("named", "value", distance((value(w), noisy(few)), want))
        note("named", "kinds", collectives(value.lower(w).compile().as_text())["all-to-all"])
        note("named", "left", collectives(apart.lower(w).compile().as_text())["all-to-all"])
        cut = qj.hessian(value, w)
    note("named", "hessian", distance(cut, qj.hessian(value, w)))


def refused(name, call):
    try:
        call()
    except (ValueError, TypeError) as error:
        note("refused", name, str(error))
    else:
        note("refused", name, "")


def refusals():
    n, w = 4, {"w": jnp.zeros((1, 4))}
    cut = qj.PlanOptions(state_axes=("a",))

    def of(options, circuit=None, seen=None):
        return qj.expectation(circuit or layers(n, 1), seen or qj.Z(0), options=options)

    refused("no mesh", lambda: of(cut)(w))
    with jax.set_mesh(MESH):
        refused("other axis", lambda: of(qj.PlanOptions(state_axes=("a", "z")))(w))
        refused(
            "too many", lambda: of(qj.PlanOptions(state_axes=("a", "b", "c")), layers(3, 1))({"w": jnp.zeros((1, 3))})
        )
        refused("wide gate", lambda: of(qj.PlanOptions(state_axes=("a", "b")), qj.Circuit(3).rxx(0.1, 0, 1))())
        flips = qj.X(0) @ qj.X(1) @ qj.X(2) @ qj.X(3)
        refused("wide term", lambda: of(cut, seen=flips)(w))
        dense = qj.Hermitian(np.diag(np.arange(32.0)) + np.eye(32)[::-1], range(5))
        refused("wide operator", lambda: of(cut, layers(5, 1), dense)({"w": jnp.zeros((1, 5))}))
        refused("initial", lambda: of(cut)(w, initial=jnp.ones(16)))
        refused("noisy", lambda: of(cut, qj.Circuit(2).x(0).depolarizing(0.1, [0])))
        refused("unitary", lambda: qj.unitary(layers(n, 1), options=cut))
        refused("density_matrix", lambda: qj.density_matrix(layers(n, 1), options=cut))
        refused("shots", lambda: qj.expectation(layers(n, 1), qj.Z(0), shots=5, options=cut))
        batch = qj.Circuit(2).ry(qj.Parameter("x"), 0).ry(qj.Parameter("y"), 1)
        params = {"x": jnp.zeros(3), "y": 0.0}
        refused("batch", lambda: of(qj.PlanOptions(batch_axis="a"), batch)(params))
        mapped = jax.shard_map(lambda w: of(cut)({"w": w}), in_specs=P(), out_specs=P())
        refused("manual", lambda: mapped(w["w"]))
    with jax.set_mesh(jax.make_mesh((8,), ("a",), axis_types=(AxisType.Explicit,))):
        refused("explicit", lambda: of(cut)(w))
    with jax.set_mesh(jax.make_mesh((6,), ("a",), axis_types=(AxisType.Auto,), devices=jax.devices()[:6])):
        refused("six", lambda: of(cut)(w))


with jax.set_mesh(MESH):
    random_circuits((2,) if FEW else range(60))
with jax.set_mesh(WIDE):
    single_precision()
    few_local()
    readings()
    second_order()


programs()
named()
refusals()
