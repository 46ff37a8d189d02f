"""Questions about steps: what they hold, and what may be done with them."""

from typing import Any

import numpy as np

from qjaxsim.circuits.expressions import Expression
from qjaxsim.circuits.operations import Gate
from qjaxsim.planning.leaves import DEVICE_BITS
from qjaxsim.planning.steps import (
    Collapsed,
    Dense,
    Diagonal,
    Loop,
    Packed,
    Plan,
    Prepare,
    Project,
    ProjectBit,
    Rotations,
    Singles,
    Step,
    leaves_of,
)


def is_linear(step: Step) -> bool:
    """Whether a step is a matrix common to all samples, so that it may be run on the identity."""
    if isinstance(step, Loop) and not all(is_linear(inner) for inner in step.body.steps):
        return False
    return not isinstance(step, Project | ProjectBit) and not step.data


def is_invertible(step: Step) -> bool:
    """Whether the state before can be found from the state after it, also where angles are moved a little."""
    if isinstance(step, Loop | Collapsed):
        return all(is_invertible(inner) for inner in (step.body.steps if isinstance(step, Loop) else step.steps))
    # A free matrix may be moved to where its adjoint is not its inverse.
    free = any(isinstance(factor, Gate) and factor.spec.is_free for factor in _factors_in(step))
    return not (isinstance(step, Project | ProjectBit) or free)


def _factors_in(step: Step) -> list[Any]:
    """The factors with angles of a step's matrices."""
    if isinstance(step, Dense | Singles):
        return [factor for leaf in leaves_of(step) for factor in leaf.factors if not isinstance(factor, np.ndarray)]
    if isinstance(step, Packed) and step.products is not None:
        return [gate for _, stack in step.products.stacks for gate in stack]
    return []


def n_steps(plan: Plan) -> int:
    """The steps that its program has, those inside a loop once."""
    return sum(n_steps(step.body) if isinstance(step, Loop) else 1 for step in plan.steps)


def names_in(step: Step) -> set[str]:
    """The names of the parameters in a step's angles."""
    if isinstance(step, Loop):
        return {*step.repeat.circuit.parameters, DEVICE_BITS}
    if isinstance(step, Collapsed):
        return set().union(*(names_in(inner) for inner in step.steps))
    if isinstance(step, Prepare):
        return set() if step.constant is not None else {step.name}
    angles: list[Any] = []
    if isinstance(step, Diagonal):
        angles = [angle for table in step.tables for angle in table.angles]
    if isinstance(step, Rotations):
        angles = list(step.angles)
    angles += [angle for factor in _factors_in(step) for angle in factor.angles]
    return {element.name for angle in angles if isinstance(angle, Expression) for element in angle.elements()}
