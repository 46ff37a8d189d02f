"""How several processes share the cells of a sweep: each takes the next one, and the rest they do together.

Nobody waits for another before all cells that can be taken are: a process that dies loses its own cell alone. What a
process has in its folder the others get in the end, which on a common disk they have already.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qjaxsim.common import files, helping, hosts
from qjaxsim.common.environment import environment
from qjaxsim.common.hosts import team
from qjaxsim.studies.shared.results_folder import CONFIG, open_study

if TYPE_CHECKING:
    from qjaxsim.studies.shared.sweep import Cell


def open_together(
    out: Path, configuration: Mapping[str, Any], resume: bool, notes: Mapping[str, Any] | None = None
) -> None:
    """`open_study` by the leading process, and by others that do not see its folder; arguments as there.

    Raises:
        ValueError: as there, or if another process runs another study.
    """
    if team.leads:
        open_study(out, configuration, environment(), resume, notes)
    mine = files.config_hash(configuration)
    if (others := hosts.gather(mine)) != [mine] * team.count:
        odd = next(index for index, other in enumerate(others) if other != others[0])
        raise ValueError(
            f"All {team.count} processes must run the same study with the same settings and data, but process {odd} "
            "has others than process 0; give all the same options."
        )
    if team.count > 1 and len(set(hosts.gather(_content(out)))) > 1 and not team.leads:
        open_study(out, configuration, environment(), resume, notes)


def _content(out: Path) -> str:
    """What stands in the folder's configuration, which only the same folder, or a copy, has."""
    path = out / CONFIG
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def share(
    cells: "Sequence[Cell]",
    folder: "Callable[[Cell], Path]",
    is_done: "Callable[[Cell], bool]",
    settle: "Callable[[Cell], None]",
    help_with: "Callable[[Cell], None] | None",
    advance: Callable[[int], None],
) -> None:
    """Run cells, by as many processes as there are; in the end every process has all of them.

    Args:
        cells: all of a sweep.
        folder: of a cell.
        is_done: whether a cell is, in this process's folder.
        settle: runs a cell if need be.
        help_with: brings this process to the sums of a cell that the leading one has called for; None where nobody can
            help, and all cells are taken singly.
        advance: counts cells that are done.
    """
    for step, group in enumerate(_groups(cells)):
        owners = _exchanged(group, folder, is_done)
        pending = [cell for cell, owner in zip(group, owners, strict=True) if owner is None]
        advance(len(group) - len(pending))
        # The last ones would leave some processes idle.
        single = len(pending) - (0 if help_with is None else len(pending) % team.count)
        while (number := hosts.take(f"qjaxsim/cells/{step}")) < single:
            settle(pending[number])
            advance(1)
        for cell in pending[single:]:
            with helping.together(folder(cell)) as called:
                if team.leads:
                    settle(cell)
                elif called and help_with is not None:
                    help_with(cell)
        _exchanged(group, folder, is_done)


def _groups(cells: "Sequence[Cell]") -> "Iterator[list[Cell]]":
    """Cells that read no other's results, then those that do."""
    for reads in (False, True):
        if group := [cell for cell in cells if bool(cell.after) is reads]:
            yield group


def _exchanged(
    group: "Sequence[Cell]", folder: "Callable[[Cell], Path]", is_done: "Callable[[Cell], bool]"
) -> list[int | None]:
    """Which process has finished each cell, the first that has; None for none. All get its folder."""
    done = hosts.gather([is_done(cell) for cell in group])
    owners = [next((index for index, own in enumerate(done) if own[place]), None) for place in range(len(group))]
    helping.bring([folder(cell) for cell in group], owners)
    for cell in group:
        is_done(cell)
    return owners
