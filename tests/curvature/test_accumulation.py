"""Long accumulations: stopped anywhere and resumed they give the same bits, and say beforehand what they hold."""

import dataclasses
import functools
import os
import subprocess
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.common import checkpoint, files, memory
from qjaxsim.curvature import CircuitOutputs, SplitPlan, circuit_outputs, gauss_newton, plan_split
from qjaxsim.curvature import split_hessian as split
from qjaxsim.models.losses import cross_entropy
from qjaxsim.models.patches import PatchesModel
from tests.cases import mostly_slow

N, COUNT, CHUNK = 3, 17, 5
DONE = [5, 10, 15, 17]
KINDS = ["pushed", "stages", "collapsed", "cones"]


def circuit():
    x, w = qj.Parameter("x", (N,)), qj.Parameter("w", (N, 2))
    made = qj.Circuit(N)
    for q in range(N):
        made.ry(x[q], q)
    for q in range(N):
        made.rx(w[q, 0], q).ry(w[q, 1], q).cx(q, (q + 1) % N)
    return made


@functools.cache
def models():
    """One object for all tests, so that each is compiled once."""
    encoded = CircuitOutputs(circuit(), (qj.Z(0) + 0.5 * qj.X(1), qj.Y(2) @ qj.X(0)), ("x",), 4.0)
    patches = PatchesModel(4, 1, n_qubits=N, image_size=3, patch_size=2, n_classes=2)
    return SimpleNamespace(
        pushed=lambda p, x: encoded(p, x),
        collapsed=encoded,
        cones=dataclasses.replace(encoded),
        stages=patches.outputs,
        init=patches.init,
    )


def problem(kind, dtype=np.float64):
    rng = np.random.default_rng(4)
    if kind == "stages":
        params, x = models().init(jax.random.key(1), dtype), rng.normal(size=(COUNT, 3, 3)).astype(dtype)
    else:
        params, x = {"w": rng.normal(size=(N, 2)).astype(dtype)}, {"x": rng.normal(size=(COUNT, N)).astype(dtype)}
    return getattr(models(), kind), cross_entropy, params, x, np.arange(COUNT) % 2


@functools.cache
def whole(kind):
    return split(*problem(kind), batch_size=CHUNK)


@pytest.fixture(autouse=True)
def every_chunk_is_saved_and_few_samples_collapse(monkeypatch):
    monkeypatch.setattr(checkpoint, "SAVES_APART", 0)
    monkeypatch.setattr(circuit_outputs, "LEAST_SAMPLES", 1)
    monkeypatch.setattr(CircuitOutputs, "sees_little", lambda self, _: self is models().cones)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sums.npz"


def stop_at(number):
    def progress(done, total):
        if done == number:
            raise KeyboardInterrupt

    return progress


def interrupted(path, number=CHUNK, kind="pushed"):
    with pytest.raises(KeyboardInterrupt):
        split(*problem(kind), batch_size=CHUNK, checkpoint=path, progress=stop_at(number))


def resumed(path, monkeypatch, kind, **options):
    """The split, what `progress` saw, and how many chunks were computed."""
    seen, chunks, chunk = [], [], gauss_newton.samples_from
    monkeypatch.setattr(gauss_newton, "samples_from", lambda *args, **how: (chunks.append(1), chunk(*args, **how))[1])
    found = split(*problem(kind), checkpoint=path, progress=lambda *done: seen.append(done), **options)
    return found, seen, len(chunks)


def assert_same_bits(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("kind", mostly_slow(KINDS, keep=[0, 2, 3]))
@pytest.mark.parametrize("number", DONE)
def test_interrupted_and_resumed_is_the_same_bit_for_bit(path, monkeypatch, kind, number):
    interrupted(path, number, kind)
    found, seen, chunks = resumed(path, monkeypatch, kind, batch_size=CHUNK)
    assert seen == [(done, COUNT) for done in DONE if done >= number]
    assert chunks == len(seen) - 1
    assert_same_bits(found, whole(kind))


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
def test_interrupted_again_and_again(path, monkeypatch, kind):
    for number in DONE[:3]:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(gauss_newton, "samples_from", one_window_of(number))
            split(*problem(kind), batch_size=CHUNK, checkpoint=path, progress=stop_at(number))
    assert_same_bits(split(*problem(kind), batch_size=CHUNK, checkpoint=path), whole(kind))


def one_window_of(number, samples_from=gauss_newton.samples_from):
    """No samples but the first chunk's (for the check of the functions) and those up to `number`."""

    def checked(x, y, begin, **how):
        assert begin in (0, number - CHUNK)
        return samples_from(x, y, begin, **how)

    return checked


CHILD = """
import importlib.util, os, sys, time
import jax
jax.config.update("jax_enable_x64", True)
spec = importlib.util.spec_from_file_location("tested", sys.argv[1])
tested = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tested)
tested.checkpoint.SAVES_APART = 0
replaced, replace = [], os.replace

def slow_third(*args):
    if len(replaced) == 2:
        print("writing", flush=True)
        time.sleep(600)
    replaced.append(replace(*args))

os.replace = slow_third
tested.split(*tested.problem("pushed"), batch_size=tested.CHUNK, checkpoint=sys.argv[2])
"""


def test_killed_in_the_middle_of_a_write(path, monkeypatch):
    # Compiled as here: the same bits are asked for.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, __file__, str(path)], env=environment, stdout=subprocess.PIPE, text=True
    )
    with child:
        line = child.stdout.readline()
        child.kill()
    assert line == "writing\n"
    assert child.returncode == -9
    assert len(list(path.parent.iterdir())) == 2  # the file, and what was being written
    found, seen, chunks = resumed(path, monkeypatch, "pushed", batch_size=CHUNK)
    assert seen == [(10, COUNT), (15, COUNT), (17, COUNT)]
    assert chunks == 2
    assert list(path.parent.iterdir()) == [path]
    assert_same_bits(found, whole("pushed"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_finished_file_stays_and_answers(path, monkeypatch, kind):
    split(*problem(kind), batch_size=CHUNK, checkpoint=str(path))
    written = path.read_bytes()
    found, seen, chunks = resumed(path, monkeypatch, kind, batch_size=CHUNK)
    assert (seen, chunks) == ([(COUNT, COUNT)], 0)
    assert_same_bits(found, whole(kind))
    assert path.read_bytes() == written


def test_the_chunk_of_the_file_is_taken_whatever_memory_is_free(path, monkeypatch):
    interrupted(path)
    found, seen, _ = resumed(path, monkeypatch, "pushed")
    assert [done for done, _ in seen] == DONE
    assert_same_bits(found, whole("pushed"))


def test_without_a_checkpoint_no_file_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "write_npz", None)
    split(*problem("pushed"), batch_size=CHUNK)
    assert not list(tmp_path.iterdir())


def changed(what):
    """Arguments and options that differ from those of `interrupted` in one thing."""
    outputs, loss, params, x, y = problem("pushed", np.float32 if what == "dtype" else np.float64)
    options = {"batch_size": CHUNK}
    if what == "params":
        params = {"w": np.nextafter(params["w"], 9)}
    if what == "name":
        outputs, params = (lambda p, x: models().pushed({"w": p["v"]}, x)), {"v": params["w"]}
    if what == "x":
        x = {"x": np.nextafter(x["x"], 9)}
    if what == "y":
        y = 1 - y
    if what == "samples":
        x, y = {"x": x["x"][:16]}, y[:16]
    if what == "structure":
        outputs = models().collapsed
    if what == "outputs":
        outputs = lambda p, x: 1.001 * models().pushed(p, x)  # noqa: E731
    if what == "loss":
        loss = lambda z, y: 2 * cross_entropy(z, y)  # noqa: E731
    if what == "frozen weights":
        outputs = lambda p, x: models().pushed(jax.lax.stop_gradient(p), x)  # noqa: E731
    if what == "curvature of the loss":
        loss = lambda z, y: cross_entropy(z, y) + ((z - jax.lax.stop_gradient(z)) ** 2).sum(1)  # noqa: E731
    if what in ("batch_size", "rows"):
        options[what] = 4
    return (outputs, loss, params, x, y), options


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("params", "params"),
        ("name", "params"),
        ("x", "x"),
        ("y", "y"),
        ("samples", r"x, y, number of samples \(17, now 16\)"),
        ("dtype", r"params, x, dtype \(float64, now float32\)"),
        ("batch_size", r"batch_size \(5, now 4\)"),
        ("rows", r"rows \(6, now 4\)"),
        ("structure", r"structure \(pushed, now collapsed\)"),
        ("outputs", "outputs or loss"),
        ("loss", "outputs or loss"),
        ("frozen weights", "outputs or loss"),
        ("curvature of the loss", "outputs or loss"),
    ],
)
def test_another_computation_is_refused(path, what, words):
    interrupted(path)
    written = path.read_bytes()
    arguments, options = changed(what)
    message = rf"`checkpoint` must .*{path.name} was made with other {words}; delete it or use another path\.$"
    with pytest.raises(ValueError, match=message):
        split(*arguments, **options, checkpoint=path)
    assert path.read_bytes() == written


def test_a_loss_that_differs_on_later_samples_alone_is_refused(path):
    huber = {delta: functools.partial(huber_loss, delta) for delta in (10.0, 1.0)}
    outputs = lambda w, x: jnp.sin(w) * x  # noqa: E731
    arguments = jnp.array(0.5), np.repeat([[0.1], [5.0]], 4, axis=0), np.zeros(8)
    split(outputs, huber[10.0], *arguments, batch_size=4, checkpoint=path)
    with pytest.raises(ValueError, match="was made with other outputs or loss"):
        split(outputs, huber[1.0], *arguments, batch_size=4, checkpoint=path)


def huber_loss(delta, z, y):
    far = abs(z[:, 0] - y)
    return jnp.where(far < delta, far**2 / 2, delta * (far - delta / 2))


def flipped(content):
    """One bit in the middle of the data of the largest array."""
    place = content.index(b"NUMPY") + 200
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize(
    "damage", [lambda c: c[: len(c) // 2], lambda c: b"", lambda c: bytes(len(c)), lambda c: c[:-1], flipped]
)
@pytest.mark.parametrize("batch_size", [CHUNK, None])
def test_a_damaged_file_is_refused_and_kept(path, damage, batch_size):
    interrupted(path)
    path.write_bytes(damage(path.read_bytes()))
    written = path.read_bytes()
    with pytest.raises(ValueError, match=rf"{path.name} cannot be read \(.+\); delete it to start"):
        split(*problem("pushed"), batch_size=batch_size, checkpoint=path)
    assert path.read_bytes() == written


@pytest.mark.parametrize("arrays", [{"a": np.ones(2)}, {"identity": np.eye(2)}])
def test_other_files_are_refused(path, arrays):
    files.write_npz(path, arrays)
    with pytest.raises(
        ValueError, match=f"must name a checkpoint or a new file, but .*{path.name} is none; use another"
    ):
        split(*problem("pushed"), checkpoint=path)


# --- the plan --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_plan_counts_matrices_and_jacobians(dtype):
    found = plan_split(*problem("pushed", dtype), batch_size=CHUNK, rows=4)
    itemsize = np.dtype(dtype).itemsize
    assert found == SplitPlan("pushed", 6, CHUNK, 4, 5 * 36 * itemsize, 3 * CHUNK * 2 * 6 * itemsize)
    assert found.total_bytes == found.matrix_bytes + found.chunk_bytes


def test_a_plan_counts_circuits():
    model, _, params, *_ = problem("stages")
    size = sum(leaf.size for leaf in params.values())
    found = plan_split(*problem("stages"), batch_size=CHUNK)
    assert (found.structure, found.parameters) == ("stages", size)
    # By circuit: one stage of 6 weights on |000>, two on any state; 32 tangents with two for each place of a bias.
    held = 16 * (2 + 6) + 2 * 16 * 8 * (2 + 6) + len(model.part.order) ** 2
    assert found.matrix_bytes == 8 * (5 * size**2 + (4 + 1) * held + 8 * 8 * 8**2)
    assert found.chunk_bytes == 8 * CHUNK * (3 * 2 * size + 8 * 16 * len(model.part.order))
    found = plan_split(*problem("collapsed"), batch_size=CHUNK)
    assert found.structure == "collapsed"
    assert found.matrix_bytes == 8 * (5 * 36 + 8 * 6 * 64)


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_shrink_to_what_fits(monkeypatch, kind):
    one = plan_split(*problem(kind), batch_size=1)
    assert plan_split(*problem(kind)).samples == COUNT
    monkeypatch.setattr(memory, "available_bytes", lambda: one.matrix_bytes + 6 * one.chunk_bytes - 1)
    assert plan_split(*problem(kind)) == one._replace(samples=5, chunk_bytes=5 * one.chunk_bytes)
    seen = []
    found = split(*problem(kind), progress=lambda done, _: seen.append(done))
    assert seen == DONE
    assert_same_bits(found, whole(kind))


@pytest.mark.parametrize(("kind", "other"), [("stages", "parts"), ("collapsed", "pushed"), ("cones", "collapsed")])
def test_little_memory_takes_the_other_way(monkeypatch, kind, other):
    one = plan_split(*problem(kind), batch_size=1)
    monkeypatch.setattr(memory, "available_bytes", lambda: one.total_bytes - 1)
    assert plan_split(*problem(kind), batch_size=1).structure == other


@pytest.mark.parametrize("call", [split, plan_split])
@pytest.mark.parametrize(
    ("batch_size", "missing", "way_out"),
    [(None, 1, "use Lanczos"), (2, 0, "use a smaller `batch_size` or Lanczos"), (1, 1, "use Lanczos")],
)
def test_what_does_not_fit_is_refused_before_anything_is_allocated(monkeypatch, call, batch_size, missing, way_out):
    one = plan_split(*problem("pushed"), batch_size=1)
    monkeypatch.setattr(memory, "available_bytes", lambda: one.total_bytes - missing)
    monkeypatch.setattr(gauss_newton, "WAYS", None)
    with pytest.raises(MemoryError, match=rf"^The split Hessian of 6 parameters needs .* are free; {way_out} \(?`?"):
        call(*problem("pushed"), batch_size=batch_size)
