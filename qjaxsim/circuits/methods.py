"""Methods of circuits: those of gates and channels by name, and those that add noise.

`Circuit` names the rest; this module knows it in its types only.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from qjaxsim.circuits.channels import ROUNDING, ChannelSpec, pauli_channel
from qjaxsim.circuits.expressions import Angle, Expression, Parameter, as_expression
from qjaxsim.circuits.gates import GateSpec
from qjaxsim.circuits.inspection import constant_array, written_bits
from qjaxsim.circuits.measurements import Measure, ReadoutError, Reset
from qjaxsim.circuits.operations import Channel, Conditional, Kraus, Preparation
from qjaxsim.common.checks import as_integer, as_number, shown

if TYPE_CHECKING:
    from qjaxsim.circuits.circuit import Circuit

Qubits = int | Sequence[int]

# Seconds in the place of infinity, which no formula takes.
_FOREVER = 1e100


class Wording(NamedTuple):
    """How messages speak of a gate or a channel.

    Attributes:
        kind: "Gate" or "Channel".
        amount: how many numbers it takes.
        numbers: those in words.
    """

    kind: str
    amount: int
    numbers: str


def require_fitting(spec: GateSpec | ChannelSpec, qubits: tuple[int, ...], angles: Any) -> None:
    """Refuse qubits and numbers of another count than an entry of the tables has.

    Raises:
        ValueError: naming both counts.
        TypeError: for numbers that are no sequence.
    """
    fits = isinstance(angles, Sequence | np.ndarray) and len(angles) == _amount(spec)
    if fits and len(qubits) == spec.n_qubits:
        return
    words = wording(spec)  # its sentences are made for the message alone: long circuits come through here
    if len(qubits) != spec.n_qubits:
        raise ValueError(f"{words.kind} {spec.name!r} acts on {spec.n_qubits} qubits, but got {len(qubits)}: {qubits}.")
    if not isinstance(angles, Sequence | np.ndarray):
        raise TypeError(f"Argument `angles` must be a sequence of {words.numbers}, but is {angles!r}.")
    raise ValueError(f"{words.kind} {spec.name!r} takes {words.numbers}, but got {len(angles)}.")


def wording(spec: GateSpec | ChannelSpec) -> Wording:
    """How messages speak of an entry of the tables."""
    amount = _amount(spec)
    if isinstance(spec, GateSpec):
        return Wording("Gate", amount, f"{amount} angles")
    return Wording("Channel", amount, f"{amount} strengths ({', '.join(spec.strengths)})")


def _amount(spec: GateSpec | ChannelSpec) -> int:
    """How many numbers it takes."""
    return spec.n_angles if isinstance(spec, GateSpec) else len(spec.strengths)


def checked_channel(name: str, qubits: tuple[int, ...], strengths: Iterable[Any]) -> Channel:
    """A channel whose strengths, where they are numbers, are possible; infinite times of relaxation are long ones.

    Raises:
        ValueError: for others, naming them.
        TypeError: for what is no number and no expression.
    """
    given = list(strengths)
    if name == "thermal_relaxation":
        given[:2] = [_FOREVER if isinstance(time, float) and time == math.inf else time for time in given[:2]]
    what = f"A strength of channel {name!r}"
    channel = Channel(name, qubits, tuple(as_expression(each, what) for each in given))
    if not any(isinstance(value, Expression) for value in channel.angles):
        text = channel.spec.problem(*channel.angles)
        if text is not None:
            raise ValueError(f"Channel {channel.name!r} cannot have such strengths: {text}.")
    return channel


class StateMethods:
    """What `Circuit` has for states and noise, beside the channels by name."""

    def initialize(self: "Circuit", state: Any, qubits: Qubits | None = None) -> "Circuit":  # type: ignore[misc]
        """Let some qubits begin in a state other than |0...0>; nothing may have acted on them.

        Args:
            state: 2**k amplitudes, real or complex, of norm 1 to 1e-6; or a `Parameter` of shape (2**k,) for real
                amplitudes (amplitude encoding), or (2, 2**k) for real and imaginary parts, whose values are divided by
                their norm, with derivatives through that.
            qubits: the k qubits, first most significant; None for all in order.

        >>> import qjaxsim as qj
        >>> x = qj.Parameter("x", (4,))
        >>> encoded = qj.Circuit(2).initialize(x)
        >>> print(np.asarray(qj.probabilities(encoded)({"x": np.array([3.0, 0.0, 4.0, 0.0])})).round(6))
        [0.36 0.   0.64 0.  ]
        """
        chosen = self.check_qubits(range(self.n_qubits) if qubits is None else qubits, "initialize")
        used = {qubit for operation in self.operations for qubit in operation.qubits}
        if not chosen or used & set(chosen):
            raise ValueError(
                f"Argument `qubits` of `initialize` must name qubits that nothing has acted on, but {list(chosen)} "
                f"{'has' if chosen else 'names none, and'} {sorted(used & set(chosen))} in use."
            )
        size = 2 ** len(chosen)
        if isinstance(state, Parameter):
            if state.shape not in ((size,), (2, size)):
                raise ValueError(
                    f"Argument `state` must have shape ({size},) or (2, {size}) for qubits {chosen}, but parameter "
                    f"{state.name!r} has {state.shape}."
                )
            return self.extend([Preparation(chosen, state.name, state.shape)])
        array = constant_array("state", state)
        norm = np.linalg.norm(array)
        if array.shape != (size,) or not abs(norm - 1) < ROUNDING:
            raise ValueError(
                f"Argument `state` must be {size} amplitudes of norm 1 for qubits {chosen}, but has shape "
                f"{array.shape} and norm {norm:.6g}."
            )
        return self.extend([Preparation(chosen, array / norm)])

    def measure(self: "Circuit", qubits: Qubits, bits: Qubits) -> "Circuit":  # type: ignore[misc]
        """Measure qubits into classical bits; what follows may depend on them (`if_bits`).

        All outcomes are followed at once, each with its probability, exactly and with derivatives: nothing is drawn.

        Args:
            qubits: one or several.
            bits: the classical bit of each, counted from 0; a bit that is used again keeps the last outcome.

        >>> import qjaxsim as qj
        >>> circuit = qj.Circuit(2).h(0).measure(0, 0).if_bits(0, 1, qj.Circuit(2).x(1))
        >>> print(np.asarray(qj.probabilities(circuit, [1])()).round(6))
        [0.5 0.5]
        """
        chosen, places = self.check_qubits(qubits, "measure"), classical_bits("bits", bits)
        if len(chosen) != len(places):
            raise ValueError(
                f"Argument `bits` must name a bit for each of {len(chosen)} qubits, but names {len(places)}: {places}."
            )
        return self.extend(Measure(qubit, bit) for qubit, bit in zip(chosen, places, strict=True))

    def reset(self: "Circuit", qubits: Qubits) -> "Circuit":  # type: ignore[misc]
        """Put qubits back to |0>, whatever they are entangled with.

        >>> import qjaxsim as qj
        >>> print(np.asarray(qj.probabilities(qj.Circuit(2).h(0).cx(0, 1).reset(0))()).round(6))
        [0.5 0.5 0.  0. ]
        """
        return self.extend(Reset(qubit) for qubit in self.check_qubits(qubits, "reset"))

    def if_bits(  # type: ignore[misc]
        self: "Circuit", bits: Qubits, values: Any, then: "Circuit", otherwise: "Circuit | None" = None
    ) -> "Circuit":
        """Run a circuit where classical bits have given values.

        Args:
            bits: one or several.
            values: 0 or 1 for each; or one integer that they spell, the first bit most significant.
            then: as wide as this circuit.
            otherwise: run where the bits have other values.

        >>> import qjaxsim as qj
        >>> flip = qj.Circuit(2).x(1)
        >>> undone = qj.Circuit(2).h(0).cx(0, 1).measure(0, 0).if_bits(0, 1, flip)
        >>> print(np.asarray(qj.probabilities(undone, [1])()).round(6))
        [1. 0.]
        """
        places = classical_bits("bits", bits)
        wanted = _values(values, len(places))
        for name, circuit in (("then", then), ("otherwise", otherwise)):
            width = getattr(circuit, "n_qubits", None)
            if circuit is not None and width != self.n_qubits:
                raise ValueError(
                    f"Argument `{name}` must be a Circuit of {self.n_qubits} qubits like this one, but is "
                    f"{shown(circuit)}."
                )
        inside = (*then.operations, *(otherwise.operations if otherwise is not None else ()))
        measured = written_bits(inside)
        if otherwise is not None and measured & set(places):
            raise ValueError(
                f"Arguments `then` and `otherwise` must not measure into the bits that are asked for, but do into "
                f"{sorted(measured & set(places))}."
            )
        self.extend([Conditional(places, wanted, then.copy())] if len(then) else [])
        if otherwise is None or not len(otherwise):
            return self
        # The bits differ from the values: at the first place, or at the second after the first agreed, ...
        for k in range(len(places)):
            other = (*wanted[:k], 1 - wanted[k])
            self.extend([Conditional(places[: k + 1], other, otherwise.copy())])
        return self

    def kraus(self: "Circuit", matrices: Any, qubits: Qubits, label: str = "kraus") -> "Circuit":  # type: ignore[misc]
        """Add a constant channel by its Kraus matrices.

        Args:
            matrices: (m, 2**k, 2**k), the sum of K+ K the identity to 1e-6; the first qubit is the most significant.
            qubits: the k qubits.
            label: name in drawings.

        >>> import qjaxsim as qj
        >>> measured = [np.diag([1, 0]), np.diag([0, 1])]  # and the outcome forgotten
        >>> print(np.asarray(qj.density_matrix(qj.Circuit(1).h(0).kraus(measured, 0))()).real.round(6))
        [[0.5 0. ]
         [0.  0.5]]
        """
        chosen = self.check_qubits(qubits, label)
        array = constant_array("matrices", matrices)
        size = 2 ** len(chosen)
        if array.ndim != 3 or array.shape[1:] != (size, size) or not len(array):
            raise ValueError(
                f"Argument `matrices` must have shape (m, {size}, {size}) for qubits {chosen}, but has {array.shape}."
            )
        error = np.abs(np.einsum("mba,mbc->ac", array.conj(), array) - np.eye(size)).max()
        if not error < ROUNDING:
            raise ValueError(
                f"Argument `matrices` must keep the trace (the sum of K+ K the identity), but differs by {error:.2g}."
            )
        return self.extend([Kraus(array, chosen, label)])

    def pauli_channel(self: "Circuit", probabilities: Mapping[str, Angle], qubits: Qubits) -> "Circuit":  # type: ignore[misc]
        """Add a mixture of Pauli strings: each with its probability, else nothing.

        Args:
            probabilities: by string, such as {"XX": 0.01, "ZI": p}, first letter on the first qubit; numbers or
                expressions. The identity has the rest.
            qubits: as many as the strings have letters.

        >>> import qjaxsim as qj
        >>> noisy = qj.Circuit(2).x(0).pauli_channel({"XX": 0.25}, (0, 1))
        >>> print(np.asarray(qj.probabilities(noisy)()).round(6))
        [0.   0.25 0.75 0.  ]
        """
        chosen = self.check_qubits(qubits, "pauli_channel")
        if not isinstance(probabilities, Mapping) or not probabilities:
            raise TypeError(
                f"Argument `probabilities` must be a dictionary by Pauli string, but is {shown(probabilities)}."
            )
        for label in probabilities:
            if not isinstance(label, str) or len(label) != len(chosen) or set(label) - set("IXYZ"):
                raise ValueError(
                    f"Argument `probabilities` must have strings of {len(chosen)} letters I, X, Y, Z as keys for "
                    f"qubits {chosen}, but has {shown(label)}."
                )
        named = {label: value for label, value in probabilities.items() if set(label) != {"I"}}
        if not named:
            return self
        return self.extend([checked_channel(pauli_channel(tuple(named)).name, chosen, named.values())])

    def readout_error(self: "Circuit", one_for_zero: float, zero_for_one: float, qubits: Qubits) -> "Circuit":  # type: ignore[misc]
        """Let some qubits be read wrongly at the end: in `probabilities`, `sample` and `expectation`.

        It is classical and comes after all else, whatever is added later: each bit of an outcome changes by itself, and
        an expectation value is that of what is read, each Pauli string measured in its own basis. A density matrix
        knows nothing of it, and neither do classical bits that `measure` writes on the way, before or after it
        (`bits=`, `if_bits`); `NoiseModel.readout_error` lets those be read wrongly, too. Not under a condition.

        Args:
            one_for_zero: the probability of reading 1 where the outcome is 0.
            zero_for_one: the probability of reading 0 where the outcome is 1.
            qubits: one or several.

        >>> import qjaxsim as qj
        >>> print(np.asarray(qj.probabilities(qj.Circuit(1).readout_error(0.125, 0.25, 0))()).round(6))
        [0.875 0.125]
        """
        numbers = []
        for name, value in (("one_for_zero", one_for_zero), ("zero_for_one", zero_for_one)):
            number = as_number(value, f"Argument `{name}`", "give the probabilities as numbers")
            if number is None or number.imag or not 0 <= number.real <= 1:
                raise ValueError(f"Argument `{name}` must be a probability from 0 to 1, but is {shown(value)}.")
            numbers.append(float(number.real))
        return self.extend(ReadoutError(qubit, *numbers) for qubit in self.check_qubits(qubits, "readout_error"))


def by_name(spec: GateSpec | ChannelSpec) -> Callable[..., Any]:
    """The method of `Circuit` that adds a gate or a channel of the tables."""
    words = wording(spec)

    def method(self: "Circuit", *args: Any) -> "Circuit":
        if len(args) != words.amount + spec.n_qubits:
            raise TypeError(
                f"{words.kind} {spec.name!r} takes {words.numbers} and then {spec.n_qubits} qubits, "
                f"but got {len(args)} arguments."
            )
        angles = args[: words.amount]
        qubits: list[Any] = [
            q if as_integer(q) is not None or not isinstance(q, Iterable) else listed(q) for q in args[words.amount :]
        ]
        lengths = {len(q) for q in qubits if isinstance(q, tuple)}
        if not lengths:
            return self.append(spec.name, qubits, angles)
        if len(lengths) > 1:
            raise ValueError(
                f"Qubit sequences of {words.kind.lower()} {spec.name!r} must have equal lengths, "
                f"but have {sorted(lengths)}."
            )
        (length,) = lengths
        for each in zip(*(q if isinstance(q, tuple) else (q,) * length for q in qubits), strict=True):
            self.append(spec.name, each, angles)
        return self

    method.__name__ = spec.name
    method.__qualname__ = f"Circuit.{spec.name}"
    method.__doc__ = _gate_doc(spec)
    return method


def _gate_doc(spec: GateSpec | ChannelSpec) -> str:
    words = wording(spec)
    width, qubits, angles = max(spec.n_qubits, 1), tuple(range(spec.n_qubits)), (0.25,) * words.amount
    call = ", ".join(map(str, angles + qubits))
    return f"""Add the {words.kind.lower()} {spec.name!r}: {words.numbers}, then {spec.n_qubits} qubits.

    >>> Circuit({width}).{spec.name}({call}) == Circuit({width}).append({spec.name!r}, {qubits}, {angles})
    True
    """


def listed(qubits: Any) -> tuple[Any, ...]:
    """One qubit or several as a tuple; an array of no axes is one."""
    single = not isinstance(qubits, Iterable) or getattr(qubits, "ndim", None) == 0
    return (qubits,) if single else tuple(qubits)


def classical_bits(name: str, bits: Any) -> tuple[int, ...]:
    """Classical bits as a tuple of integers.

    Raises:
        ValueError: for negative ones, those named twice, and none at all.
        TypeError: for what is no integer.
    """
    out: list[int] = []
    for one in listed(bits):
        number = as_integer(one)
        if number is None:
            raise TypeError(f"Argument `{name}` must hold integers, but holds {shown(one)}.")
        out.append(number)
    if not out or min(out) < 0 or len(set(out)) != len(out):
        raise ValueError(f"Argument `{name}` must hold different bits from 0 on, but is {shown(bits)}.")
    return tuple(out)


def _values(given: Any, count: int) -> tuple[int, ...]:
    """Values of so many bits."""
    number = as_integer(given)
    if number is not None and 0 <= number < 2**count:
        return tuple(number >> (count - 1 - k) & 1 for k in range(count))
    values = None if number is not None or not isinstance(given, Iterable) else tuple(map(as_integer, given))
    if values is None or len(values) != count or set(values) - {0, 1}:
        raise ValueError(
            f"Argument `values` must be 0 or 1 for each of {count} bits, or an integer below {2**count}, but is "
            f"{shown(given)}."
        )
    return tuple(int(value or 0) for value in values)
