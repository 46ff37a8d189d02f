"""Several processes, on one machine or several, as one: who takes part, who writes, and what they tell each other.

All of it is JAX's own: `jax.distributed` makes processes known to each other, its key-value store carries what is small
and waits without a limit of time, collectives carry arrays. A process that ends before the others is noticed by its
missing heartbeats: the rest then say in one line how to go on, and end. JAX is imported when there are several.
"""

import ctypes
import itertools
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from qjaxsim.common import interrupts
from qjaxsim.common.verbosity import settings as verbosity

AUTO, ALL = "auto", "all"
# Seconds: to find each other, until a silent process counts as dead, between two looks, for goodbyes.
MEETING, SILENCE, LOOK, PARTING = 120, 20, 0.5, 20.0
_EVER = 10**9  # milliseconds


@dataclass
class Team:
    """Who takes part.

    Attributes:
        count: processes.
        index: which of them this one is.
        devices: of this process that share samples.
        together: folder of the work that all processes are at now, whose sums may be shared; None while they are not.
    """

    count: int = 1
    index: int = 0
    devices: int = 1
    together: Path | None = None

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes results, pages and progress."""
        return self.index == 0


team = Team()
_steps = itertools.count()
_parted = threading.Event()
_kept: list[Any] = []


@contextmanager
def joined(
    coordinator: str | None,
    processes: str | None,
    process: int | None,
    devices: str | None,
    state_qubits: int | None = None,
) -> Iterator[None]:
    """One of several processes for the length of a block, or as without it where nothing is asked for.

    Args:
        coordinator: "HOST:PORT" that process 0 opens and all others reach.
        processes: how many there are, or "auto": as Slurm or Open MPI say.
        process: which this one is, from 0 on.
        devices: how many of its devices share samples, or "all".
        state_qubits: states are cut over 2**state_qubits of its devices.

    Raises:
        ValueError: for what does not go together, or processes that do not find each other.
    """
    _join(coordinator, processes, process)
    try:
        team.devices = _devices(devices)
        with _state_mesh(state_qubits or 0):
            yield
    except BaseException:
        _part(failed=True)
        raise
    else:
        _part(failed=False)
    finally:
        team.count, team.index, team.devices = 1, 0, 1


# --- begin and end -----------------------------------------------------------------------------------------------


def _join(coordinator: str | None, processes: str | None, process: int | None) -> None:
    given = {"coordinator": coordinator, "processes": processes, "process": process}
    if all(value is None for value in given.values()):
        return
    count = _checked(given)
    if count == 1:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # JAX warns of what is wanted here
    import jax

    jax.config.update("jax_enable_recoverability", True)  # else JAX aborts the rest before they can say a word
    jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM from us
    place: dict[str, Any] = (
        {} if count is None else {"coordinator_address": coordinator, "num_processes": count, "process_id": process}
    )
    _at_abort(f"several processes have --process {process}")
    _meet(place, coordinator or "the place that the job names", count)
    team.count, team.index = jax.process_count(), jax.process_index()
    if not team.leads:
        verbosity.quiet, verbosity.verbose = True, False
    _at_abort(f"process 0 of {team.count} has ended")
    _parted.clear()
    _kept.append(threading.Thread(target=_watch, name="hosts", daemon=True))
    _kept[-1].start()


def _meet(place: dict[str, Any], where: str, count: int | None) -> None:
    """Find the others, or end."""
    import jax

    def alone() -> None:
        interrupts.end(
            f"error: Option --coordinator must be where process 0 listens and all others find it, but within {MEETING} "
            f"s {where} has not brought {count or 'all'} processes together",
            2,
        )

    patience = threading.Timer(MEETING, alone)  # JAX itself would abort the process
    patience.daemon = True
    patience.start()
    try:
        jax.distributed.initialize(**place, initialization_timeout=10 * MEETING, heartbeat_timeout_seconds=SILENCE)
    except ValueError as error:
        raise ValueError(
            "Argument `processes` is auto, which needs Slurm or Open MPI to say who takes part, but neither does here; "
            "give --coordinator HOST:PORT, --processes N and --process I."
        ) from error
    except RuntimeError as error:
        raise ValueError(
            f"Argument `coordinator` must be a free port of the machine of process 0, but {where} is not: "
            f"{' '.join(str(error).split())[:200]}"
        ) from error
    finally:
        patience.cancel()


def _checked(given: dict[str, Any]) -> int | None:
    """The number of processes that options ask for; None for auto."""
    from qjaxsim.common.checks import integer_from, shown  # NumPy, which `--help` does without

    if given["processes"] == AUTO:
        for name in ("coordinator", "process"):
            if given[name] is not None:
                raise ValueError(
                    f"Argument `{name}` comes from Slurm or Open MPI where `processes` is auto, but is "
                    f"{given[name]}; leave it out."
                )
        return None
    if missing := [name for name, value in given.items() if value is None]:
        raise ValueError(
            f"Argument `{missing[0]}` must be given too: --coordinator HOST:PORT, --processes N and --process I go "
            "together, and --processes auto stands for all three under Slurm and Open MPI."
        )
    text = str(given["processes"])
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"Argument `processes` must be a positive integer or auto, but is {shown(text)}.")
    count = int(text)
    integer_from(0, "process", given["process"], count - 1)
    host, _, port = str(given["coordinator"]).rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ValueError(
            f"Argument `coordinator` must be HOST:PORT, such as node1:7777, but is {shown(given['coordinator'])}."
        )
    return count


def _state_mesh(qubits: int) -> AbstractContextManager[Any]:
    """A mesh of devices here that hold a state together: an axis named so is taken by every circuit that can be cut."""
    if qubits == 0:
        return nullcontext()
    import jax

    there = jax.local_device_count()
    if team.devices > 1:
        raise ValueError(
            f"Argument `state_qubits` must be 0 where `devices` is more than 1, but is {qubits}: devices share either "
            "samples or a state; leave one of them out."
        )
    if not 0 < qubits <= there.bit_length() - 1:
        more = "; on a CPU set JAX_NUM_CPU_DEVICES to have more" * (jax.default_backend() == "cpu")
        raise ValueError(
            f"Argument `state_qubits` must be from 0 to {there.bit_length() - 1} with the {there} devices that JAX "
            f"sees here, but is {qubits}{more}."
        )
    kind = (jax.sharding.AxisType.Auto,)
    return jax.set_mesh(jax.make_mesh((2**qubits,), ("state",), kind, devices=jax.local_devices()[: 2**qubits]))


def _devices(text: str | None) -> int:
    if text is None or text == "1":
        return 1
    import jax

    from qjaxsim.common.checks import shown

    there = jax.local_device_count()
    if text == ALL:
        return there
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"Argument `devices` must be a positive integer or all, but is {shown(text)}.")
    if int(text) > there:
        more = "; on a CPU set JAX_NUM_CPU_DEVICES to have more" * (jax.default_backend() == "cpu")
        raise ValueError(f"Argument `devices` must be at most the {there} that JAX sees here, but is {text}{more}.")
    return int(text)


def _part(failed: bool) -> None:
    """Leave the others: at the end together with them, after an error alone."""
    if team.count == 1:
        return
    import jax

    if failed:
        _client().key_value_set(f"qjaxsim/failed/{team.index}", "", allow_overwrite=True)
    else:
        wait()
    _parted.set()
    # The others need the leader's store until they have left it; and a thread that is inside JAX when Python ends takes
    # the process down with it.
    _kept[-1].join(PARTING)
    jax.distributed.shutdown()


def _watch() -> None:
    """End this process when another has ended before its time."""
    while True:
        try:
            # Waits for all who are alive to ask the same, so that they hear the same answer.
            live = _client().get_live_nodes(range(team.count))
            failed = [key.rpartition("/")[2] for key, _ in _client().key_value_dir_get("qjaxsim/failed/")]
        except Exception:
            if not _parted.is_set():
                _end(f"process 0 of {team.count} has ended")
            return
        gone = sorted(set(range(team.count)) - set(live))
        # After an error of another one this process may be about to part too.
        if _parted.wait(4 * LOOK if failed or gone else LOOK):
            if not team.leads or len(live) == 1:
                return
            time.sleep(LOOK)
        elif failed:
            _end(f"process {failed[0]} of {team.count} has stopped with an error")
        elif gone:
            _end(f"process {gone[0]} of {team.count} has ended")


def _at_abort(reason: str) -> None:
    """Let JAX's end of a process whose coordinator is gone say how to go on too: no other way leads past it."""
    if not sys.platform.startswith(("linux", "darwin")):
        return
    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda number: _end(f"aborted, most likely because {reason}"))
    _kept.append(handler)
    ctypes.CDLL(None).signal(int(signal.SIGABRT), handler)


def _end(reason: str) -> NoReturn:
    interrupts.end(f"error: {reason}", 1)


# --- what they tell each other -----------------------------------------------------------------------------------


def gather(value: Any) -> list[Any]:
    """What each process has, in JSON types, in their order. All must ask."""
    if team.count == 1:
        return [value]
    place = f"qjaxsim/{next(_steps)}"
    tell(f"{place}/{team.index}", json.dumps(value))
    return [json.loads(told(f"{place}/{index}")) for index in range(team.count)]


def tell(name: str, text: str) -> None:
    """Say something to all, once for each name."""
    _asked(lambda: _client().key_value_set(name, text))


def told(name: str) -> str:
    """What was or will be said under a name, waiting for it."""
    return str(_asked(lambda: _client().blocking_key_value_get(name, _EVER)))


def take(name: str) -> int:
    """The next number, from 0 on, that no process has taken yet."""
    return int(_asked(lambda: _client().key_value_increment(name, 1))) - 1


def wait() -> None:
    """Go on when all have come here."""
    if team.count > 1:
        _asked(lambda: _client().wait_at_barrier(f"qjaxsim/{next(_steps)}", _EVER))


def total(tree: Any) -> Any:
    """The sum of each array over processes, on every one. All must ask, with arrays of the same shapes."""
    if team.count == 1:
        return tree
    import jax
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    wait()  # collectives have little patience
    firsts = {device.process_index: device for device in reversed(jax.devices())}
    mesh = Mesh(np.array([firsts[index] for index in range(team.count)]), ("process",))
    own, everywhere = NamedSharding(mesh, PartitionSpec("process")), NamedSharding(mesh, PartitionSpec())
    summed = jax.jit(lambda stacked: stacked.sum(0, dtype=stacked.dtype), out_shardings=everywhere)

    def of_leaf(leaf: Any) -> Any:
        mine = jax.device_put(leaf[None], firsts[team.index])
        stacked = jax.make_array_from_single_device_arrays((team.count, *leaf.shape), own, [mine])
        return jax.block_until_ready(summed(stacked)).addressable_data(0)

    with _no_words():
        return _asked(lambda: jax.tree.map(of_leaf, tree))


@contextmanager
def _no_words() -> Iterator[None]:
    """Nothing on standard output: gloo says there whom it has met."""
    sys.stdout.flush()
    there = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(there, 1)
        os.close(nowhere)
        os.close(there)


def _asked(question: Callable[[], Any]) -> Any:
    """The answer; where the others are lost, the end, of which `_watch` knows the reason better."""
    try:
        return question()
    except RuntimeError as error:
        time.sleep(10 * LOOK)
        _end(f"the {team.count} processes have lost each other ({' '.join(str(error).split())[:100]})")


def _client() -> Any:
    from jax._src import distributed  # checkpointing libraries take it from there too

    return distributed.global_state.client
