"""The command `qjaxsim spectrum`: curvature of a circuit in a file, or of a function in a Python file."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qjaxsim.studies.shared.command import OUT, RESUME, run_and_print, with_settings
from qjaxsim.studies.shared.options import Evolution, Qubits, refuse_idle_options, was_typed
from qjaxsim.studies.spectrum.settings import SpectrumSettings

if TYPE_CHECKING:
    from qjaxsim.studies.spectrum.target import Target

_CIRCUITS = (".qasm", ".qasm3", ".qpy")


@with_settings(SpectrumSettings, by_samples=True)
def spectrum(
    command: typer.Context,
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="An OpenQASM program (.qasm) or QPY file (.qpy) with free parameters, or FILE.py:FUNCTION, a function "
            "that returns the problem.",
        ),
    ],
    *,
    chosen: dict[str, Any],
    evolution: Evolution = "synthesis",
    qubits: Qubits = "auto",
    out: Annotated[Path | None, OUT] = None,
    resume: Annotated[bool, RESUME] = False,
) -> None:
    """Hessian spectrum of your own circuit or function, with blocks, planes, figures and a page.

    Starts at random parameters (or those of --params), follows an optimiser to the lowest value it meets, and takes
    the Hessian there. FILE.py:FUNCTION is called without arguments and returns what
    `qjaxsim.curvature.spectrum_report` takes: a mapping (function, params, data, loss, ...) or a tuple
    (function, params).
    """
    settings = SpectrumSettings(**chosen)
    refuse_idle_options(command, {}, settings)
    if settings.dtype == "float64":
        import jax

        jax.config.update("jax_enable_x64", True)  # before the user's own file runs
    path = Path(target)
    if path.suffix in _CIRCUITS:
        found = _circuit(path, settings, evolution, qubits)
    else:
        found = _function(target, settings)
        _refuse_said_twice(command, found)
    if settings.landscape and found.n_parameters < 2:
        if was_typed(command, "landscape"):
            raise ValueError(
                f"Argument `landscape` needs two parameters at least, but {found.name} has one; leave it out."
            )
        settings = replace(settings, landscape=())
    run_and_print("spectrum", settings, out, resume, target=found)


def _refuse_said_twice(command: typer.Context, target: "Target") -> None:
    """Refuse options for what the problem says itself, which comes first."""
    for option, name in (("classes", "classes"), ("blocks", "groups")):
        if was_typed(command, option) and name in (target.options or {}):
            raise ValueError(
                f"Argument `{option}` is for problems that do not say it themselves, but that of {target.name} has "
                f"{name!r}; leave it out."
            )


def _function(text: str, settings: SpectrumSettings) -> "Target":
    """The problem of FILE.py:FUNCTION."""
    from qjaxsim.studies.spectrum.own_file import target_of_file

    if ".py:" not in text:
        raise ValueError(
            f"Argument TARGET must be a circuit ({', '.join(_CIRCUITS)}) or FILE.py:FUNCTION, but is {text!r}."
        )
    for name in ("observable", "data", "params"):
        if getattr(settings, name) is not None:
            raise ValueError(
                f"Argument `{name}` is for circuits, but TARGET is {text!r}; put it into the problem that the function "
                "returns."
            )
    return target_of_file(text, settings.dtype)


def _circuit(path: Path, settings: SpectrumSettings, evolution: str, qubits: str) -> "Target":
    """The problem of a circuit in a file."""
    from qjaxsim.command.circuit_files import parse_observables, read_circuit, read_params
    from qjaxsim.studies.spectrum.circuit_target import brought, target_of_circuit

    circuit = read_circuit(path, evolution=evolution, qubits=qubits).circuit
    if settings.observable is None and settings.data is None:
        raise ValueError(
            f'Argument `observable` must say what to take the Hessian of for {path.name}, such as "Z0 Z1 + 0.5 X2".'
        )
    observables = None if settings.observable is None else parse_observables(settings.observable, circuit.n_qubits)
    start = None
    if settings.params is not None:
        start = read_params(Path(settings.params), circuit, None, brought(circuit, settings))
    return target_of_circuit(path, circuit, observables, settings, start)
