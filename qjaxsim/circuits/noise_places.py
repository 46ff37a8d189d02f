"""Where noise acts, and after what: places and names as users give them."""

from collections.abc import Iterable
from typing import Any

from qjaxsim.circuits.gates import GATES
from qjaxsim.circuits.hints import HINTS
from qjaxsim.circuits.methods import listed
from qjaxsim.common.checks import as_integer, shown

Places = frozenset[tuple[int, ...]]

# What noise may follow besides gates and matrices.
RESET = "reset"


def other_name(name: str) -> str:
    """What to write for a gate that others call so, as an addition to a sentence."""
    ours = HINTS.get(name, "").removeprefix("use `.").removesuffix("`")
    return f" (did you mean {ours!r}?)" if ours in GATES else ""


def require_widths(argument: str, places: Iterable[tuple[int, ...]], gates: Iterable[str]) -> None:
    """Refuse places that none of the gates can stand at; labels may be those of gates of any width.

    Raises:
        ValueError: naming the first.
    """
    widths = {name: 1 if name == RESET else GATES[name].n_qubits if name in GATES else None for name in gates}
    for place in sorted(places):
        if widths and None not in widths.values() and len(place) not in widths.values():
            acts = ", ".join(f"{name!r} on {width}" for name, width in sorted(widths.items()))
            raise ValueError(
                f"Argument `{argument}` must hold the qubits that a gate acts on ({acts}), but holds {place}; a tuple "
                "is one gate's qubits, and a list holds several places, `[(0, 1), (1, 2)]` or `[0, 1]`."
            )


def noisy_qubits(name: str, given: Any) -> frozenset[int]:
    """One qubit or several."""
    chosen = set()
    for one in listed(given):
        qubit = as_integer(one)
        if qubit is None or qubit < 0:
            raise TypeError(f"Argument `{name}` must hold qubits, integers from 0 on, but holds {shown(one)}.")
        chosen.add(qubit)
    return frozenset(chosen)


def noisy_places(name: str, given: Any) -> Places:
    """Tuples of qubits from one qubit, one tuple or a collection of either."""
    many = [given] if as_integer(given) is not None or isinstance(given, tuple) else given
    if not isinstance(many, Iterable):
        raise TypeError(
            f"Argument `{name}` must be a qubit, a tuple of qubits or a list of such, but is {shown(given)}."
        )
    if isinstance(given, tuple) and not given:
        return frozenset()
    out = set()
    for one in many:
        place = tuple(map(as_integer, listed(one)))
        if not place or any(q is None or q < 0 for q in place):
            raise TypeError(f"Argument `{name}` must hold qubits or tuples of qubits, but holds {shown(one)}.")
        out.add(tuple(q for q in place if q is not None))
    return frozenset(out)
