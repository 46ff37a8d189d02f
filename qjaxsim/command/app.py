"""The commands of `qjaxsim`.

Exit codes: 0 done, 1 failed, 2 bad input, 130 interrupted, 141 nobody reads the output, 143 terminated. An error is
one line on standard error; `--debug`, before the command's name, shows the traceback too. JAX and what is built on it
are imported inside the commands that use them.
"""

import errno
import io
import re
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from qjaxsim.command import programs
from qjaxsim.command.bench import bench
from qjaxsim.command.compare import compare
from qjaxsim.command.crosscheck import crosscheck
from qjaxsim.command.ibm import ibm
from qjaxsim.command.messages import at_home, in_options, refuse_beside_completion, refuse_empty, refuse_repeated
from qjaxsim.command.qubo import qubo
from qjaxsim.command.runs import runs
from qjaxsim.command.spectrum import spectrum
from qjaxsim.common import interrupts
from qjaxsim.common.cache import cache_folder
from qjaxsim.common.extras import MissingExtraError, how_to_install
from qjaxsim.common.verbosity import settings as verbosity
from qjaxsim.studies.attention.command import attention
from qjaxsim.studies.disentangler.command import disentangler
from qjaxsim.studies.effective_dimension.command import effective_dimension
from qjaxsim.studies.gauss_newton_transition.command import gauss_newton_transition
from qjaxsim.studies.gradient_variance.command import gradient_variance
from qjaxsim.studies.hessian.command import hessian
from qjaxsim.studies.lie_variance.command import lie_variance
from qjaxsim.studies.noisy_fisher.command import noisy_fisher
from qjaxsim.studies.noisy_hessian.command import noisy_hessian
from qjaxsim.studies.overparametrisation.command import overparametrisation
from qjaxsim.studies.qrnn.command import qrnn
from qjaxsim.studies.shared.options import PROGRAMS, common_first, forget_results, keep, printed_results, remember

INTERRUPTED, UNREAD = 130, 141
_BAD_INPUT = (ValueError, TypeError, MemoryError, FileNotFoundError, PermissionError, MissingExtraError)
# Every error in a command line itself is of this class, which typer does not export: BadParameter -> UsageError -> it.
_USAGE_ERROR = typer.BadParameter.__mro__[2]
_REQUIRED = ("jax", "jaxlib", "numpy", "optax", "scikit-learn", "matplotlib")
# Commands that say how long a first call takes, which reading a kept program would hide.
_TIMES_FIRST_CALLS = ("bench", "crosscheck")
# Optional package -> the extra that brings it.
_OPTIONAL = {
    "qiskit": "qiskit",
    "qiskit-aer": "qiskit",
    "qiskit-ibm-runtime": "ibm",
    "dimod": "dimod",
    "dwave-system": "dwave",
    "tensorflow-datasets": "tfds",
    "safetensors": "weights",
    "torch": "torch",
    "pennylane": "pennylane",
}

app = typer.Typer(
    name="qjaxsim",
    help="Statevector simulation in JAX for quantum machine learning, with exact second derivatives.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data = typer.Typer(help="Prepare data sets.", rich_markup_mode=None)
study = typer.Typer(help="Run a study: a table, figures and a report in a results folder.", rich_markup_mode=None)
app.add_typer(data, name="data")
app.add_typer(study, name="study")
app.add_typer(ibm, name="ibm")
app.add_typer(qubo, name="qubo")
study.command()(hessian)
study.command()(gradient_variance)
study.command()(qrnn)
study.command()(attention)
study.command()(disentangler)
study.command()(noisy_hessian)
study.command()(effective_dimension)
study.command()(gauss_newton_transition)
study.command()(lie_variance)
study.command()(overparametrisation)
study.command()(noisy_fisher)
app.command()(spectrum)
app.command()(runs)
app.command()(compare)
app.command()(bench)
app.command()(crosscheck)


@dataclass
class Settings:
    """Global options, as `typer.Context.obj` of every command.

    Attributes:
        debug: show tracebacks.
        programs: folder of kept programs, None for none.
        damaged: whether one of them could not be read.
    """

    debug: bool = False
    programs: Path | None = None
    damaged: bool = False


def run(arguments: Sequence[str] | None = None) -> int:
    """Exit code of a command line, after running it.

    Args:
        arguments: words after `qjaxsim`; default those of this process.
    """
    settings = Settings()
    command = _command()
    words = [at_home(word) for word in (sys.argv[1:] if arguments is None else arguments)]
    remember(words)
    forget_results()
    interrupts.go_on_with(None)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = partial(_print_warning, settings)
            refuse_beside_completion(words)
            refuse_empty(command, words)
            refuse_repeated(command, words)
            # Not standalone, so that errors arrive here instead of being printed in typer's own way.
            code = _call(command, common_first(words), settings)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        code = UNREAD
    except SystemExit as end:
        if not isinstance(end.__context__, BrokenPipeError):  # typer's, of a pipe closed as by `| head -1`
            return _report(end, settings.debug)
        code = UNREAD
    except Exception as error:
        return _report(_in_words_typed(error, command, words), settings.debug)
    finally:
        if settings.programs is not None:
            programs.tidy(settings.programs, damaged=settings.damaged)
    if code == INTERRUPTED:
        _print_error(interrupts.message())
    return code if isinstance(code, int) else 0


@cache
def _command() -> Any:
    """The command with all that are under it; typer takes a hundredth of a second to read their options."""
    return typer.main.get_command(app)


def _call(command: Any, words: list[str], settings: Settings) -> Any:
    """Run the command; with --json what it prints is dropped, and its results are printed instead."""
    printed = io.StringIO()
    with ExitStack() as stack:
        if "--json" in words:
            stack.enter_context(redirect_stdout(printed))
        code = command.main(words, prog_name="qjaxsim", standalone_mode=False, obj=settings)
    if "--json" in words:
        # Help has no results.
        print(printed_results() or printed.getvalue().rstrip())
    return code


def _in_words_typed(error: Exception, command: Any, words: Sequence[str]) -> Exception:
    """The error with a message about options where it is about bad input, or a training that diverged."""
    if isinstance(error, (*_BAD_INPUT, FloatingPointError)) and len(error.args) == 1:
        error.args = (in_options(command, words, str(error)),)
    return error


def _with_its_group(said: str) -> str:
    """What is said of an unknown command, with the group that has it: a study is typed without its `study`."""
    unknown = re.fullmatch(r"No such command '(.*)'\.", said)
    groups = {name: getattr(command, "commands", {}) for name, command in _command().commands.items()}
    found = [f"'{name} {unknown[1]}'" for name, commands in groups.items() if unknown and unknown[1] in commands]
    return f"{said} Did you mean {', '.join(found)}?" if found else said


def _report(error: Exception | SystemExit, debug: bool) -> int:
    """Print what went wrong; the exit code."""
    from qjaxsim.common.checks import shown
    from qjaxsim.common.files import NotWrittenError

    if debug:
        traceback.print_exception(error)
    if isinstance(error, _USAGE_ERROR):
        usage: Any = error
        said = _with_its_group(_one_line(usage.format_message()))
        end = "" if said.endswith("?") else "."
        _print_error(f"error: {said.rstrip('.')}{end} See `{_command_path(usage)} --help`.")
        return 2
    if isinstance(error, SystemExit):  # of a user's own function: nothing else here raises it
        _print_error(f"error: A function of yours must return or raise an error, but ended Python ({error!r}).")
        return 2
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        _print_error(f"error: A file name is longer than file systems take, {shown(error.filename)}; give another one.")
        return 2
    if isinstance(error, _BAD_INPUT):
        _print_error(f"error: {_one_line(str(error)) or type(error).__name__}")
        return 2
    if isinstance(error, NotWrittenError):
        _print_error(f"error: {_one_line(interrupts.message(str(error)))}")
        return 1
    if isinstance(error, FloatingPointError):
        _print_error(f"error: {_one_line(str(error))}")
        return 1
    _print_error(f"error: {type(error).__name__}: {_one_line(str(error))}".rstrip(": "))
    return 1


def _print_warning(settings: Settings, message: Warning | str, *where: Any, **more: Any) -> None:
    """A line, without the place in our source; none for kept programs, which only save time."""
    if str(message).startswith((programs.UNREADABLE, programs.UNWRITABLE)):
        settings.damaged |= str(message).startswith(programs.UNREADABLE)
        return
    _print_error(f"warning: {_one_line(str(message))}")


def _command_path(usage: Any) -> str:
    return usage.ctx.command_path if getattr(usage, "ctx", None) is not None else "qjaxsim"


def _one_line(message: str) -> str:
    return " ".join(message.split())


def _print_error(line: str) -> None:
    print(line, file=sys.stderr)


# --- qjaxsim -----------------------------------------------------------------------------------------------------


def _version(wanted: bool) -> None:
    if wanted:
        print(f"qjaxsim {metadata.version('qjaxsim')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _global_options(
    context: typer.Context,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, only results, warnings and errors.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="A line for every stage, also where there is no terminal for bars.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Results as JSON on standard output, no tables.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    keep_in: Annotated[
        str | None,
        typer.Option(
            PROGRAMS,
            metavar="DIR",
            help="Where compiled programs are kept between commands, or off. [default: QJAXSIM_PROGRAMS, else the "
            "user's cache]",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    if quiet and verbose:
        raise ValueError("Give either --quiet or --verbose.")
    settings = context.ensure_object(Settings)
    settings.debug = debug
    if context.invoked_subcommand in _TIMES_FIRST_CALLS:
        if keep_in is not None:
            raise ValueError(
                f"Option {PROGRAMS} is not for {context.invoked_subcommand}, which times first calls; leave it out."
            )
        programs.forget_programs()
    elif context.invoked_subcommand is not None:
        settings.programs = programs.keep_programs(keep_in)
    verbosity.quiet, verbosity.verbose = quiet, verbose
    _help_if_alone(context)


@data.callback(invoke_without_command=True)
@study.callback(invoke_without_command=True)
@ibm.callback(invoke_without_command=True)
@qubo.callback(invoke_without_command=True)
def _help_if_alone(context: typer.Context) -> None:
    """A group without a command shows its help."""
    if context.invoked_subcommand is None:
        print(context.get_help())


# --- info --------------------------------------------------------------------------------------------------------


@app.command()
def info() -> None:
    """Print versions, devices, precision, data sets and free memory."""
    from qjaxsim.common import memory

    _section("versions", [("python", sys.version.split()[0]), ("qjaxsim", metadata.version("qjaxsim")), *_versions()])
    _section("devices", _devices())
    _section("data sets", _data_sets())
    _section("memory", [("free", f"{memory.available_bytes() / memory.GIB:.1f} GiB")])


def _section(title: str, lines: Sequence[tuple[str, str]]) -> None:
    keep(**{title.replace(" ", "_"): dict(lines)})
    print(title)
    for name, value in lines:
        print(f"  {name:<20} {value}")


def _versions() -> list[tuple[str, str]]:
    lines = [(package, _installed(package) or "missing; reinstall qjaxsim") for package in _REQUIRED]
    for package, extra in _OPTIONAL.items():
        lines.append((package, _installed(package) or f"not installed ({how_to_install(extra)})"))
    return lines


def _installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _devices() -> list[tuple[str, str]]:
    import jax
    import numpy as np

    double = jax.dtypes.canonicalize_dtype(np.float64) == np.float64
    precision = "on, double precision" if double else "off, single precision; set JAX_ENABLE_X64=1 for double"
    try:
        devices = [(f"{device.platform} {device.id}", device.device_kind) for device in jax.devices()]
    except RuntimeError as error:
        # An accelerator that JAX was told to use but cannot: worth a line here, not a failure.
        devices = [("none", _one_line(str(error)))]
    return [*devices, ("x64", precision)]


def _data_sets() -> list[tuple[str, str]]:
    from qjaxsim import datasets
    from qjaxsim.datasets import idx, prepared

    folder = prepared.data_folder(None)
    lines = []
    for name in datasets.names():
        if name == "digits":
            where = "built in"
        elif (version := prepared.version_folder(name, folder)) is not None:
            where = f"prepared in {version}"
        elif (found := idx.find_folder(name, folder)) is not None:
            where = f"idx files in {found}"
        else:
            where = f"not here (qjaxsim data prepare {name})"
        lines.append((name, where))
    return [*lines, ("looked for in", f"{folder} (TFDS_DATA_DIR)"), ("decoded copies in", str(cache_folder()))]


# --- data --------------------------------------------------------------------------------------------------------


@data.command()
def prepare(
    name: Annotated[str, typer.Argument(metavar="NAME", help="mnist or fashion_mnist.")],
    from_folder: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="DIR", exists=True, file_okay=False, help="Folder of the four original idx .gz files."
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            file_okay=False,
            help="Where to prepare it; default TFDS_DATA_DIR, else ~/tensorflow_datasets.",
        ),
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Download the files when --from is not given.")] = False,
) -> None:
    """Prepare a data set once, for `qjaxsim.datasets.load` and the studies."""
    from qjaxsim import datasets
    from qjaxsim.datasets import idx, prepared

    here = prepared.version_folder(name, prepared.data_folder(data_dir))
    if name in idx.CLASS_NAMES and here is None and from_folder is None and not download:
        raise ValueError(
            f"Preparing {name} needs its four idx .gz files: pass --from DIR, a folder that has them, or --download."
        )
    folder = datasets.prepare(name, idx_dir=from_folder, data_dir=data_dir, download=download)
    keep(name=name, folder=folder)
    unused = "--from" if from_folder is not None else "--download" if download else None
    before = f", prepared before, so that {unused} was not used; delete that folder to prepare it anew"
    print(f"{name} is ready in {folder}{before if here is not None and unused else ''}")
