"""What the commands of studies share: lists as options, the command line as typed, verdicts as lines."""

import itertools
import json
import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qjaxsim.common import hosts, interrupts
from qjaxsim.studies.shared.setting import Needs, refuse_idle_values, settings_and_needs

if TYPE_CHECKING:
    from qjaxsim.report.verdict import Verdict

# Options of every command, taken anywhere in a command line.
COMMON = ("--quiet", "--verbose", "--json", "--debug")
PROGRAMS = "--programs"
Evolution = Annotated[
    str, typer.Option(help="PauliEvolution gates: synthesis, the gate's own (as devices run it), or exact.")
]
Qubits = Annotated[
    str, typer.Option(help="Of FILE: all, used (without idle ones), or auto, used for transpiled circuits alone.")
]
_MARGIN = 100
_typed: list[str] = []
_results: dict[str, Any] = {}


def common_first(words: Sequence[str]) -> list[str]:
    """The words, with the options of every command in front, where the parser expects them."""
    end = words.index("--") if "--" in words else len(words)
    common: list[str] = []
    others: list[str] = []
    rest = iter(words[:end])
    for word in rest:
        (common if word in COMMON or word.split("=")[0] == PROGRAMS else others).append(word)
        if word == PROGRAMS:
            common += [value for value in [next(rest, None)] if value is not None]
    return [*common, *others, *words[end:]]


def keep(**values: Any) -> None:
    """Results of a command, by name, for --json."""
    _results.update(values)


def forget_results() -> None:
    """Begin anew with what `keep` keeps."""
    _results.clear()


def printed_results() -> str:
    """What was kept, as JSON; empty if nothing was."""
    if not _results:
        return ""
    from qjaxsim.common import files

    return json.dumps(files.to_json(_results, nan_as_null=True), indent=2, allow_nan=False)


def refuse_idle_options(context: typer.Context, needs: Mapping[str, Needs], settings: Any = None) -> None:
    """Raise for an option that was typed though it changes nothing with the others as they are.

    Args:
        context: of the command.
        needs: when options have an effect; those of settings are known from their fields.
        settings: that the options became.

    Raises:
        ValueError: naming the parameter and what it would need.
    """
    typed = [name for name in context.params if was_typed(context, name)]
    values, known = settings_and_needs(settings) if settings is not None else ({}, {})
    refuse_idle_values({**context.params, **values}, {**known, **needs}, typed)


def was_typed(context: typer.Context, name: str) -> bool:
    """Whether an option stands in the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def print_verdicts(found: "Sequence[Verdict]") -> None:
    """A line a claim with its evidence, what was not tested here last."""
    from qjaxsim.report.verdict import NOT_TESTED

    keep(verdicts=[one._asdict() for one in found])
    print("Published claims")
    for one in found:
        if one.verdict != NOT_TESTED:
            print_wrapped(f"- {one.verdict}: {one.claim}")
            print_wrapped(f"  {one.evidence}")
    for one in found:
        if one.verdict == NOT_TESTED:
            print_wrapped(f"- {one.verdict}: {one.claim} ({one.evidence})")
    print()


def print_wrapped(line: str) -> None:
    """Print a line, on a terminal broken between words and indented by two from the second part on."""
    if sys.stdout.isatty():
        width = min(_MARGIN, shutil.get_terminal_size().columns)
        indent = " " * (2 if line.startswith("  ") else 0)
        line = textwrap.fill(
            line.strip(),
            width,
            initial_indent=indent,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    print(line)


def names(text: str) -> tuple[str, ...]:
    """A list such as "pca,eigen"."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def integers(option: str, text: str, others: str = "", typed: str | None = None) -> tuple[int, ...]:
    """A list such as "1,4,9"; for the message `others` is what may stand in it too, and `typed` all that was."""
    try:
        return tuple(_integer(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        found = text if typed is None else typed
        raise ValueError(
            f"Option --{option} must be integers{others} separated by commas, but is {found!r}."
        ) from error


def reals(option: str, parts: Sequence[str], typed: str) -> tuple[float, ...]:
    """A list such as "1e-3,0.1" in its parts; for the message all that was typed."""
    try:
        return tuple(float(part) for part in parts)
    except ValueError as error:
        raise ValueError(f"Option --{option} must be numbers separated by commas, but is {typed!r}.") from error


def _integer(text: str) -> int:
    # Thousands of digits are an error of Python's, in its words.
    if len(text.strip()) > 30:
        raise ValueError
    return int(text)


def remember(words: Sequence[str]) -> None:
    """Keep what was typed after `qjaxsim`, for `command_line`."""
    _typed[:] = words


def command_line() -> str:
    """A command that does the same again, in a results folder of its own."""
    return shlex.join(["qjaxsim", *_without_folder(_typed)])


@contextmanager
def own_folder(study: str) -> Iterator[Path]:
    """`runs/STUDY/TIME`, with a number behind it where another run began in the same second.

    It is made here, so that no other run takes it, and goes at the end if nothing has been written into it.
    """
    from qjaxsim.studies.shared.sweep import default_folder

    first = default_folder(study)
    made = [path for path in (first.parent, first.parent.parent) if not path.exists()]

    def forget_empty() -> None:
        with suppress(OSError):
            for path in (folder, *made):
                path.rmdir()

    for number in itertools.count(1):
        folder = first if number == 1 else first.with_name(f"{first.name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if os.path.lexists(folder):
                continue
        except OSError:
            pass
        break  # where it could not be made, which is told when results are to be written
    with interrupts.cleaned_up(forget_empty):
        try:
            yield folder
        finally:
            forget_empty()


@contextmanager
def results_folder(study: str, out: Path | None, resume: bool, marker: str = "config.json") -> Iterator[Path]:
    """The results folder of a command; an interrupt from here on says how to go on with it.

    Args:
        study: name of the default folder above the time.
        out: option --out.
        resume: option --resume.
        marker: the file that tells a results folder.

    Raises:
        ValueError: if there is nothing to resume.
    """
    from qjaxsim.studies.shared.results_folder import entries

    if resume and out is None:
        raise ValueError("Option --resume needs --out, the folder of the study to go on with.")
    if out is None:
        with own_folder(study) if hosts.team.leads else nullcontext(Path()) as own:
            # One name for all processes, whose clocks differ.
            folder = Path(hosts.gather(str(own))[0])
            _go_on_with(folder, marker)
            yield folder
        return
    if resume and hosts.team.leads and not (out / marker).is_file():
        way_out = "check --out" if entries(out) else "check --out, or leave --resume out to begin there"
        raise ValueError(
            f"Option --resume needs a folder that holds a study, but {out} has no file {marker}; {way_out}."
        )
    _go_on_with(out, marker)
    yield out


def _go_on_with(folder: Path, marker: str) -> None:
    def way_on() -> str:
        more = ["--resume"] if (folder / marker).is_file() else []
        return shlex.join(["qjaxsim", *_without_folder(_typed), "--out", str(folder), *more])

    interrupts.go_on_with(way_on)


def check_output(out: Path | None, kind: str = "file") -> None:
    """Refuse a file or folder of option --out that cannot be written, before the work.

    Args:
        out: option --out, None to write nothing.
        kind: "file", or "folder" that files go into.

    Raises:
        ValueError: with the reason.
    """
    from qjaxsim.common import files

    if out is None:
        return
    try:
        files.check_writable(out if kind == "file" else out / "file")
    except files.NotWrittenError as error:
        raise ValueError(
            f"Option --out must name a {kind} that can be written, but {out} cannot: {error.reason}."
        ) from error


def _without_folder(words: Sequence[str]) -> list[str]:
    """The words without --out and --resume."""
    kept = []
    rest = iter(words)
    for word in rest:
        if word == "--out":
            next(rest, None)
        elif word != "--resume" and not word.startswith("--out="):
            kept.append(word)
    return kept


def print_comparison(published: Sequence[Mapping[str, Any]], source: str) -> None:
    """Print published numbers beside ours, with the reasons against comparing as numbered notes below the table."""
    from qjaxsim.report.tables import print_table

    keep(published=list(published))
    reasons = list(dict.fromkeys(row["comparable"] for row in published if row["comparable"] is not True))
    shown = [
        {**row, "comparable": True if row["comparable"] is True else f"no ({reasons.index(row['comparable']) + 1})"}
        for row in published
    ]
    print_table(shown, title=f"Published numbers ({source}) beside ours")
    for number, reason in enumerate(reasons, start=1):
        print_wrapped(f"({number}) not comparable: {reason}")
