"""Training that is kept: folders, runs that go on, and runs that survive being killed."""

import csv
import dataclasses
import io
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import jax.numpy as jnp
import numpy as np
import pytest

from qjaxsim.common import files
from qjaxsim.training import CheckpointError, fit
from qjaxsim.training import checkpoint as checkpoint_module
from tests.training_problem import PROBLEM, assert_equal_runs, config, logits, loss, metrics, params, run, x, y

# --- on disk -----------------------------------------------------------------------------------------------------


def test_folder_holds_the_run(tmp_path, uninterrupted):
    result = run(folder=tmp_path)
    assert_equal_runs(result, uninterrupted)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["epoch_0011.npz", "epoch_0012.npz"]
    points = [np.load(tmp_path / "trajectory" / f"epoch_{i:04d}.npy") for i in range(13)]
    np.testing.assert_array_equal(points, result.trajectory)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "metrics.csv").read_text())))
    assert [float(row["train_loss"]) for row in rows] == [row["train_loss"] for row in result.history]
    assert (rows[0]["learning_rate"], rows[1]["learning_rate"]) == ("", "0.05")


def test_resume_of_a_finished_run_and_of_nothing(tmp_path, uninterrupted):
    assert_equal_runs(run(folder=tmp_path, resume=True), uninterrupted)
    before = (tmp_path / "metrics.csv").read_text()
    assert_equal_runs(run(folder=tmp_path, resume=True), uninterrupted)
    assert (tmp_path / "metrics.csv").read_text() == before


def test_more_epochs_go_on_from_a_finished_run(tmp_path, uninterrupted):
    fit(loss, params, x, y, dataclasses.replace(config, epochs=5), metrics=metrics, folder=tmp_path)
    longer = fit(loss, params, x, y, config, metrics=metrics, folder=tmp_path, resume=True)
    np.testing.assert_array_equal(longer.trajectory, uninterrupted.trajectory)


def test_another_loss_does_not_go_on(tmp_path):
    fit(loss, params, x, y, dataclasses.replace(config, epochs=1), folder=tmp_path)
    start = float(np.mean(loss(params, x, y)))
    said = rf"`folder` must hold this run, .* another loss \({start:.4g}\d* at the start, now {2 * start:.4g}"
    with pytest.raises(CheckpointError, match=said):
        fit(lambda p, x, y: 2 * loss(p, x, y), params, x, y, config, folder=tmp_path, resume=True)


def test_other_metrics_of_the_same_names_do_not_go_on_unseen(tmp_path):
    def measured(shift, factor=1.0):
        return lambda p, x, y: {"loss": loss(p, x, y), "b": jnp.abs(p["w"]).sum() + shift, "c": factor * loss(p, x, y)}

    def again(found, **best):
        few = dataclasses.replace(config, epochs=2, **best)
        return fit(loss, params, x, y, few, metrics=found, folder=tmp_path, resume=True)

    first = again(measured(0.0), best="train_c").history
    before = float(np.abs(params["w"]).sum())
    said = (
        rf"another metric 'train_b' \({before:.4g}\d* at the start, now {before + 7:.4g}\d*\); rows of epochs already"
    )
    with pytest.warns(UserWarning, match=said):
        assert again(measured(7.0), best="train_c").history == first
    with pytest.raises(CheckpointError, match=r"`folder` must hold this run, .* another metric 'train_c' \(.* use it"):
        again(measured(0.0, factor=-1.0), best="train_c")


def test_checkpoint_every_third_epoch(tmp_path, uninterrupted):
    shorter = dataclasses.replace(config, epochs=8)
    fit(loss, params, x, y, shorter, folder=tmp_path, checkpoint_every=3)
    names = sorted(path.stem for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["epoch_0006", "epoch_0008"]
    points = sorted((tmp_path / "trajectory").iterdir())
    np.testing.assert_array_equal([np.load(p) for p in points], uninterrupted.trajectory[:9])


class Interrupted(Exception):
    pass


def interrupt_at(monkeypatch, epoch):
    """Make the checkpoint of an epoch fail halfway: its trajectory point is written, the rest is not."""
    write = files.write_npz

    def write_npz(path, arrays):
        if path.stem == f"epoch_{epoch:04d}":
            raise Interrupted
        return write(path, arrays)

    monkeypatch.setattr(checkpoint_module.files, "write_npz", write_npz)


@pytest.fixture(scope="module")
def stopped_in_epoch_7(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patched:
        interrupt_at(patched, 7)
        with pytest.raises(Interrupted):
            run(folder=folder)
    return folder


@pytest.fixture
def stopped(stopped_in_epoch_7, tmp_path):
    """A folder of its own with a run that died while writing the checkpoint of epoch 7."""
    return shutil.copytree(stopped_in_epoch_7, tmp_path / "run")


def test_interrupted_run_goes_on_bit_for_bit(stopped, uninterrupted):
    # What the lost epoch left must not be taken for the new one.
    np.save(stopped / "trajectory" / "epoch_0007.npy", np.zeros(18))
    assert_equal_runs(run(folder=stopped, resume=True), uninterrupted)
    np.testing.assert_array_equal(np.load(stopped / "trajectory" / "epoch_0007.npy"), uninterrupted.trajectory[7])


def test_what_was_left_without_a_checkpoint_is_not_taken(tmp_path, uninterrupted):
    (tmp_path / "trajectory").mkdir()
    np.save(tmp_path / "trajectory" / "epoch_0001.npy", np.zeros(18))
    run(folder=tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / "trajectory" / "epoch_0001.npy"), uninterrupted.trajectory[1])


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "bit flip", "trajectory"])
def test_damaged_checkpoint_falls_back_to_the_one_before(stopped, uninterrupted, damage):
    path = stopped / "checkpoints" / "epoch_0006.npz"
    if damage == "trajectory":
        path = stopped / "trajectory" / "epoch_0006.npy"
    whole = path.read_bytes()
    middle = whole.index(uninterrupted.trajectory[6].tobytes()[:12])
    path.write_bytes({
        "truncated": whole[: len(whole) // 2],
        "garbage": b"not a checkpoint",
        "empty": b"",
        "bit flip": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        "trajectory": whole[:100],
    }[damage])  # fmt: skip
    with pytest.warns(UserWarning, match=r"Passed over a damaged checkpoint \(epoch_0006\.npz: .*from epoch_0005\.npz"):
        result = run(folder=stopped, resume=True)
    assert_equal_runs(result, uninterrupted)


@pytest.mark.parametrize("damage", ["a folder", "too few", "another dtype", "a folder in the trajectory"])
def test_odd_things_in_the_place_of_files_are_damage(stopped, uninterrupted, damage):
    path = stopped / ("checkpoints/epoch_0006.npz" if damage == "a folder" else "trajectory/epoch_0006.npy")
    point = np.load(stopped / "trajectory" / "epoch_0006.npy")
    path.unlink()
    if "folder" in damage:
        (path / "mine").mkdir(parents=True)
    else:
        np.save(path, point[:-1] if damage == "too few" else point.astype(np.float16))
    with pytest.warns(UserWarning, match=r"Passed over a damaged checkpoint \(epoch_0006\.npz: .*from epoch_0005\.npz"):
        assert_equal_runs(run(folder=stopped, resume=True), uninterrupted)
    assert not path.is_dir() and [one.name for one in stopped.glob("*/*.damaged1/*")] == ["mine"] * ("folder" in damage)


def test_copies_beside_the_checkpoints_are_kept(stopped):
    kept = stopped / "checkpoints" / "epoch_0006 (copy).npz"
    shutil.copy(stopped / "checkpoints" / "epoch_0006.npz", kept)
    content = kept.read_bytes()
    run(folder=stopped, resume=True)
    assert kept.read_bytes() == content


def test_only_damaged_checkpoints(stopped):
    for path in (stopped / "checkpoints").iterdir():
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"checkpoints cannot be read \(.*epoch_0006.*epoch_0005.*\); move"):
        run(folder=stopped, resume=True)


def test_resume_refuses_another_run_and_names_the_difference(tmp_path):
    few = dataclasses.replace(config, epochs=2)
    fit(loss, params, x, y, few, folder=tmp_path)

    def again(params=params, x=x, config=few, **options):
        return fit(loss, params, x, y, config, folder=tmp_path, resume=True, **options)

    with pytest.raises(CheckpointError, match=r"other settings \(config\.learning_rate was 0\.05, is 0\.1\); use them"):
        again(config=dataclasses.replace(few, learning_rate=0.1))
    with pytest.raises(CheckpointError, match=r"config\.epochs was None, is 2"):
        again(config=dataclasses.replace(few, schedule="cosine"))
    with pytest.raises(CheckpointError, match=r"data\.train was \['float32\[64, 5\] \w+', .*is \['float32\[64, 5\] "):
        again(x=x + 1)
    with pytest.raises(
        CheckpointError, match=r"\(params\.params\['b'\] was 'float32\[3\] \w+', is 'float32\[3\] \w+'\)"
    ):
        again(params=params | {"b": np.ones(3, np.float32)})
    with pytest.raises(CheckpointError, match=r"metrics was \['train_loss'\], is \['train_accuracy', 'train_loss'\]"):
        again(metrics=metrics)
    with pytest.raises(ValueError, match=r"`config\.epochs` must be at least the 2 epochs already in .*, but is 1"):
        again(config=dataclasses.replace(few, epochs=1))
    with pytest.raises(FileExistsError, match=r"`folder` must not hold a run, but .* pass resume=True"):
        fit(loss, params, x, y, few, folder=tmp_path)
    assert len(again().history) == 3


def test_resume_refuses_other_weights_of_examples(tmp_path):
    each = lambda p, x, y: logits(p, x)[:, 0] ** 2  # noqa: E731
    few = dataclasses.replace(config, epochs=1)
    fit(each, params, x, y, few, folder=tmp_path, weights=np.arange(1, 65))
    assert fit(each, params, x, y, few, folder=tmp_path, resume=True, weights=2 * np.arange(1, 65)).best_epoch >= 0
    with pytest.raises(CheckpointError, match=r"weights was 'float64\[64\] \w+', is "):
        fit(each, params, x, y, few, folder=tmp_path, resume=True, weights=np.arange(2, 66))
    with pytest.raises(CheckpointError, match=r"weights was 'float64\[64\] \w+', is None"):
        fit(each, params, x, y, few, folder=tmp_path, resume=True)


def test_cosine_over_the_run_refuses_other_lengths(tmp_path):
    falling = dataclasses.replace(config, epochs=2, schedule="cosine")
    fit(loss, params, x, y, falling, folder=tmp_path)
    with pytest.raises(CheckpointError, match=r"config\.epochs was 2, is 4"):
        fit(loss, params, x, y, dataclasses.replace(falling, epochs=4), folder=tmp_path, resume=True)


def test_optimiser_state_of_another_form_is_not_taken(stopped):
    for path in (stopped / "checkpoints").iterdir():
        with np.load(path) as stored:
            arrays = dict(stored)
        files.write_npz(path, arrays | {"optimizer/0": arrays["optimizer/0"].astype(np.int64)})
    with pytest.raises(
        CheckpointError,
        match=r"cannot be read \(epoch_0006.npz: its parameters or the optimiser's state have another form;",
    ):
        run(folder=stopped, resume=True)


# --- killed for real ---------------------------------------------------------------------------------------------

KILLED = PROBLEM + textwrap.dedent("""
    import os, signal, sys, time
    jax.config.update("jax_enable_x64", True)
    replace, count = os.replace, 0

    def slow_or_deadly(source, target):
        # Every file passes here: slow enough to be killed from outside, and from the eighth epoch on waiting for it,
        # or killing itself between write and rename.
        global count
        count += 1
        if sys.argv[2] == "outside":
            time.sleep(0.05 if count < 25 else 120)
        elif count == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    os.replace = slow_or_deadly
    run(folder=sys.argv[1], resume=True)
    print("finished")
""")


def start_killed(folder, how):
    return subprocess.Popen(
        [sys.executable, "-c", KILLED, folder, how], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.thorough
def test_killed_between_write_and_rename_again_and_again(tmp_path, uninterrupted):
    """One process dies in the checkpoint of epoch 2; the next, going on, in the metrics after that of epoch 3."""
    for how in ("8", "7"):
        process = start_killed(tmp_path, how)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL, errors
        assert list(tmp_path.glob("*/.*.tmp")) + list(tmp_path.glob(".*.tmp")) != []
    assert max((tmp_path / "checkpoints").glob("epoch_*.npz")).stem == "epoch_0003"
    assert_equal_runs(run(folder=tmp_path, resume=True), uninterrupted)
    assert list(tmp_path.glob("*/.*.tmp")) + list(tmp_path.glob(".*.tmp")) == []


def test_killed_from_outside_at_any_moment(tmp_path, uninterrupted):
    process = start_killed(tmp_path, "outside")
    fourth = tmp_path / "checkpoints" / "epoch_0004.npz"
    deadline = time.monotonic() + 120
    while not fourth.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors
    assert "finished" not in output
    newest = int(max((tmp_path / "checkpoints").glob("epoch_*.npz")).stem[-4:])
    assert 4 <= newest < 12
    assert_equal_runs(run(folder=tmp_path, resume=True), uninterrupted)
