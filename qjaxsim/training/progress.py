"""The progress bar of a training run: none, one of its own, or a task in the caller's."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


class _Advance:
    """Moves a task of a rich Progress by one epoch and shows the value watched."""

    def __init__(self, bar: "Progress", epochs: int, done: int) -> None:
        self.bar = bar
        self.task = bar.add_task("training, compiling", total=epochs, completed=done)

    def __call__(self, value: float) -> None:
        self.bar.update(self.task, advance=1, description=f"training, {value:.4g}")


class _OwnBar:
    """A bar of our own on standard error, quiet unless that is a terminal."""

    def __init__(self, epochs: int, done: int) -> None:
        self.epochs, self.done = epochs, done

    def __enter__(self) -> _Advance:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.bar = Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())
        self.bar.start()
        return _Advance(self.bar, self.epochs, self.done)

    def __exit__(self, *exception: object) -> None:
        self.bar.stop()


def training_bar(
    progress: "bool | Progress", epochs: int, done: int
) -> AbstractContextManager[Callable[[float], None]]:
    """A context that yields a function to call after each epoch with the value watched; see `fit` for `progress`."""
    if progress is True:
        return _OwnBar(epochs, done)
    if progress is False:
        return nullcontext(lambda value: None)
    return nullcontext(_Advance(progress, epochs, done))
