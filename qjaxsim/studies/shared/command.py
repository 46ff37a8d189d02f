"""The command of a study, made from the fields of its settings. JAX is imported when it runs."""

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qjaxsim.common import hosts
from qjaxsim.studies.shared.options import (
    command_line,
    integers,
    keep,
    names,
    print_comparison,
    print_verdicts,
    reals,
    refuse_idle_options,
    results_folder,
)
from qjaxsim.studies.shared.setting import OTHERWISE, Except, Needs

if TYPE_CHECKING:
    from qjaxsim.studies.shared.study import Results, Study

# When prepared data sets are read.
FROM_DATA_SETS: Mapping[str, Needs] = {"data_dir": {"dataset": Except("digits")}}
DATA_DIR = typer.Option(metavar="DIR", file_okay=False, help="Prepared data sets. [default: TFDS_DATA_DIR]")
OUT = typer.Option(metavar="DIR", help="Results folder. [default: runs/STUDY/TIME]")
RESUME = typer.Option("--resume", help="Go on with the study that --out holds.")
# Of every command with settings; see `qjaxsim.common.hosts`.
_HOSTS = {
    "devices": (
        str,
        typer.Option(metavar="N", help="Devices here that share samples, or all. [default: 1]"),
    ),
    "state_qubits": (
        int,
        typer.Option(metavar="D", help="Cut large states over 2**D devices here, a piece on each. [default: 0]"),
    ),
    "coordinator": (str, typer.Option(metavar="HOST:PORT", help="Of several processes: where process 0 listens.")),
    "processes": (str, typer.Option(metavar="N", help="How many there are, or auto, under Slurm and Open MPI.")),
    "process": (int, typer.Option(metavar="I", help="Which of them this one is, from 0 on.")),
}


def study_command(
    name: str, settings: type, about: str, needs: Mapping[str, Needs] = FROM_DATA_SETS, *, by_samples: bool = False
) -> Callable[..., None]:
    """The command `qjaxsim study NAME` of a study that takes its data from data sets.

    Args:
        name: as the command has it; its record is `STUDY` in the folder of that name.
        settings: class of its settings.
        about: its help.
        needs: when options that are no settings have an effect.
        by_samples: as of its record.
    """

    @with_settings(settings, by_samples=by_samples)
    def study(
        command: typer.Context,
        *,
        chosen: dict[str, Any],
        data_dir: Annotated[Path | None, DATA_DIR] = None,
        out: Annotated[Path | None, OUT] = None,
        resume: Annotated[bool, RESUME] = False,
    ) -> None:
        given = settings(**chosen)
        refuse_idle_options(command, needs, given)
        run_and_print(name, given, out, resume, data_dir=data_dir)

    study.__doc__, study.__name__ = about, name
    return study


def study_without_data(name: str, settings: type, about: str) -> Callable[..., None]:
    """The command `qjaxsim study NAME` of a study that reads no data sets; arguments as of `study_command`."""

    @with_settings(settings)
    def study(
        command: typer.Context,
        *,
        chosen: dict[str, Any],
        out: Annotated[Path | None, OUT] = None,
        resume: Annotated[bool, RESUME] = False,
    ) -> None:
        given = settings(**chosen)
        refuse_idle_options(command, {}, given)
        run_and_print(name, given, out, resume)

    study.__doc__, study.__name__ = about, name
    return study


def run_and_print(name: str, settings: Any, out: Path | None, resume: bool, **sources: Any) -> None:
    """Run a study as the command line asks for, and print its tables, verdicts and comparison."""
    import jax

    record = import_module(f"qjaxsim.studies.{name.replace('-', '_')}.study")
    study: Study = record.STUDY
    if study.double(settings):
        jax.config.update("jax_enable_x64", True)
    from qjaxsim.studies.shared.study import run_study

    with results_folder(study.name, out, resume) as folder:
        found = run_study(study, settings, folder, resume=resume, command=command_line(), **sources)
    if not hosts.team.leads:
        return
    keep(folder=folder, rows=found.rows)
    _print(study, found)
    print(f"results in {folder}: summary.csv, summary.json, figures/, report.html")


def _print(study: "Study", found: "Results") -> None:
    from qjaxsim.report.tables import print_table

    for table in study.tables(found.settings, found.rows):
        print_table(table.rows, table.columns, title=table.title, keys=table.keys)
    if found.verdicts:
        print_verdicts(found.verdicts)
    if found.comparison:
        print_comparison(found.comparison, study.source)


# --- options of fields -----------------------------------------------------------------------------------------------


def with_settings(settings: type, *, by_samples: bool = False) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command an option for each field of `settings` in the place of its parameter `chosen`.

    That parameter receives a dict: field -> value, as the class takes it. Options of hosts come last, and
    the command then runs as one of several processes; where samples can be shared, by several devices, which may hold
    a large state together instead.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        options = [_option(field, hint) for field, hint in _fields(settings)]

        def run(command: typer.Context, **given: Any) -> None:
            chosen = chosen_from(settings, given)
            given = {name: value for name, value in given.items() if name not in chosen}
            settings(**chosen)  # refused before others are waited for
            with hosts.joined(**{name: given.pop(name, None) for name in _HOSTS}):
                function(command, chosen=chosen, **given)

        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(function).parameters.values():
            parameters += options if parameter.name == "chosen" else [parameter]
        parameters += [_host_option(name) for name in _HOSTS if by_samples or name not in ("devices", "state_qubits")]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        run.__doc__, run.__name__ = function.__doc__, function.__name__
        return run

    return decorate


def chosen_from(settings: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Field -> value as the class takes it, from what a command's options hold."""
    return {field.name: _parsed(field, hint, given[field.name]) for field, hint in _fields(settings)}


def _fields(settings: type) -> Iterator[tuple[dataclasses.Field[Any], Any]]:
    """Fields with the types of their values, None left out."""
    hints = typing.get_type_hints(settings)
    for field in dataclasses.fields(settings):
        hint = hints[field.name]
        if isinstance(hint, types.UnionType):
            (hint,) = (one for one in typing.get_args(hint) if one is not type(None))
        yield field, hint


def flag_of(field: dataclasses.Field[Any]) -> str:
    """Name of a field's option, without dashes in front."""
    flag: str = field.metadata["option"].flag or field.name
    return flag.replace("_", "-")


def _option(field: dataclasses.Field[Any], hint: Any) -> inspect.Parameter:
    several = typing.get_origin(hint) is tuple
    default = as_typed(field) if several else field.default
    words = default_in_words(field)
    option = typer.Option(
        f"--{flag_of(field)}",
        metavar="LIST" if several else None,
        help=field.metadata["option"].help + (f" [default: {words}]" if words else ""),
    )
    kind = str if several else hint
    annotation = Annotated[kind | None if default is None else kind, option]  # type: ignore[valid-type]
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(field.name, keyword, default=default, annotation=annotation)


def as_typed(field: dataclasses.Field[Any]) -> str | None:
    """The default of a list as it would be typed, None where it is empty or depends on others."""
    words, default = field.metadata["option"].words, field.default
    if not isinstance(default, tuple):
        return None
    for word, value in words.items():
        if value == default and value:
            return str(word)
    spelt = {value: word for word, value in words.items() if not isinstance(value, tuple)}
    return ",".join(str(spelt.get(value, value)) for value in default) or None


def default_in_words(field: dataclasses.Field[Any]) -> str:
    """What a field that is None stands for: "5 for digits, else 8"."""
    defaults = field.metadata["option"].defaults
    if defaults is None or isinstance(defaults, str):
        return defaults or ""
    *first, (last, value) = defaults.items()
    spelt = [f"{'all' if one is None else one} for {key}" for key, one in first]
    ending = "all" if value is None else value
    return ", ".join([*spelt, f"else {ending}" if last == OTHERWISE else f"{ending} for {last}"])


def _host_option(name: str) -> inspect.Parameter:
    kind, option = _HOSTS[name]
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, keyword, default=None, annotation=Annotated[kind | None, option])


def _parsed(field: dataclasses.Field[Any], hint: Any, given: Any) -> Any:
    """The value of a field, from what its option holds."""
    words = field.metadata["option"].words
    if typing.get_origin(hint) is not tuple:
        return words.get(str(given), given)
    if given is None:
        return field.default
    if isinstance(words.get(given), tuple):
        return words[given]
    parts = names(given)
    if typing.get_args(hint)[0] is str:
        return parts
    if typing.get_args(hint)[0] is float:
        return reals(flag_of(field), parts, given)
    return _numbers(flag_of(field), parts, given, {word: one for word, one in words.items() if isinstance(one, int)})


def _numbers(option: str, parts: tuple[str, ...], text: str, words: Mapping[str, int]) -> tuple[int, ...]:
    """A list such as "2,3,register"; numbers that a word stands for are not typed."""
    others = "".join(f" or {word!r}" for word in words)
    found = integers(option, ",".join(part for part in parts if part not in words), others, text)
    if strange := set(found) & set(words.values()):
        word = next(word for word, value in words.items() if value in strange)
        raise ValueError(f"Option --{option} must hold numbers of at least 1 or {word!r}, but holds {words[word]}.")
    numbers = iter(found)
    return tuple(words[part] if part in words else next(numbers) for part in parts)
