"""What the study is about: the user's problem, whichever way it was given."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from qjaxsim.curvature.spectra.problem import Problem, problem_of


@dataclass(frozen=True, eq=False)
class Target:
    """A problem of `spectrum_report` and where to begin.

    Attributes:
        name: as the user gave it.
        function: a scalar of params, or with `data` the outputs of (params, x).
        start: maps a seed to params.
        identity: JSON values that change with the problem, so that a results folder takes up its own only.
        data: pair (x, y), or None.
        loss: of outputs and y, one number a sample; with data.
        options: more of `spectrum_report`'s arguments that the problem brings.
        random: whether starts differ from seed to seed.
    """

    name: str
    function: Callable[..., jax.Array]
    start: Callable[[int], Any]
    identity: dict[str, Any]
    data: tuple[Any, Any] | None = None
    loss: Callable[..., jax.Array] | None = None
    options: dict[str, Any] | None = None
    random: bool = True

    def problem(self, params: Any) -> Problem:
        """The problem of the report at a point, checked on shapes."""
        options = self.options or {}
        more = options.get("observables"), options.get("batch_size")
        return problem_of(self.function, params, self.data, self.loss, *more)

    @property
    def n_parameters(self) -> int:
        """How many numbers there are to train."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.start(0)))
