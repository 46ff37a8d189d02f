"""Fields of a study's settings: what they mean, which values they take, and with which others they have an effect.

Settings are frozen dataclasses whose fields are made by `choice`, `integer`, `number` and `other`. `check_settings`
goes through the values, `refuse_idle` through what would be ignored, `with_defaults` fills in what depends on a data
set, and the command makes an option of each (`qjaxsim.studies.shared.command`), so that none of it is written out study
by study. Modules of settings import no JAX: `--help` reads them.

`needs` of a field says when it has an effect: a condition, or a tuple of which one must hold. A condition maps names of
other settings to what they must be: a tuple of values of which one must be there, `GIVEN`, `ABSENT`, or `Except`.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from qjaxsim.common.suggestions import did_you_mean

# What JAX's 32-bit integers hold, and the seeds that it tells apart: of larger ones it drops the upper bits.
LARGEST_COUNT, LARGEST_SEED = 2**31 - 1, 2**32 - 1
# Qubits beyond which a number of bytes is not worth counting, and layers of circuits that are written out gate by gate.
LARGEST_REGISTER, LARGEST_DEPTH = 60, 100_000
GIVEN, ABSENT = object(), object()
OTHERWISE = ""
Condition = Mapping[str, Any]
Needs = Condition | tuple[Condition, ...]
_S = TypeVar("_S")


@dataclasses.dataclass(frozen=True)
class Except:
    """Any value but one."""

    value: Any


@dataclasses.dataclass(frozen=True)
class _Rule:
    """What values of a field must be."""

    choices: tuple[Any, ...] | None = None
    integer: bool = False
    least: float | None = None
    most: float | None = None
    above: float | None = None
    empty: bool = False
    optional: bool = False


@dataclasses.dataclass(frozen=True)
class Option:
    """How a field shows on the command line.

    Attributes:
        help: what the setting is, a sentence.
        defaults: value of another setting (`with_defaults`) -> what None stands for, `OTHERWISE` for all others; or
            words that say it.
        flag: name of the option without dashes; default the field's.
        words: word -> what stands for it: a tuple for the whole list, anything else for one of its values.
    """

    help: str = ""
    defaults: Mapping[str, Any] | str | None = None
    flag: str | None = None
    words: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def choice(default: Any, choices: Iterable[Any], *, empty: bool = False, needs: Needs = (), **option: Any) -> Any:
    """A field that is one of some values, or a tuple of them; `empty` allows a tuple of none."""
    return _field(default, _Rule(choices=tuple(choices), empty=empty), needs, option)


def integer(
    default: Any, least: int, most: int = LARGEST_COUNT, *, optional: bool = False, needs: Needs = (), **option: Any
) -> Any:
    """A field that is an integer of a range, or a tuple of such, none twice; `optional` allows None."""
    return _field(default, _Rule(integer=True, least=least, most=most, optional=optional), needs, option)


def number(
    default: Any, *, above: float | None = None, least: float | None = None, needs: Needs = (), **option: Any
) -> Any:
    """A field that is a finite number, above one or at least one."""
    return _field(default, _Rule(above=above, least=least), needs, option)


def other(default: Any, *, needs: Needs = (), **option: Any) -> Any:
    """A field of which only `needs` is checked here."""
    return _field(default, None, needs, option)


def sharpness_option(needs: Needs = ()) -> Any:
    """The field of a study that trains by `qjaxsim.training.fit`; see `qjaxsim.studies.shared.sharpness`."""
    return other(
        False, needs=needs, help="Largest Hessian eigenvalue of the training loss after every epoch, beside 2 / rate."
    )


def _field(default: Any, rule: _Rule | None, needs: Needs, option: Mapping[str, Any]) -> Any:
    metadata = {"rule": rule, "needs": needs, "option": Option(**option)}
    return dataclasses.field(default=default, metadata=metadata)


def digits_else(digits: Any, others: Any) -> dict[str, Any]:
    """What None stands for with the built-in digits, and with other data sets."""
    return {"digits": digits, OTHERWISE: others}


def with_defaults(settings: _S, chooser: str) -> _S:
    """The same settings with fields that are None set to what their `defaults` have for the setting `chooser`."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        defaults = field.metadata["option"].defaults
        if getattr(settings, field.name) is None and isinstance(defaults, Mapping):
            found[field.name] = defaults.get(getattr(settings, chooser), defaults.get(OTHERWISE))
    return dataclasses.replace(settings, **found)  # type: ignore[type-var]


# --- values ----------------------------------------------------------------------------------------------------------


def check_settings(settings: Any) -> None:
    """Raise for the first field whose value is not what its field says; None where that is the default passes.

    Raises:
        ValueError: naming the field, its value and what it must be.
    """
    for field in dataclasses.fields(settings):
        rule, value = field.metadata.get("rule"), getattr(settings, field.name)
        if rule is None or (value is None and (rule.optional or field.default is None)):
            continue
        if isinstance(value, tuple):
            _check_list(field.name, value, rule)
        else:
            _check_one(field.name, value, rule, "be")


def _check_list(name: str, values: tuple[Any, ...], rule: _Rule) -> None:
    if (not values and not rule.empty) or len(set(values)) != len(values):
        raise ValueError(f"Argument `{name}` must hold at least one value and none twice, but is {list(values)}.")
    for value in values:
        _check_one(name, value, rule, "hold")


def _check_one(name: str, value: Any, rule: _Rule, verb: str) -> None:
    """One value; `verb` is "be", or "hold" for one of several."""
    now = "is" if verb == "be" else "holds"
    if rule.choices is not None:
        if value not in rule.choices:
            these = f"be one of {list(rule.choices)}" if verb == "be" else f"hold names of {list(rule.choices)}"
            close = did_you_mean(value, rule.choices)
            raise ValueError(f"Argument `{name}` must {these}, but {now} {value!r}{close}.")
        return
    if isinstance(value, bool) or not isinstance(value, int if rule.integer else int | float):
        raise ValueError(f"Argument `{name}` must {verb} {_what(rule, verb)}, but {now} {value!r}.")
    inside = (
        (rule.integer or math.isfinite(value))
        and (rule.least is None or value >= rule.least)
        and (rule.most is None or value <= rule.most)
        and (rule.above is None or value > rule.above)
    )
    if not inside:
        raise ValueError(f"Argument `{name}` must {verb} {_range(rule, value, verb)}, but {now} {value}.")


def _what(rule: _Rule, verb: str) -> str:
    kind = "integer" if rule.integer else "number"
    return f"{kind}s" if verb == "hold" else f"an {kind}" if rule.integer else f"a {kind}"


def _range(rule: _Rule, value: Any, verb: str) -> str:
    """The side of the range that a value misses."""
    numbers = "numbers of " if verb == "hold" else ""
    if rule.above is not None:
        return "a positive number" if rule.above == 0 else f"a finite number above {rule.above:g}"
    if not rule.integer and rule.least is not None:
        return "finite and not negative" if rule.least == 0 else f"a finite number of at least {rule.least:g}"
    if rule.least is not None and value < rule.least:
        return f"{numbers}at least {rule.least}"
    return f"{numbers}at most {rule.most}"


def values_in_words(field: dataclasses.Field[Any]) -> str:
    """What values a field takes, for a table: "from 1 on", "mean, sum"; empty where it is checked elsewhere."""
    rule = field.metadata["rule"]
    if rule is None:
        return "yes or no" if isinstance(field.default, bool) else ""
    if rule.choices is not None:
        return ", ".join(map(str, rule.choices))
    if rule.above is not None:
        return f"above {rule.above:g}"
    most = "" if rule.most in (None, LARGEST_COUNT) else f" to {rule.most}"
    return f"from {rule.least:g}{most or ' on'}"


def require_at_most(name: str, value: int | None, most: int, of: str) -> None:
    """Raise if a setting asks for more than there is; None asks for nothing.

    Raises:
        ValueError: naming the setting, its value and what there is, the plural noun `of`.
    """
    if value is not None and value > most:
        raise ValueError(f"Argument `{name}` must be at most the {most:,} {of}, but is {value}.")


# --- settings without effect -----------------------------------------------------------------------------------------


def refuse_idle(settings: Any, **more: Any) -> None:
    """Raise for a field that is not its default though that changes nothing with the others as they are.

    Args:
        settings: a settings object.
        more: values beside the settings that conditions name.

    Raises:
        ValueError: naming the field and what it would need.
    """
    values, needs = settings_and_needs(settings)
    defaults = {field.name: field.default for field in dataclasses.fields(settings)}
    refuse_idle_values({**values, **more}, needs, [name for name in values if values[name] != defaults[name]])


def settings_and_needs(settings: Any) -> tuple[dict[str, Any], dict[str, Needs]]:
    """Values of settings by name, and when each has an effect."""
    fields = dataclasses.fields(settings)
    values = {field.name: getattr(settings, field.name) for field in fields}
    return values, {field.name: field.metadata.get("needs", ()) for field in fields}


def refuse_idle_values(values: Mapping[str, Any], needs: Mapping[str, Needs], given: Iterable[str]) -> None:
    """The same for values by name, of which some were given.

    >>> refuse_idle_values({"task": "xor"}, {"digits": {"task": ("mnist", "draw")}}, ["digits"])
    Traceback (most recent call last):
        ...
    ValueError: Argument `digits` has an effect only with `task` mnist or draw, but `task` is xor; leave it out.
    >>> refuse_idle_values({"file": None, "url": "a.b"}, {"size": {"file": ABSENT, "url": ABSENT}}, ["size"])
    Traceback (most recent call last):
        ...
    ValueError: Argument `size` has an effect only without `file` and without `url`, but `url` is a.b; leave it out.
    """
    for name in given:
        conditions = _conditions(needs.get(name, ()))
        failing = [[key for key, want in one.items() if not _holds(values[key], want)] for one in conditions]
        if conditions and all(failing):
            text = ", or ".join(" and ".join(_shown(key, want) for key, want in one.items()) for one in conditions)
            now = " and ".join(_now(key, values[key]) for key in dict.fromkeys(key for one in failing for key in one))
            raise ValueError(f"Argument `{name}` has an effect only {_with(text)}, but {now}; leave it out.")


def needs_in_words(field: dataclasses.Field[Any]) -> str:
    """With what a field has an effect, for a table: "with `control` shots"; empty where it always has."""
    conditions = [one for one in _conditions(field.metadata["needs"]) if one]
    text = ", or ".join(" and ".join(_shown(key, want) for key, want in one.items()) for one in conditions)
    return _with(text) if text else ""


def _conditions(needs: Needs) -> tuple[Condition, ...]:
    return needs if isinstance(needs, tuple) else (needs,)


def _holds(value: Any, wanted: Any) -> bool:
    held = value if isinstance(value, tuple) else (value,)
    if wanted is GIVEN or wanted is ABSENT:
        return _is_given(value) == (wanted is GIVEN)
    if isinstance(wanted, Except):
        return any(one != wanted.value for one in held)
    return any(one in wanted for one in held)


def _is_given(value: Any) -> bool:
    # By kind, since 0 is given and arrays have no truth.
    return not (value is None or value is False or (isinstance(value, tuple) and not value))


def _shown(name: str, wanted: Any) -> str:
    if wanted is GIVEN or wanted is ABSENT:
        return f"`{name}`" if wanted is GIVEN else f"no `{name}`"
    if isinstance(wanted, Except):
        return f"`{name}` other than {wanted.value}"
    values = [one for one in wanted if one is not True]
    return f"`{name}`" if not values else f"`{name}` {_either(values)}"


def _either(values: list[Any]) -> str:
    """Values as text: a, b or c."""
    *first, last = map(str, values)
    return f"{', '.join(first)} or {last}" if first else last


def _with(text: str) -> str:
    text = text.replace(" and no `", " and without `")
    return f"without {text.removeprefix('no ')}" if text.startswith("no ") else f"with {text}"


def _now(name: str, value: Any) -> str:
    if not _is_given(value):
        return f"`{name}` is {'none' if isinstance(value, tuple) else 'not given'}"
    if value is True or not isinstance(value, str | int | float | tuple):
        return f"`{name}` is given"
    return f"`{name}` is {', '.join(map(str, value)) if isinstance(value, tuple) else value}"
