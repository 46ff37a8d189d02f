"""Progress bars of studies."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich import progress as rich_progress
from rich.console import Console
from rich.text import Text

from qjaxsim.common import interrupts
from qjaxsim.common.verbosity import settings

COMPILING = "compiling"


class _Remaining(rich_progress.TimeRemainingColumn):
    """The time that is left, nothing before the first step has shown how long one takes."""

    def render(self, task: rich_progress.Task) -> Text:
        return super().render(task) if task.finished or task.time_remaining is not None else Text("")


class Progress(rich_progress.Progress):
    """Bars on standard error: one over cells, more below it for what a cell does; only on a terminal.

    Messages are lines above the bars. What to show is in `settings`, which the command's options set.

    A rich Progress, so anything that takes one can add its own bar; those left over vanish with the cell.
    """

    def __init__(self, console: Console | None = None) -> None:
        console = console or Console(stderr=True)
        self.verbose = settings.verbose and not console.is_terminal
        super().__init__(
            rich_progress.TextColumn("{task.description}"),
            rich_progress.BarColumn(),
            rich_progress.MofNCompleteColumn(),
            rich_progress.TimeElapsedColumn(),
            _Remaining(),
            console=console,
            disable=settings.quiet or not console.is_terminal,
        )

    def __enter__(self) -> "Progress":
        # An interrupt gives the terminal its cursor back.
        self._until_exit = interrupts.cleaned_up(self.stop)
        self._until_exit.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        self._until_exit.__exit__(None, None, None)

    def message(self, text: str) -> None:
        """One plain line on standard error, above the bars."""
        if not settings.quiet:
            self.warn(text)

    def warn(self, text: str) -> None:
        """The same, also when all is to be quiet."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def bar(
        self, description: str, total: int, done: int = 0, *, compiles: bool = False
    ) -> Iterator[Callable[[int], None]]:
        """A bar for the length of a `with` block.

        Args:
            description: what is counted.
            total: steps in all.
            done: steps already done.
            compiles: whether the first step compiles, which the bar says until it is done.

        Yields:
            advance(steps): moves the bar on.
        """
        task = self.add_task(self._first(description) if compiles else description, total=total, completed=done)
        try:
            yield lambda steps: self.update(task, advance=steps, description=description)
        finally:
            self.remove_task(task)

    @contextmanager
    def counter(self, description: str, total: int) -> Iterator[Callable[[int, int], None]]:
        """The same for work that says how much of it is done, and compiles in its first step.

        Yields:
            moved(done, total): puts the bar there.
        """
        task = self.add_task(self._first(description), total=total)
        try:
            yield lambda done, _: self.update(task, completed=done, description=description)
        finally:
            self.remove_task(task)

    def _first(self, description: str) -> str:
        """What a bar says before its first step is done."""
        text = f"{description}, {COMPILING}"
        if self.verbose:
            self.message(text)
        return text

    @contextmanager
    def inner(self) -> Iterator[None]:
        """Drops the bars that were added inside the block."""
        before = set(self.task_ids)
        try:
            yield
        finally:
            for task in set(self.task_ids) - before:
                self.remove_task(task)
