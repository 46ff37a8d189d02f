"""Messages in the words of the command line: a function's argument is the option that was typed.

A parameter of a command is called as the setting or argument it is passed on as, so that typer's own table of options
is the translation. What a command's functions call otherwise stands in `_INNER`.
"""

import re
from collections.abc import Sequence
from typing import Any

from qjaxsim.common import paths

# Command -> what functions inside it call a thing -> the parameter of the command that it is from.
_INNER: dict[str, dict[str, str]] = {
    "study hessian": {
        "name": "dataset", "n_patches": "patches", "n_layers": "layers", "n_qubits": "qubits", "n_classes": "classes",
        "run": "out",
    },
    "study gradient-variance": {"name": "dataset", "n_layers": "layers", "n_qubits": "qubits"},
    "study attention": {"name": "dataset"},
    "study qrnn": {"name": "dataset", "length": "lengths"},
    "study noisy-hessian": {"name": "dataset"},
    "study disentangler": {"path": "weights", "loaded": "weights"},
    "crosscheck": {"name": "run", "folder": "run", "backend": "noise", "path": "file"},
    "spectrum": {"file": "target", "path": "target"},
    "bench": {"path": "file"},
    "compare": {"folder": "runs"},
    "data prepare": {"idx_dir": "from_folder"},
    "qubo solve": {"num_reads": "reads", "num_sweeps": "sweeps", "path": "file", "problem": "file"},
    "ibm run": {"path": "file"},
    "ibm fetch": {"job_id": "job"},
}  # fmt: skip

_COMPLETION = ("--install-completion", "--show-completion")


def in_options(command: Any, words: Sequence[str], message: str) -> str:
    """The message with arguments called as the options, and arguments, of the command that was typed.

    Args:
        command: the whole command line's, of click.
        words: what was typed after its name.
        message: of an error; "Argument `name` must ..." where it is about an argument.
    """
    path, command = called(command, words)
    shown = {param.name: _typed_as(param) for param in command.params}
    shown |= {inner: shown[name] for inner, name in _INNER.get(path, {}).items() if inner not in shown}

    def kind(match: "re.Match[str]") -> str:
        return f"{'Option' if shown.get(match[2], '').startswith('-') else 'Argument'}{match[1]} `{match[2]}`"

    message = re.sub(r"\bArgument(s?) `(\w+)`", kind, message)
    # A name that is offered is not one that was typed.
    return re.sub(r"(?<!did you mean )`(\w+)`", lambda match: shown.get(match[1], match[0]), message)


def refuse_repeated(command: Any, words: Sequence[str]) -> None:
    """Refuse an option that is given twice, of which the first value would be dropped.

    Args:
        command: the whole command line's, of click.
        words: what was typed after its name.

    Raises:
        ValueError: naming it.
    """
    end = words.index("--") if "--" in words else len(words)
    given = [word.partition("=")[0] for word in words[:end]]
    for option in (*_with_a_value(command), *_with_a_value(called(command, words)[1])):
        if sum(word in option.opts for word in given) > 1:
            commas = ", with commas between its values" if option.metavar == "LIST" else ""
            raise ValueError(f"Option {_typed_as(option)} is given twice; give it once{commas}.")


def refuse_beside_completion(words: Sequence[str]) -> None:
    """Refuse words beside an option on completion, which would drop them: it is for the shell that runs it.

    Args:
        words: what was typed after the command's name.

    Raises:
        ValueError: naming the option.
    """
    found = next((word for word in words if word in _COMPLETION), None)
    if found is not None and len(words) > 1:
        other = next(word for word in words if word != found)
        raise ValueError(
            f"Option {found} takes no value and stands alone, since it is for the shell that runs it, but is given "
            f"with {other!r}; leave that out."
        )


def refuse_empty(command: Any, words: Sequence[str]) -> None:
    """Refuse a value without a character, alone or in a list, as a variable of the shell that is not set leaves it.

    As a path it would be the folder where the command runs. A comma at the end of a list may stay.

    Args:
        command: the whole command line's, of click.
        words: what was typed after its name.

    Raises:
        ValueError: naming the option, if it is one's.
    """
    params = [param for one in (command, called(command, words)[1]) for param in one.params if not _is_flag(param)]
    options = {name: param for param in params for name in param.opts if name.startswith("-")}
    before = ""
    for word in words:
        name, equals, value = word.partition("=")
        option = options.get(before) or (options.get(name) if equals else None)
        value = word if before in options or not equals else value
        if not value and (option is not None or not word):
            what = "An argument" if option is None else f"Option {_typed_as(option)}"
            raise ValueError(f"{what} is empty; give it a value, or leave it out.")
        if option is not None and option.metavar == "LIST" and re.search(r"^\s*,|,\s*,", value):
            raise ValueError(f"Option {_typed_as(option)} has an empty place in its list, {value!r}; take a comma out.")
        before = word


def at_home(word: str) -> str:
    """A word of the command line with a leading ~ as the folder it stands for, which shells leave in `--out=~/runs`."""
    option, path = re.fullmatch(r"(--[\w-]+=|)(.*)", word, re.DOTALL).groups()  # type: ignore[union-attr]
    return option + paths.at_home(path)


def called(command: Any, words: Sequence[str]) -> tuple[str, Any]:
    """Path and object of the command that words lead to, past options in front of its name and their values."""
    path: list[str] = []
    rest = iter(words)
    for word in rest:
        below = getattr(command, "commands", {})
        if word in below:
            command = below[word]
            path.append(word)
        elif not below or not word.startswith("-"):
            break
        elif any(word in param.opts for param in _with_a_value(command)):
            next(rest, None)
    return " ".join(path), command


def _with_a_value(command: Any) -> list[Any]:
    """The options of a command that one value follows."""
    options = (param for param in command.params if param.param_type_name == "option")
    return [option for option in options if not option.is_flag and not option.multiple]


def _is_flag(param: Any) -> bool:
    return param.param_type_name == "option" and bool(param.is_flag)


def _typed_as(param: Any) -> str:
    if param.param_type_name == "argument":
        return str(param.metavar or param.name.upper()).strip("[]")
    return str(max(param.opts, key=len))
