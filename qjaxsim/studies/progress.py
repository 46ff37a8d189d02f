"""Progress bars of studies."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import progress as rich_progress
from rich.console import Console


class Progress(rich_progress.Progress):
    """Bars on standard error: one over cells, more below it for what a cell does; silent unless that is a terminal.

    A rich Progress, so anything that takes one can add its own bar; those left over vanish with the cell.
    """

    def __init__(self, console: Console | None = None) -> None:
        console = console or Console(stderr=True)
        super().__init__(
            rich_progress.TextColumn("{task.description}"),
            rich_progress.BarColumn(),
            rich_progress.MofNCompleteColumn(),
            rich_progress.TimeElapsedColumn(),
            rich_progress.TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    def message(self, text: str) -> None:
        """One plain line on standard error, above the bars."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def bar(self, description: str, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
        """A bar for the length of a `with` block.

        Args:
            description: what is counted.
            total: steps in all.
            done: steps already done.

        Yields:
            advance(steps): moves the bar on.
        """
        task = self.add_task(description, total=total, completed=done)
        try:
            yield lambda steps: self.advance(task, steps)
        finally:
            self.remove_task(task)

    @contextmanager
    def counter(self, description: str, total: int) -> Iterator[Callable[[int, int], None]]:
        """The same for work that says how much of it is done.

        Yields:
            moved(done, total): puts the bar there.
        """
        task = self.add_task(description, total=total)
        try:
            yield lambda done, _: self.update(task, completed=done)
        finally:
            self.remove_task(task)

    @contextmanager
    def inner(self) -> Iterator[None]:
        """Drops the bars that were added inside the block."""
        before = set(self.task_ids)
        try:
            yield
        finally:
            for task in set(self.task_ids) - before:
                self.remove_task(task)
