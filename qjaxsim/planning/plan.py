"""From a circuit to a plan: what is run as one step, in which order. NumPy only, no JAX.

A plan depends on the circuit, on the names of the parameters that carry a batch (the "data"; the others are the
"weights") and on the size of that batch, never on values:

1. `recognise`: layers that repeat in a flat circuit become a loop where that is quicker;
2. `gadgets`: constant gates that are undone later vanish, and rotations between them turn into phases or into rotations
   about Pauli strings;
3. `normal_form`: operations become leaves; runs fused, identities, inverse pairs and swaps taken out;
4. `beginning`: a long beginning without angles is run here and now, its state is the first step;
5. `phased`: rotations by data may be written as phases between constant gates; where layers that repeat begin or end
   with them, these gates go to the neighbouring weights before anything else;
6. `schedule`: leaves that commute are reordered and grouped into dense blocks, monomials, diagonals and loops of
   rotations, by cost;
7. `packing`: long stretches of weights become loops over small blocks where that is cheaper or they are very long, and
   the matrices of other blocks with angles are made together;
8. here: stretches of weights between data are collapsed into one unitary where that is cheaper;
9. `layout`: the order of the index bits is chosen and every step written for it.

Where the state is cut over devices, `remapping` says after 3 which qubits lie where and when they change places; what
follows plans the piece that a device holds.
"""

import itertools
from collections.abc import Collection, Iterable, Sequence

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.measurements import Projection
from qjaxsim.circuits.operations import Preparation, Repeat
from qjaxsim.planning import cost
from qjaxsim.planning.beginning import constant_beginning, is_run_when_planned
from qjaxsim.planning.inspection import is_linear
from qjaxsim.planning.layout import Planned, Stretch, lay_out
from qjaxsim.planning.leaves import Leaf
from qjaxsim.planning.normal_form import Item, Relabel, kind, normal_form
from qjaxsim.planning.options import PlanOptions, plan_options
from qjaxsim.planning.packing import WIDEST, Bundle, bundle, is_fixed, making, price, products
from qjaxsim.planning.phased import with_phased_data, with_phased_layers
from qjaxsim.planning.recognise import with_loops
from qjaxsim.planning.remapping import LocalItem, LocalLoop, remapped
from qjaxsim.planning.schedule import Group, Limits, schedule
from qjaxsim.planning.singles import with_data_runs
from qjaxsim.planning.steps import (
    Dense,
    Diagonal,
    Loop,
    Packed,
    Plan,
    Prepare,
    Rotations,
    Singles,
    Step,
    Together,
    Transpose,
    Widen,
    flat_steps,
)

# Widths of dense blocks that are tried.
BLOCKS = (3, 4, 5, 6, 7)
# Those of one state of so few qubits are narrow where gates with angles fill them: making a wide matrix costs more.
NARROW_BLOCKS, MOST_NARROW = (3, 4), 13
# Circuits with more leaves than this are grouped once, with blocks of up to `LONG_BLOCK` qubits.
LONG_CIRCUIT, LONG_BLOCK = 2000, 5
# Stretches of so many leaves without data may become loops over blocks; they do if they are longer programs than this.
LONG_STRETCH, MOST_GROUPS, MOST_LEAVES = 256, 128, 5000
# Larger states are not gathered for speed.
MOST_GATHERED = 2**16
# Blocks of one width and so many products in all are made at once.
MANY_LAYERS = 24
# A collapsed unitary of more than this many bytes (complex64) is never formed.
MAX_UNITARY_BYTES = 2**28


def make_plan(
    circuit: Circuit,
    data: Collection[str] = (),
    batch: int = 1,
    options: PlanOptions | None = None,
    from_zero: bool = True,
    device_bits: int = 0,
) -> Plan:
    """Plan a circuit.

    Args:
        circuit: what to run.
        data: names of the parameters that carry the batch.
        batch: the number of columns that data brings, or of the states that the plan is run on.
        options: forced choices.
        from_zero: whether the plan is run on |0...0>, else on any states.
        device_bits: the state is cut over 2**device_bits devices.

    Returns:
        The plan; it is pure data and can be used for any values of the parameters.

    Cost: linear in the number of operations, below a second for 10,000 gates, some seconds for 100,000; no table larger
    than 2**12 entries.
    """
    options = plan_options(options)
    if device_bits:
        return _piece_plan(circuit, frozenset(data), batch, options, device_bits)
    prepared, circuit = _prepared(circuit, frozenset(data))
    if prepared and not from_zero:
        raise ValueError("A circuit that initializes qubits cannot be run on other states, and has no unitary.")
    alike = from_zero and not prepared and circuit.parameters.keys().isdisjoint(data)  # all columns are one state
    columns = 1 if alike else batch
    at_once = alike and options.scan is None and is_run_when_planned(circuit)
    found = with_loops(circuit, frozenset(data), columns, False if at_once else options.scan)
    planner = _Planner(frozenset(data) | found.data, batch, options, from_zero and not prepared)
    whole = with_phased_layers(found.circuit, planner.data) if columns > 1 else found.circuit
    items = planner.group(whole, frozenset())
    # Before the first data there is one column only, so that nothing can be gained there.
    first = next((i for i, item in enumerate(items) if _depends_on_data(item)), len(items))
    items = items[:first] + planner.collapse(items[first:], circuit.n_qubits)
    order: tuple[int, ...] = () if from_zero else tuple(range(circuit.n_qubits))
    for step in prepared:
        order = (*step.qubits, *order)
    steps = _widened([*prepared, *lay_out(items, order, circuit.n_qubits)])
    return Plan(circuit.n_qubits, tuple(steps), found.definitions, planner.data, together(steps, options))


def _piece_plan(circuit: Circuit, data: frozenset[str], batch: int, options: PlanOptions, device_bits: int) -> Plan:
    """The plan of the piece of the state that each device holds, from |0...0>."""
    if any(isinstance(operation, Preparation) for operation in circuit.operations):
        raise ValueError(
            "Option `state_axes` needs a circuit that begins in |0...0>, but an initial state is given; prepare it by "
            "gates."
        )
    # Layers that are looked at together need fewer exchanges, which cost more than a long program.
    short = options.scan is None and len(circuit.operations) < MOST_LEAVES
    looped = with_loops(circuit, data, batch, False if short else options.scan)
    data = data | looped.data
    found = remapped(normal_form(looped.circuit, data), circuit.n_qubits, device_bits, data)
    n_local = circuit.n_qubits - device_bits
    # A device whose number is not zero begins with nothing at all, so that no state is the first step.
    planner = _Planner(data, batch, options, False)
    columns = batch if data & looped.circuit.parameters.keys() else 1
    steps = _widened(lay_out(planner.grouped(found.items, n_local, columns), (), n_local))
    return Plan(n_local, tuple(steps), looped.definitions, data, together(steps, options), found.places)


def _widened(steps: list[Step]) -> list[Step]:
    """The steps, with one column for each sample before the first that depends on data."""
    first = next((i for i, step in enumerate(steps) if step.data), len(steps))
    return [*steps[:first], Widen(), *steps[first:]] if first < len(steps) else steps


def _prepared(circuit: Circuit, data: frozenset[str]) -> tuple[list[Prepare], Circuit]:
    """The states that qubits begin in, as first steps, and the circuit without them."""
    steps = []
    for operation in circuit.operations:
        if isinstance(operation, Preparation):
            name = operation.state if isinstance(operation.state, str) else ""
            constant = None if isinstance(operation.state, str) else operation.state
            parts, is_data = len(operation.shape), name in data
            steps.append(Prepare(operation.qubits, constant, name, parts, operation.conjugated, is_data))
    if not steps:
        return [], circuit
    rest = (operation for operation in circuit.operations if not isinstance(operation, Preparation))
    return steps, Circuit(circuit.n_qubits).extend(rest)


class _Planner:
    """What all levels of a circuit have in common while it is planned."""

    def __init__(self, data: frozenset[str], batch: int, options: PlanOptions, from_zero: bool):
        self.data, self.batch, self.options, self.from_zero = data, batch, options, from_zero

    def group(self, circuit: Circuit, outer: frozenset[str], inside: bool = False) -> list[Planned]:
        """The circuit's leaves grouped, its repeats planned; barriers (repeats, projections) keep their places."""
        # From |0...0>, in weights before the data and in circuits without any, there is one column.
        columns = self.batch if not self.from_zero or self.data & (circuit.parameters.keys() | outer) else 1
        return self.grouped(normal_form(circuit, self.data), circuit.n_qubits, columns, outer, inside)

    def grouped(
        self,
        given: Iterable[Item | LocalItem],
        n_qubits: int,
        columns: int,
        outer: frozenset[str] = frozenset(),
        inside: bool = False,
    ) -> list[Planned]:
        """The same of what a circuit is made of."""
        items: list[Planned] = []
        for is_leaf, members in itertools.groupby(given, lambda item: isinstance(item, Leaf)):
            if is_leaf:
                leaves: list[Leaf] = list(members)  # type: ignore[arg-type]
                if self.from_zero and not inside and not items:
                    start, leaves = constant_beginning(leaves, n_qubits)
                    items += [] if start is None else [start]
                first = self.from_zero and not inside and not items
                items.extend(self._steps(leaves, n_qubits, columns, first))
            else:
                items.extend(self._barrier(item, outer, n_qubits, columns) for item in members)
        return items

    def _barrier(self, item: Item | LocalItem, outer: frozenset[str], n_qubits: int, columns: int) -> Planned:
        if isinstance(item, LocalLoop):
            return self._loop(self.grouped(item.items, n_qubits, columns), item.repeat, n_qubits)
        if not isinstance(item, Repeat):
            assert not isinstance(item, Leaf)
            return item
        groups = self.group(item.circuit, outer | self.data, True)
        if self.data & item.circuit.parameters.keys():  # else the loop as a whole may be collapsed, by whoever holds it
            groups = self.collapse(groups, n_qubits)
        return self._loop(groups, item, n_qubits)

    def _loop(self, groups: list[Planned], repeat: Repeat, n_qubits: int) -> Loop:
        """A repeated layer, the groups of which are given."""
        steps = lay_out(groups, tuple(range(n_qubits)), n_qubits)
        body = Plan(n_qubits, tuple(steps), data=self.data, together=together(steps, self.options))
        return Loop(body, repeat, bool(self.data & repeat.circuit.parameters.keys()))

    def _steps(self, leaves: list[Leaf], n_qubits: int, columns: int, first: bool) -> "list[Group | Bundle]":
        """Leaves as blocks, those of long stretches without data as loops where that is cheaper or they are many."""
        plain = not any(leaf.data or kind(leaf) == "rotation" for leaf in leaves)
        if self.options.scan is not False and len(leaves) > MOST_LEAVES and plain:
            return self._packed(leaves, n_qubits, columns)
        phased = with_phased_data(leaves, first) if columns > 1 else None
        # Data that are phases or share one column need no matrices of their own.
        singles = columns > 1 and phased is None
        variants = [leaves, phased, with_data_runs(leaves) if singles else None]
        groups = self._best_groups([each for each in variants if each is not None], n_qubits, columns, singles)
        if self.options.scan is False or len(leaves) < LONG_STRETCH:
            return list(groups)
        items: list[Group | Bundle] = []
        # Rotations about Pauli strings are loops of their own.
        for other, members in itertools.groupby(groups, lambda group: group.data or group.kind == "rotation"):
            stretch = list(members)
            inside = [leaf for group in stretch for leaf in group.leaves]
            if other or len(inside) < LONG_STRETCH:
                items += stretch
                continue
            packed = self._packed(inside, n_qubits, columns)
            amplitudes = columns * 2.0**n_qubits
            # Wide states are gathered amplitude by amplitude from all over memory: only where programs grow too long.
            cheaper = amplitudes <= MOST_GATHERED and sum(_item_cost(item, amplitudes) for item in packed) < sum(
                _price_made_together(group, amplitudes) for group in stretch
            )
            items += packed if cheaper or len(stretch) > MOST_GROUPS else stretch
        return items

    def _packed(self, leaves: list[Leaf], n_qubits: int, columns: int) -> "list[Group | Bundle]":
        """A stretch without data as loops over blocks, leaves too wide for them as blocks of their own."""
        items: list[Group | Bundle] = []
        for narrow, members in itertools.groupby(leaves, lambda leaf: len(leaf.qubits) <= WIDEST):
            part = list(members)
            if narrow:
                items.append(bundle(part, n_qubits, columns * 2.0**n_qubits))
            else:
                items += self._best_groups([part], n_qubits, columns)
        return items

    def _best_groups(
        self, variants: Sequence[list[Leaf]], n_qubits: int, columns: int, singles: bool = False
    ) -> list[Group]:
        """The grouping of least cost over widths of blocks and ways to write the same leaves."""
        widths: Sequence[int] = (LONG_BLOCK,) if len(variants[0]) > LONG_CIRCUIT else BLOCKS
        if columns == 1 and n_qubits <= MOST_NARROW and 4 * sum(map(is_fixed, variants[0])) <= 3 * len(variants[0]):
            widths = NARROW_BLOCKS
        if self.options.max_block is not None:
            widths = (self.options.max_block,)
        best: tuple[float, list[Group]] | None = None
        for width in dict.fromkeys(min(width, n_qubits) for width in widths):
            for leaves, defer in itertools.product(variants, (False, True)):
                limits = Limits(n_qubits, width, min(width, cost.data_block(n_qubits)), columns, defer, singles)
                groups = schedule(leaves, limits)
                price = sum(_group_cost(group, limits.amplitudes, columns) for group in groups)
                if best is None or price < best[0]:
                    best = (price, groups)
        assert best is not None
        return best[1]

    def collapse(self, items: Sequence[Planned], n_qubits: int) -> list[Planned]:
        """Replace weights-only stretches by one unitary each where that is cheaper; the state holds the whole batch."""
        if self.options.collapse is False or 8 * 4**n_qubits > MAX_UNITARY_BYTES:
            return list(items)
        out: list[Planned] = []
        for linear, group in itertools.groupby(items, _is_linear_item):
            stretch = tuple(group)
            useful = linear and not all(isinstance(item, Relabel) for item in stretch)
            if useful and (self.options.collapse or self._collapse_pays(stretch, n_qubits)):
                out.append(Stretch(stretch))
            else:
                out.extend(stretch)
        return out

    def _collapse_pays(self, stretch: Sequence[Planned], n_qubits: int) -> bool:
        """Compare running the stretch on the batch with running it on the identity and one square matrix product."""
        size = 2**n_qubits
        on_identity = sum(_item_cost(item, size * size) for item in stretch)
        on_batch = sum(_item_cost(item, size * self.batch) for item in stretch)
        return on_identity + cost.product(n_qubits, size * self.batch) < on_batch


def together(steps: Sequence[Step], options: PlanOptions) -> tuple[Together, ...]:
    """The blocks of weights whose matrices are made at once: those of one width where they are many products."""
    by_width: dict[int, list[Dense]] = {}
    for step in flat_steps(steps):
        if options.scan is not False and isinstance(step, Dense) and _is_made(step):
            by_width.setdefault(len(step.qubits), []).append(step)
    return tuple(
        Together(tuple(blocks), products([step.leaves for step in blocks], width))
        for width, blocks in by_width.items()
        if sum(len(step.layers) for step in blocks) >= MANY_LAYERS
    )


def _is_made(step: Dense) -> bool:
    """Whether a block's matrix depends on weights, and no leaf is too wide to be made with others."""
    return step.constant is None and not step.data and all(len(leaf.qubits) <= WIDEST for leaf in step.leaves)


def _depends_on_data(item: Planned) -> bool:
    return isinstance(item, Group | Bundle | Loop) and item.data


def _is_linear_item(item: Planned) -> bool:
    if isinstance(item, Loop):
        return is_linear(item)
    return not isinstance(item, Projection) and not _depends_on_data(item)


def _item_cost(item: Planned, amplitudes: float) -> float:
    if isinstance(item, Group):
        return _group_cost(item, amplitudes)
    if isinstance(item, Bundle):
        return price(item, amplitudes)
    return step_cost(item, amplitudes) if isinstance(item, Loop) else 0.0


def _price_made_together(group: Group, amplitudes: float) -> float:
    """Cost of a group whose matrix is made with others."""
    if group.kind != "dense":
        return _group_cost(group, amplitudes)
    made = 0.0 if all(map(is_fixed, group.leaves)) else making(group.leaves, len(group.qubits))
    return cost.dense(len(group.qubits), amplitudes, 0) + made


def _group_cost(group: Group, amplitudes: float, columns: int = 1) -> float:
    if group.kind == "dense" and group.data:
        return cost.dense_of_data(len(group.qubits), amplitudes, columns)
    if group.kind == "dense":
        strings = sum(kind(leaf) == "rotation" for leaf in group.leaves)
        return cost.dense(len(group.qubits), amplitudes, 2 + strings)
    if group.kind == "singles":
        return cost.singles(len(group.qubits), amplitudes, columns)
    if group.kind == "rotation":
        return cost.rotations(len(group.leaves), amplitudes)
    return cost.monomial(amplitudes) if group.kind == "monomial" else cost.diagonal(2, amplitudes)


def step_cost(step: Step, amplitudes: float) -> float:
    """Estimated cost of a step on a state of so many amplitudes in all, in operations."""
    if isinstance(step, Loop):
        return step.repeat.times * sum(step_cost(inner, amplitudes) for inner in step.body.steps)
    if isinstance(step, Dense):
        layers = 0 if step.constant is not None else len(step.layers)
        return cost.product(len(step.qubits), amplitudes) + layers * cost.build(len(step.qubits))
    if isinstance(step, Diagonal):
        return cost.diagonal(len(step.tables), amplitudes)
    if isinstance(step, Rotations):
        return cost.rotations(len(step.angles), amplitudes)
    if isinstance(step, Singles):
        return cost.singles(len(step.qubits), amplitudes, 1)
    if isinstance(step, Transpose):
        return cost.transpose(amplitudes)
    if isinstance(step, Packed):
        return len(step.orders) * cost.turn(step.width, amplitudes)
    return cost.monomial(amplitudes)
