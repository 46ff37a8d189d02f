"""A problem from a function in a file of the user's, `file.py:function`."""

import hashlib
import importlib.util
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.common.checkpoint import digest
from qjaxsim.common.checks import shown
from qjaxsim.common.suggestions import did_you_mean
from qjaxsim.curvature.class_averages import class_labels
from qjaxsim.curvature.objective import require_classes
from qjaxsim.curvature.programs import Present
from qjaxsim.curvature.spectra.problem import Problem
from qjaxsim.curvature.spectra.report import checked_choices
from qjaxsim.models.losses import cross_entropy
from qjaxsim.studies.spectrum.target import Target

_FORMS = (
    "a mapping of the arguments of `qjaxsim.curvature.spectrum_report` (function, params, data, loss, ...), or a tuple "
    "(function, params) or (outputs, params, (x, y), loss)"
)
# What a mapping may hold: of the report, and how to draw a start.
_TAKEN = (
    "function",
    "params",
    "data",
    "loss",
    "observables",
    "classes",
    "groups",
    "frozen",
    "batch_size",
    "title",
    "init",
)


def target_of_file(text: str, dtype: str) -> Target:
    """The problem that a function of a Python file returns. The file is run, as `python file.py` would run it.

    Args:
        text: "file.py:function".
        dtype: that the floats of params get.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it has no such function, that function fails, or it returns no problem that the report takes.
    """
    path, function = _function(text)
    try:
        returned = function()
    except (Exception, SystemExit) as error:
        raise ValueError(
            f"Argument TARGET must name a function that returns a problem, but {text} raised {type(error).__name__}: "
            f"{error}"
        ) from error
    problem = _problem(text, returned)
    init = problem.pop("init", None)
    params = _cast(problem.pop("params"), dtype)
    start = (lambda seed: _cast(init(jax.random.key(seed)), dtype)) if init is not None else (lambda seed: params)
    core = {name: problem.pop(name, None) for name in ("data", "loss")}
    target = Target(
        name=text,
        function=problem.pop("function"),
        start=start,
        identity={
            "target": f"{path.name}:{text.rpartition(':')[2]}",
            "target_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        },
        options=problem,
        random=init is not None,
        **core,
    )
    found = _check(text, target, params, init)
    identity = {**target.identity, "problem_sha256": _mark(found, target)}
    if not isinstance(target.function, Circuit):
        return replace(target, identity=identity)
    called = found.function if found.model is None else found.model.outputs
    options = {name: value for name, value in problem.items() if name != "observables"}
    return replace(target, function=called, identity=identity, options=options)


def _mark(found: Problem, target: Target) -> str:
    """What changes with the numbers of a problem: its start, its data, and the arrays that its functions read."""
    functions = [found.function] if found.model is None else [found.model.outputs, found.model.loss]
    read = [each.read for each in functions if isinstance(each, Present)]
    return hashlib.sha256(" ".join([digest((target.start(0), target.data)), *read]).encode()).hexdigest()


def _function(text: str) -> tuple[Path, Callable[[], Any]]:
    file, _, name = text.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"Argument TARGET must be FILE.py:FUNCTION of a file, but {file!r} is none.")
    module = _module(path)
    own = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
    function = getattr(module, name, None)
    if not callable(function):
        raise ValueError(
            f"Argument TARGET must name a function of {path.name}, but {name!r} is none{did_you_mean(name, own)}."
        )
    return path, function


def _module(path: Path) -> Any:
    """The file as a module; it finds its neighbours, as a script does."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a script that reads its own command line ends the process
        raise ValueError(
            f"Argument TARGET must name a Python file that runs, but {path} raised {type(error).__name__}: {error}"
        ) from error
    finally:
        sys.path.pop(0)
    return module


def _problem(text: str, returned: Any) -> dict[str, Any]:
    if isinstance(returned, tuple) and len(returned) in (2, 4):
        returned = dict(zip(("function", "params", "data", "loss"), returned, strict=False))
    if not isinstance(returned, Mapping):
        raise ValueError(f"Argument TARGET must name a function that returns {_FORMS}, but {text} returned "
                         f"{shown(returned)}.")  # fmt: skip
    unknown = [name for name in returned if name not in _TAKEN]
    missing = [name for name in ("function", "params") if name not in returned]
    if unknown or missing:
        what = f"has no {missing[0]!r}" if missing else f"has {unknown[0]!r}{did_you_mean(unknown[0], _TAKEN)}"
        raise ValueError(f"Argument TARGET must name a function that returns {_FORMS}, but that of {text} {what}.")
    return dict(returned)


def _check(text: str, target: Target, params: Any, init: Any) -> Problem:
    """The problem of the report; what that would refuse is refused before any work and by shapes alone.

    Options are none of the problem's.
    """
    options = target.options or {}
    try:
        if init is not None and not callable(init):
            raise ValueError(f"Argument `init` must be a function from a random key to params, but is {shown(init)}.")
        drawn = target.start(0)
        if _form(drawn) != _form(params):
            raise ValueError(
                f"Argument `init` must return what `params` is, {_form(params)}, but returned {_form(drawn)}."
            )
        found = target.problem(drawn)
        checked_choices(found, options.get("groups", "leaves"), options.get("classes"), options.get("frozen"))
        if found.model is not None and target.loss is cross_entropy:
            # A single logit is that of class 1.
            require_classes(class_labels(found.model.y), 0, max(2, found.model.n_outputs))
        return found
    except Exception as error:
        said = str(error).strip().split("\n")[0]
        if isinstance(error, MemoryError) or said.startswith("Option"):
            raise  # about what the command asks for, not about the problem
        if not said.startswith("Argument"):
            said = f"under JAX it raised {type(error).__name__}: {said}"
            if isinstance(error, jax.errors.JAXTypeError):
                said += "; compute with jax.numpy, not NumPy, and without float() or if on what depends on params"
        # Names without quotes, since they are no options that were typed.
        said = re.sub(r"(?:\bArguments? )?`(\w+(?:\['[^`]*'\])?)`", r"\1", said)
        raise ValueError(
            f"Argument TARGET must name a function that returns a problem, but that of {text} is none: {said}"
        ) from error


def _form(params: Any) -> str:
    """Leaves with their shapes."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return shown({jax.tree_util.keystr(path, simple=True, separator="/"): np.shape(leaf) for path, leaf in leaves})


def _cast(params: Any, dtype: str) -> Any:
    """Floats in the precision asked for; anything else is left for the checks of the report."""

    def cast(leaf: Any) -> Any:
        floats = isinstance(leaf, float) or getattr(getattr(leaf, "dtype", None), "kind", "") == "f"
        return jax.numpy.asarray(leaf, dtype) if floats else leaf

    return jax.tree.map(cast, params)
