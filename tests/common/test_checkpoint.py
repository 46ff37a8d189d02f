"""Unfinished work in a file: what is saved comes back bit for bit, or the file is refused in one sentence."""

import os
import re
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qjaxsim.common import checkpoint, files
from qjaxsim.common.checkpoint import Checkpoint, Fingerprint, OtherComputationError, digest

IDENTITY = {"data": digest(np.arange(3.0)), "samples": 17, "config": {"rates": (0.1, 0.2), "name": None}}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sums.npz"


class Pair(NamedTuple):
    left: jax.Array
    right: object


STATE = {
    "sums": Pair(jnp.ones((2, 3)), [jnp.arange(4, dtype=jnp.int32), {"a": np.full((2, 1), 7.5)}]),
    "single": jnp.array([1.0, -0.0, jnp.nan]),
    "done": 40,
    "seconds": 0.1,
    "converged": True,
    "text": "[1, 2]",
    "nothing": (),
}


def alike(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert isinstance(one, jax.Array) == isinstance(other, jax.Array)
        if isinstance(other, np.ndarray | jax.Array):
            assert (one.dtype, one.shape) == (other.dtype, other.shape)
            assert np.asarray(one).tobytes() == np.asarray(other).tobytes()
        else:
            assert type(one) is type(other) and one == other
    return True


def zeros(state):
    """Another state of that form."""
    blank = {int: -1, float: -1.0, bool: False, str: ""}
    return jax.tree.map(
        lambda leaf: (
            blank[type(leaf)]
            if type(leaf) in blank
            else np.zeros_like(leaf)
            if isinstance(leaf, np.ndarray)
            else jnp.zeros_like(leaf)
        ),
        state,
    )


def test_a_state_comes_back_with_the_kinds_of_its_leaves(path):
    saved = Checkpoint(path, IDENTITY)
    assert saved.restore(zeros(STATE)) is None and not path.exists()
    saved.save(STATE)
    assert alike(Checkpoint(str(path), IDENTITY).restore(zeros(STATE)), STATE)
    with np.load(path, allow_pickle=False) as stored:
        assert sorted(stored) == [
            "converged", "done", "identity", "seconds", "single", "sums/0", "sums/1", "sums/2", "text",
        ]  # fmt: skip


DTYPES = ["float32", "float64", "complex64", "complex128", "bfloat16", "float16", "int8", "int64", "uint32", "bool"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3, 2)])
def test_every_dtype_comes_back(path, dtype, shape):
    numbers = np.random.default_rng(5).normal(size=(2, *shape)) * 9
    values = (numbers[0] + 1j * numbers[1] if dtype.startswith("complex") else numbers[0]).astype(jnp.dtype(dtype))
    state = {"jax": [jnp.asarray(values)], "numpy": np.asarray(values)}
    saved = Checkpoint(path, {})
    saved.save(state)
    assert alike(saved.restore(zeros(state)), state)


def test_keys_of_random_numbers_come_back(path):
    state = {"key": jax.random.key_data(jax.random.key(3))}
    saved = Checkpoint(path, {})
    saved.save(state)
    restored = saved.restore({"key": jnp.zeros(2, jnp.uint32)})
    assert jax.random.uniform(jax.random.wrap_key_data(restored["key"])) == jax.random.uniform(jax.random.key(3))


def test_histories_grow_where_they_may(path):
    saved, like = Checkpoint(path, IDENTITY), {"rows": np.empty((0, 2)), "done": 0}
    for rows in (1, 5):
        state = {"rows": np.arange(2.0 * rows).reshape(rows, 2), "done": rows}
        saved.save(state, last=True)
        assert alike(saved.restore(like, growing=("rows",)), state)
    with pytest.raises(files.DamagedError, match=r"an array has shape \(5, 2\), not \(0, 2\)"):
        saved.restore(like)
    for other in (np.empty((0, 3)), np.empty(0), np.empty((0, 2, 1))):
        with pytest.raises(files.DamagedError, match=r"an array has shape \(5, 2\), not \(0"):
            saved.restore({**like, "rows": other}, growing=("rows",))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"single": jnp.zeros(2)}, r"an array has shape \(3,\), not \(2,\)"),
        ({"single": jnp.zeros(3, jnp.float32)}, "an array has dtype float64, not float32"),
        ({"single": jnp.zeros(3, jnp.int64)}, "an array has dtype float64, not int64"),
        ({"single": [jnp.zeros(3)]}, "it has 1 arrays of its single, not 1"),
        ({"single": 1.0}, "single is no float"),
        ({"done": 1.0}, "done is no float"),
        ({"text": 1}, "text is no int"),
        ({"sums": [jnp.ones((2, 3))]}, "it has 3 arrays of its sums, not 1"),
        ({"sums": [jnp.ones((2, 3))] * 4}, "it has 3 arrays of its sums, not 4"),
        ({"more": 0}, "it has 0 arrays of its more, not 1"),
    ],
)
def test_states_of_another_form_are_refused(path, change, reason):
    saved = Checkpoint(path, IDENTITY)
    saved.save(STATE)
    with pytest.raises(checkpoint.OtherFormError, match=rf"sums.npz cannot be read \({reason}\); delete it to start"):
        saved.restore(STATE | change)


@pytest.mark.parametrize(
    ("change", "others"),
    [
        ({"data": digest(np.arange(4.0))}, "data"),
        ({"samples": 18}, "samples (17, now 18)"),
        ({"config": {"rates": [0.1, 0.2]}, "added": "x"}, "added (None, now x)"),
        ({"config": {"rates": [3], "name": "y"}}, "config.rates ([0.1, 0.2], now [3]), config.name (None, now y)"),
        ({"config": 3, "data": None}, "data, config ({'rates': [0.1, 0.2], 'name': None}, now 3)"),
    ],
)  # fmt: skip
def test_another_computation_is_refused_with_what_differs(path, change, others):
    Checkpoint(path, IDENTITY).save(STATE)
    written = path.read_bytes()
    with pytest.raises(OtherComputationError) as caught:
        Checkpoint(path, IDENTITY | change).restore(STATE)
    assert str(caught.value) == (
        f"Argument `checkpoint` must name a file of the same computation, but {path} was made with other {others}; "
        f"delete it or use another path."
    )
    with pytest.raises(ValueError, match=f"^{path.name} is of other {re.escape(others)}$"):
        Checkpoint(path, IDENTITY | change, refusal=path.name + " is of other {others}").restore(STATE)
    assert path.read_bytes() == written


def test_fingerprints_are_equal_up_to_rounding(path):
    def saved(array, dtype=jnp.float64):
        return Checkpoint(path, IDENTITY, fingerprint=Fingerprint("slopes", "the loss", jnp.asarray(array, dtype)))

    mark = np.array([1e3, 1e-3, np.nan, np.inf])
    saved(mark).save(STATE)
    for same in (mark, mark * (1 + 1e-12), mark + [0, 1e-6, 0, 0]):
        assert alike(saved(same).restore(STATE), STATE)
    for other in (mark[:3], mark + [0, 1e-3, 0, 0], mark[::-1], -mark):
        with pytest.raises(ValueError, match="was made with other the loss; delete"):
            saved(other).restore(STATE)
    assert alike(saved(mark + [0, 1e-3, 0, 0], jnp.float32).restore(STATE), STATE)  # whose rounding is as coarse
    path.unlink()
    saved([0.1, 3.0], jnp.bfloat16).save(STATE)
    assert alike(saved([0.1, 3.0], jnp.bfloat16).restore(STATE), STATE)


def test_numbers_names_and_forms_make_a_digest():
    tree = {"a": np.arange(6.0).reshape(2, 3), "b": [np.array(1)]}
    same = digest(jax.tree.map(jnp.asarray, tree))
    assert digest(tree) == same
    others = [
        {**tree, "a": tree["a"].T},
        {**tree, "a": tree["a"].reshape(3, 2)},
        {**tree, "a": tree["a"].astype(np.float32)},
        {**tree, "a": np.nextafter(tree["a"], 9)},
        {**tree, "b": np.array(1)},
        {"c": tree["a"], "b": tree["b"]},
    ]
    assert len({same, *map(digest, others)}) == 7


def flipped(content):
    """One bit in the middle of the first array."""
    place = content.index(b"NUMPY") + 130
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize(
    "damage", [lambda c: c[: len(c) // 2], lambda c: b"", lambda c: bytes(len(c)), lambda c: c[:-1], flipped]
)
def test_a_damaged_file_is_refused_and_kept(path, damage):
    saved = Checkpoint(path, IDENTITY)
    saved.save(STATE)
    path.write_bytes(damage(path.read_bytes()))
    written = path.read_bytes()
    with pytest.raises(files.DamagedError, match=r"sums\.npz cannot be read \(.+\); delete it to start"):
        saved.restore(STATE)
    assert path.read_bytes() == written


def write_array(path):
    with path.open("wb") as file:
        np.save(file, np.ones(3))


@pytest.mark.parametrize(
    "write",
    [
        lambda path: np.savez(path, done=1),
        lambda path: np.savez(path, identity=np.eye(2), done=1),
        lambda path: np.savez(path, identity=np.array("no json")),
        lambda path: np.savez(path, identity=np.array("[1]")),
        lambda path: path.write_text("text"),
        lambda path: path.mkdir(),
        write_array,
    ],
)
def test_what_is_no_checkpoint_is_the_users_and_told_so(path, write):
    write(path)
    before = path.is_dir() or path.read_bytes()
    for use in (lambda: Checkpoint(path, {}).restore({"done": 1}), lambda: checkpoint.stored_identity(path)):
        with pytest.raises(checkpoint.NoCheckpointError) as caught:
            use()
        assert str(caught.value) == (
            f"Argument `checkpoint` must name a checkpoint or a new file, but {path} is none; use another path."
        )
    assert (path.is_dir() or path.read_bytes()) == before


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("", ValueError, "`checkpoint` must name a file or a folder, but is empty; '.' is the folder here"),
        (b"sums.npz", TypeError, "`checkpoint` must be a path, as text or a `pathlib.Path`, but is b'sums.npz'"),
        (3, TypeError, "`checkpoint` must be a path, as text or a `pathlib.Path`, but is 3"),
    ],
)
def test_what_names_no_file_is_refused(given, error, message):
    for use in (lambda: Checkpoint(given, IDENTITY), lambda: checkpoint.stored_identity(given)):
        with pytest.raises(error, match=message):
            use()


def test_what_the_computation_in_a_file_is(path):
    assert checkpoint.stored_identity(path) == {}
    Checkpoint(path, {"batch_size": np.int64(5), "dtypes": ("a",)}).save({})
    assert checkpoint.stored_identity(path) == {"batch_size": 5, "dtypes": ["a"]}


def test_writes_are_atomic_and_leftovers_of_killed_writers_are_removed(path, monkeypatch):
    saved = Checkpoint(path, IDENTITY)
    saved.save(STATE)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", lambda *names: (_ for _ in ()).throw(KeyboardInterrupt))
        saved.save(STATE | {"done": 41}, last=True)
    assert alike(saved.restore(zeros(STATE)), STATE)
    leftover, other = path.with_name(f".{path.name}.12-ab.tmp"), path.with_name(".other.npz.12-ab.tmp")
    for file in (leftover, other):
        file.write_bytes(b"half")
    assert alike(saved.restore(zeros(STATE)), STATE)
    assert not leftover.exists() and other.exists()


def test_forgetting_twice(path):
    saved = Checkpoint(path, IDENTITY)
    saved.save(STATE)
    saved.forget()
    saved.forget()
    assert not path.exists() and saved.restore(STATE) is None


@pytest.mark.parametrize(("took", "expected"), [(2, [1, 4, 7, 9]), (0.5, [1, 2, 3, 4, 5, 6, 7, 8, 9]), (9, [1, 9])])
def test_saves_take_a_tenth_of_the_time(path, monkeypatch, took, expected):
    now, saves = [100.0], []

    def write(path, arrays):
        saves.append(int(arrays["samples"]))
        now[0] += took

    monkeypatch.setattr(files, "write_npz", write)
    saved = Checkpoint(path, {}, clock=lambda: now[0])
    for samples in range(1, 10):
        saved.save({"samples": samples}, last=samples == 9)
        now[0] += 7  # so 7, 14, 21 seconds after a save; the last state is written in any case
    assert saves == expected
