"""Noise models: which noise follows which gate on which qubits, and how bits are misread."""

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from qjaxsim.circuits.channels import CHANNELS
from qjaxsim.circuits.circuit import Circuit, require_circuit
from qjaxsim.circuits.gates import GATES
from qjaxsim.circuits.measurements import Measure, ReadoutError, Reset, misreading
from qjaxsim.circuits.noise_places import RESET, Places, noisy_places, noisy_qubits, other_name, require_widths
from qjaxsim.circuits.operations import Conditional, Gate, Operation, Repeat, Unitary
from qjaxsim.common.checks import require_positive, shown
from qjaxsim.common.suggestions import did_you_mean

# Names of gates that noise does not tell apart: both wait.
_SAME = {"delay_dt": "delay"}


@dataclass(frozen=True)
class Rule:
    """Noise that follows some gates.

    Attributes:
        gates: their names (the label where a gate or matrix has one, "reset" for resets); None for all gates.
        noise: a circuit as wide as the gate, or of one qubit, which then follows on each of the gate's qubits.
        places: the qubits of the gate, in its order; None for all.
        except_at: where it does not follow after all.
        at_first: whether it follows on the first qubits of a wider gate, as errors of Aer's by label do.
    """

    gates: frozenset[str] | None
    noise: Circuit
    places: Places | None
    except_at: Places = frozenset()
    at_first: bool = False

    def after(self, operation: Gate | Unitary | Reset, n_qubits: int) -> Iterator[Operation]:
        """What it adds after a gate in a circuit of a width."""
        name, qubits = _name_of(operation), operation.qubits
        if name == RESET and self.gates is None:
            return
        if not qubits or (self.gates is not None and name not in self.gates) or qubits in self.except_at:
            return
        if self.places is not None and qubits not in self.places:
            return
        width = self.noise.n_qubits
        if width == len(qubits) or (self.at_first and width < len(qubits)):
            yield from self.noise.on(qubits[:width], n_qubits).operations
        elif width == 1:
            for qubit in qubits:
                yield from self.noise.on((qubit,), n_qubits).operations
        elif self.gates is not None:
            raise ValueError(f"Noise after {name!r} acts on {width} qubits, but the gate on {len(qubits)}: {qubits}.")


def _name_of(operation: Gate | Unitary | Reset) -> str:
    if isinstance(operation, Reset):
        return RESET
    if isinstance(operation, Gate):
        return operation.label or _SAME.get(operation.name, operation.name)
    return operation.label


@dataclass(frozen=True)
class Relaxation:
    """What qubits lose in delays.

    Attributes:
        t1: seconds in which the excited state decays.
        t2: seconds in which coherence is lost, at most twice `t1`.
        qubits: where; None for all.
        excited: the population of |1> in equilibrium.
        dt: seconds of the unit of delays "delay_dt"; None where that is unknown.
    """

    t1: float
    t2: float
    qubits: frozenset[int] | None
    excited: float = 0.0
    dt: float | None = None

    def after(self, operation: Operation, n_qubits: int) -> Iterator[Operation]:
        """What it adds after a delay.

        Raises:
            ValueError: for a delay in a unit that is unknown.
        """
        if not isinstance(operation, Gate) or operation.name not in ("delay", "delay_dt"):
            return
        (qubit,), (time,) = operation.qubits, operation.angles
        if self.qubits is not None and qubit not in self.qubits:
            return
        if operation.name == "delay_dt":
            if self.dt is None:
                raise ValueError(
                    f"The circuit has a delay on qubit {qubit} in units of a device; give the noise model their "
                    "seconds (`relaxation(..., dt=...)`)."
                )
            time = time * self.dt
        yield from Circuit(n_qubits).thermal_relaxation(self.t1, self.t2, time, self.excited, qubit).operations


@dataclass(frozen=True)
class _Misread:
    """Probabilities of reading the other value, on some qubits, or on all where `qubits` is None."""

    one_for_zero: float
    zero_for_one: float
    qubits: frozenset[int] | None
    except_at: frozenset[int]

    def acts_on(self, qubit: int) -> bool:
        """Whether this qubit's bit is read so."""
        return (self.qubits is None or qubit in self.qubits) and qubit not in self.except_at


class NoiseModel:
    """Noise by gate and qubits, to be put into any circuit.

    Rules apply in the order in which they are given, all that match. What follows a gate is a circuit, of channels or
    of gates (a coherent over-rotation), and may have parameters: strengths that are swept, trained, differentiated.

    >>> model = NoiseModel().after("cx", Circuit(2).depolarizing2(0.01, 0, 1)).readout_error(0.02, 0.03)
    >>> print(model.apply(Circuit(2).h(0).cx(0, 1)))
    q0: ─H─●─DEPOLARIZING2:0───────READ(0.02, 0.03)──
           │ │
    q1: ───X─DEPOLARIZING2:1(0.01)─READ(0.02, 0.03)──
    """

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._relaxations: list[Relaxation] = []
        self._readout: list[_Misread] = []

    def __copy__(self) -> "NoiseModel":
        return copy.deepcopy(self)  # Python's own would share the lists

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules in their order."""
        return tuple(self._rules)

    @property
    def relaxations(self) -> tuple[Relaxation, ...]:
        """What qubits lose in delays."""
        return tuple(self._relaxations)

    def after(
        self,
        gates: str | Iterable[str] | None,
        noise: Circuit,
        on: Any = None,
        *,
        except_on: Any = (),
    ) -> "NoiseModel":
        """Let noise follow some gates.

        Args:
            gates: one name or several; the label where a gate or matrix has one; "reset" for resets; None for every
                gate.
            noise: a circuit as wide as the gates, its qubit k the gate's qubit number k; or of one qubit, which then
                follows on each of a gate's qubits.
            on: only there: a qubit, or a tuple of them in the gate's order, or a list of such; None for everywhere.
            except_on: not there, likewise.

        Returns:
            The model.

        >>> drift = Circuit(1).rz(0.01, 0)  # coherent
        >>> print(NoiseModel().after(["x", "sx"], drift, on=[0, 2]).apply(Circuit(2).x(0).x(1)))
        q0: ─X─RZ(0.01)──
        <BLANKLINE>
        q1: ─X───────────
        """
        require_circuit("noise", noise)
        names = None if gates is None else frozenset([gates] if isinstance(gates, str) else gates)
        for name in names or ():
            if not isinstance(name, str) or name in CHANNELS:
                raise ValueError(f"Argument `gates` must hold names of gates, but has {shown(name)}.")
            if name == "measure":
                raise ValueError(
                    "Argument `gates` has the name 'measure', which is no gate's; use `readout_error` for bits that "
                    "are read wrongly."
                )
            if name == "initialize":
                raise ValueError(
                    "Argument `gates` has the name 'initialize', which is no gate's; put the noise of a preparation "
                    "into the circuit, as a channel after it."
                )
            near = other_name(name) or did_you_mean(name, [*GATES, RESET])
            if name != RESET and name not in GATES and near:
                raise ValueError(f"Argument `gates` has the name {name!r}, which is no gate's{near}.")
        places, left_out = None if on is None else noisy_places("on", on), noisy_places("except_on", except_on)
        for argument, chosen in (("on", places or ()), ("except_on", left_out)):
            require_widths(argument, chosen, names or ())
        known = None if names is None else frozenset(_SAME.get(name, name) for name in names)
        self._rules.append(Rule(known, noise.copy(), places, left_out))
        return self

    def relaxation(
        self, t1: float, t2: float, qubits: Any = None, *, excited: float = 0.0, dt: float | None = None
    ) -> "NoiseModel":
        """Let qubits relax in delays, for as long as these take.

        Args:
            t1: seconds in which the excited state decays; may be infinite.
            t2: seconds in which coherence is lost, at most twice `t1`; may be infinite.
            qubits: one or several; None for all.
            excited: the population of |1> in equilibrium.
            dt: seconds of the unit of delays in units of a device (`Circuit.delay_dt`).

        Returns:
            The model.

        >>> import numpy as np
        >>> import qjaxsim as qj
        >>> waited = NoiseModel().relaxation(1e-4, 1e-4).apply(Circuit(1).x(0).delay(qj.Parameter("t"), 0))
        >>> print(np.asarray(qj.probabilities(waited)({"t": 1e-4})).round(3))
        [0.632 0.368]
        """
        Circuit(1).thermal_relaxation(t1, t2, 0.0, excited, 0)  # refuses what is impossible
        if dt is not None:
            require_positive("dt", dt)
        chosen = None if qubits is None else noisy_qubits("qubits", qubits)
        self._relaxations.append(Relaxation(float(t1), float(t2), chosen, float(excited), dt))
        return self

    def extend(self, rules: Iterable[Rule]) -> "NoiseModel":
        """Let further rules apply, as they are: their gates may have any names.

        >>> NoiseModel().extend(NoiseModel().after("x", Circuit(1).bit_flip(0.1, 0)).rules)
        <NoiseModel: 1 rules, after x>
        """
        self._rules.extend(rules)
        return self

    def readout_error(
        self, one_for_zero: float, zero_for_one: float, qubits: Any = None, except_at: Any = ()
    ) -> "NoiseModel":
        """Let bits be read wrongly, in measurements on the way and at the end.

        Args:
            one_for_zero: probability of reading 1 for 0.
            zero_for_one: probability of reading 0 for 1.
            qubits: one or several; None for every qubit.
            except_at: those of them that are left out.

        >>> len(NoiseModel().readout_error(0.01, 0.02, 0).apply(Circuit(2)))
        1
        """
        Circuit(1).readout_error(one_for_zero, zero_for_one, 0)  # refuses what is no probability
        chosen = None if qubits is None else noisy_qubits("qubits", qubits)
        left_out = noisy_qubits("except_at", except_at)
        self._readout.append(_Misread(float(one_for_zero), float(zero_for_one), chosen, left_out))
        return self

    def apply(self, circuit: Circuit) -> Circuit:
        """The circuit with its noise, readout errors in its measurements and at the end.

        Layers that repeat stay layers. Parameters of the noise become the circuit's; in a repeated layer they are the
        same in all repetitions.

        Raises:
            ValueError: if a gate has another width than the noise that follows it; for delays in a unit that is
                unknown.

        >>> import qjaxsim as qj
        >>> noisy = NoiseModel().after("x", Circuit(1).bit_flip(qj.Parameter("p"), 0)).apply(Circuit(1).x(0))
        >>> round(float(qj.expectation(noisy, qj.Z(0))({"p": 0.25})), 6)
        -0.5
        """
        require_circuit("circuit", circuit)
        noisy = self._inside(circuit)
        for one in self._readout:
            chosen = [q for q in range(circuit.n_qubits) if one.acts_on(q)]
            noisy.extend(ReadoutError(q, one.one_for_zero, one.zero_for_one) for q in chosen)
        return noisy

    def _inside(self, circuit: Circuit) -> Circuit:
        out = Circuit(circuit.n_qubits)
        for operation in circuit.operations:
            if isinstance(operation, Repeat):
                layer = self._inside(operation.circuit)
                of_noise = layer.parameters.keys() - operation.circuit.parameters.keys()
                shared = operation.shared | of_noise
                out.extend([Repeat(layer, operation.times, frozenset(shared), operation.reverse)])
                continue
            if isinstance(operation, Conditional):
                out.extend([Conditional(operation.bits, operation.values, self._inside(operation.circuit))])
                continue
            out.extend([self._misread(operation) if isinstance(operation, Measure) else operation])
            if isinstance(operation, Gate | Unitary | Reset):
                every: list[Relaxation | Rule] = [*self._relaxations, *self._rules]
                for rule in every:
                    out.extend(rule.after(operation, circuit.n_qubits))
        return out

    def _misread(self, operation: Measure) -> Measure:
        """A measurement whose bit is read wrongly on top of what it had."""
        total = misreading(*self.readout(operation.qubit)) @ operation.matrix()
        return replace(operation, one_for_zero=float(total[1, 0]), zero_for_one=float(total[0, 1]))

    def readout(self, qubit: int) -> tuple[tuple[float, float], ...]:
        """The readout errors of a qubit, (one for zero, zero for one) each.

        >>> NoiseModel().readout_error(0.01, 0.02).readout(5)
        ((0.01, 0.02),)
        """
        return tuple((one.one_for_zero, one.zero_for_one) for one in self._readout if one.acts_on(qubit))

    def on(self, qubits: Sequence[int]) -> "NoiseModel":
        """The noise that a circuit meets which is run on some qubits: its qubit k has that of `qubits[k]`.

        >>> device = NoiseModel().after("x", Circuit(1).bit_flip(0.25, 0), on=5)
        >>> len(device.on((4, 5)).apply(Circuit(2).x(1)))
        2
        """
        where = {qubit: k for k, qubit in enumerate(qubits)}
        out = NoiseModel()
        for rule in self._rules:
            places = None if rule.places is None else _moved(rule.places, where)
            if places is None or places:
                out._rules.append(replace(rule, places=places, except_at=_moved(rule.except_at, where)))
        for relaxation in self._relaxations:
            moved = _of_these(relaxation.qubits, where)
            if moved is None or moved:
                out._relaxations.append(replace(relaxation, qubits=moved))
        for one in self._readout:
            moved = _of_these(one.qubits, where)
            if moved is None or moved:
                left_out = frozenset(where[q] for q in one.except_at if q in where)
                out._readout.append(replace(one, qubits=moved, except_at=left_out))
        return out

    def __repr__(self) -> str:
        names = sorted({name for rule in self._rules for name in rule.gates or ("every gate",)})
        more = ", relaxation in delays" * bool(self._relaxations) + ", readout errors" * bool(self._readout)
        return f"<NoiseModel: {len(self._rules)} rules, after {', '.join(names) or 'nothing'}{more}>"


def _of_these(qubits: frozenset[int] | None, where: dict[int, int]) -> frozenset[int] | None:
    return None if qubits is None else frozenset(where[q] for q in qubits if q in where)


def _moved(places: Places, where: dict[int, int]) -> Places:
    return frozenset(tuple(where[q] for q in place) for place in places if all(q in where for q in place))
