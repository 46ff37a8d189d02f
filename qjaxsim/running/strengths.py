"""Strengths of channels that are parameters, looked at before a function is run with numbers for them."""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.expressions import Expression
from qjaxsim.circuits.inspection import used_parameters
from qjaxsim.circuits.operations import Channel, Conditional, Repeat
from qjaxsim.common.checks import is_traced


class Free(NamedTuple):
    """A channel with a strength that is an expression of parameters.

    Attributes:
        channel: one of those with the same strengths.
        shapes: of the parameters in its strengths, where it stands.
        layers: the repeated layers that it stands in, from outside.
    """

    channel: Channel
    shapes: dict[str, tuple[int, ...]]
    layers: tuple[Repeat, ...]


def check_strengths(circuit: Circuit) -> Callable[..., None] | None:
    """What refuses impossible strengths in the arguments of a function of params; None where none is a parameter."""
    free = {(each.channel.name, each.channel.key[3], each.layers): each for each in _free(circuit, ())}
    return functools.partial(_refuse, tuple(free.values())) if free else None


def _free(circuit: Circuit, layers: tuple[Repeat, ...]) -> Iterator[Free]:
    for operation in circuit.operations:
        if isinstance(operation, Repeat):
            yield from _free(operation.circuit, (*layers, operation))
        elif isinstance(operation, Conditional):
            yield from _free(operation.circuit, layers)
        elif isinstance(operation, Channel) and (shapes := dict(used_parameters(operation))):
            yield Free(operation, shapes, layers)


@np.errstate(all="ignore")  # no number is refused here, or makes NaN: NumPy need not warn
def _refuse(free: tuple[Free, ...], params: Any = None, *_: Any, **__: Any) -> None:
    if not isinstance(params, Mapping):
        return
    for channel, shapes, layers in free:
        found = {name: _known(params.get(name), shape, name, layers) for name, shape in shapes.items()}
        known = {name: value for name, value in found.items() if value is not None}
        if len(known) < len(found):
            continue  # traced, or refused when the function is called
        lookup = functools.partial(_entry, known)
        values = [angle.evaluate(lookup, np) if isinstance(angle, Expression) else angle for angle in channel.angles]
        rows = np.stack(np.broadcast_arrays(*map(np.float64, values))).reshape(len(values), -1)
        # What is NaN makes NaN.
        text = channel.spec.problem(*rows[:, ~np.isnan(rows).any(axis=0)])
        if text is not None:
            raise ValueError(
                f"Argument `params` must give channel {channel.name!r} on qubits {channel.qubits} possible strengths, "
                f"but {text}."
            )


def _known(value: Any, shape: tuple[int, ...], name: str, layers: tuple[Repeat, ...]) -> np.ndarray | None:
    """Values of a parameter, flat behind axes of the batch and of layers; None where they are not known here."""
    if value is None or is_traced(value) or not getattr(value, "is_fully_addressable", True):
        return None
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        return None
    lengths = tuple(1 if name in layer.shared else layer.times for layer in layers)
    outer = tuple(layer.times for layer in layers if name not in layer.shared) + shape
    batch = array.ndim - len(outer)
    if batch < 0 or array.shape[batch:] != outer:
        return None
    return array.reshape(*array.shape[:batch], *lengths, -1)


def _entry(values: Mapping[str, np.ndarray], name: str, index: int) -> np.ndarray:
    return np.asarray(values[name][..., index])
