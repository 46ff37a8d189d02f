"""How the command stops when it is told to: one line on standard error, then the end, whatever it was doing.

A thread of its own ends the process, without an exception in the main one. An exception that a signal raises is
swallowed in a callback of JAX, waits for a compilation to end, and then leads to the shutdown of the interpreter, which
destroys JAX's client under threads that still compile for it: a segmentation fault. Nothing is lost this way, because
files are replaced as a whole (`qjaxsim.common.files`), and what must be undone at the end is registered here.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

# Held while a file gets its name. An interrupt takes it for good: no file changes after what it says of them.
FILES = threading.Lock()
_VERBS = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "hung up"}
_PATIENCE = 5.0  # seconds for a rename that is under way
_SAME = 1.0  # seconds in which a signal that comes again is the same one: `timeout` tells a process, then its group

cleanups: list[Callable[[], object]] = []
_way_on: Callable[[], str] | None = None


def install() -> None:
    """Let SIGINT, SIGTERM and SIGHUP end this process with exit code 128 plus their number, a later one at once.

    Those that were ignored when the process started stay so (`nohup`, jobs in the background of a script).
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    threading.Thread(target=_watch, args=(reader,), name="interrupts", daemon=True).start()
    for number in _handled():
        # Python's own part of the handler has nothing to do: it would wait for the main thread.
        signal.signal(number, lambda number, frame: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=_forget)


def ignore() -> None:
    """From now on the work is done, and its exit code stands."""
    for number in _handled():
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def cleaned_up(action: Callable[[], object]) -> Iterator[None]:
    """Calls `action` when the process is interrupted within the block, and not otherwise."""
    cleanups.append(action)
    try:
        yield
    finally:
        cleanups.remove(action)


def go_on_with(command: Callable[[], str] | None) -> None:
    """Let `message` name the command that goes on with this one's work, None for none.

    Args:
        command: called at an interrupt, when no file changes any more.
    """
    global _way_on
    _way_on = command


def message(verb: str = "interrupted") -> str:
    """The line that an interrupt prints."""
    return verb if _way_on is None else f"{verb}; go on with: {_way_on()}"


def _handled() -> list[signal.Signals]:
    known = [getattr(signal, name) for name in _VERBS if hasattr(signal, name)]
    return [number for number in known if signal.getsignal(number) not in (signal.SIG_IGN, None)]


def _forget() -> None:
    """A forked child would wake its parent's thread."""
    signal.set_wakeup_fd(-1)
    for number in _handled():
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def _watch(reader: int) -> None:
    number = os.read(reader, 1)[0]
    began = time.monotonic()
    threading.Thread(target=_end, args=(number,), daemon=True).start()
    while (another := os.read(reader, 1)[0]) == number and time.monotonic() - began < _SAME:
        pass
    os._exit(128 + another)


def end(reason: str, code: int) -> NoReturn:
    """Print the line of an interrupt with this reason, and end the process, whatever it is doing."""
    FILES.acquire(timeout=_PATIENCE)
    for action in reversed(list(cleanups)):
        with suppress(Exception):
            action()
    with suppress(Exception):
        sys.stdout.flush()
    line = message(reason)
    with suppress(OSError):
        # Not through sys.stderr, whose lock the main thread may hold. A terminal has shown ^C in this line.
        os.write(2, f"{chr(10) if os.isatty(2) else ''}{line}\n".encode())
    os._exit(code)


def _end(number: int) -> None:
    end(_VERBS[signal.Signals(number).name], 128 + number)
