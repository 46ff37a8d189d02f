"""What a cross-check found: single comparisons, and all of them together."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Check:
    """One comparison.

    Attributes:
        quantity: what is compared.
        measure: "largest difference", "1 - fidelity" (least over samples) or "p-value" (least over samples).
        value: of the measure.
        bound: the value may be at most this; a p-value at least.
        first_ours: seconds of our first call, with compilation; None where nothing was timed.
        repeated_ours: seconds of a further call.
        first_theirs: seconds of the other side's first call: Aer's, transpilation included, or EstimatorQNN's.
        repeated_theirs: seconds of a further call.
        detail: what was left out or chosen.

    >>> Check("state", "largest difference", value=2e-16, bound=1e-10).agrees
    True
    >>> Check("counts", "p-value", value=1e-9, bound=1e-4).agrees
    False
    """

    quantity: str
    measure: str
    value: float
    bound: float
    first_ours: float | None = None
    repeated_ours: float | None = None
    first_theirs: float | None = None
    repeated_theirs: float | None = None
    detail: str = ""

    @property
    def agrees(self) -> bool:
        """Whether the value is within its bound; NaN is not."""
        return self.value >= self.bound if self.measure == "p-value" else self.value <= self.bound

    def __str__(self) -> str:
        verdict = "agrees" if self.agrees else "DIFFERS"
        return f"{self.quantity}: {self.measure} {self.value:.1e}, bound {self.bound:.0e}, {verdict}"


@dataclass(frozen=True)
class CrossCheck:
    """All comparisons of one circuit or model.

    Attributes:
        title: what was checked.
        n_qubits: qubits of the circuit.
        n_parameters: how many numbers its parameters hold.
        samples: how many sets of parameters were run.
        dtype: real dtype of ours.
        seed: of everything random.
        checks: the comparisons.

    >>> check = Check("state", "largest difference", value=2e-16, bound=1e-10)
    >>> found = CrossCheck("bell", n_qubits=2, n_parameters=0, samples=1, dtype="float64", seed=0, checks=(check,))
    >>> found.agrees, [(row["quantity"], row["agrees"]) for row in found.rows()]
    (True, [('state', True)])
    >>> print(found)
    bell
    state: largest difference 2.0e-16, bound 1e-10, agrees
    """

    title: str
    n_qubits: int
    n_parameters: int
    samples: int
    dtype: str
    seed: int
    checks: tuple[Check, ...]

    @property
    def agrees(self) -> bool:
        """Whether every comparison is within its bound."""
        return all(check.agrees for check in self.checks)

    def rows(self) -> list[dict[str, Any]]:
        """A row a comparison, as for a table."""
        return [{**asdict(check), "agrees": check.agrees} for check in self.checks]

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        return {**asdict(self), "agrees": self.agrees, "checks": self.rows()}

    def __str__(self) -> str:
        return "\n".join([self.title, *map(str, self.checks)])
