"""A quadratic problem over binary variables or spins as arrays, to and from dimod."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import dimod
import numpy as np

from qjaxsim import memory
from qjaxsim.annealing import HeadsProblem

BINARY, SPIN = "BINARY", "SPIN"


@dataclass(frozen=True, eq=False)
class Qubo:
    """E(v) = offset + sum_i linear_i v_i + sum_{i < j} quadratic_ij v_i v_j.

    Attributes:
        linear: (n,) float64.
        quadratic: (n, n) float64, strictly upper triangular: every pair counts once.
        offset: constant.
        labels: names of the variables, in order; default 0, 1, ...
        vartype: "BINARY" for v in {0, 1}, "SPIN" for v in {-1, 1}.

    Raises:
        ValueError: for an empty problem, NaN or infinite numbers, shapes or labels that do not fit; naming them.

    >>> Qubo.from_matrix([[1.0, 2.0], [2.0, 0.0]]).energies([[0, 0], [1, 1]])
    array([0., 5.])
    """

    linear: np.ndarray
    quadratic: np.ndarray
    offset: float = 0.0
    labels: tuple[Hashable, ...] | None = None
    vartype: str = BINARY

    def __post_init__(self) -> None:
        linear, quadratic = np.asarray(self.linear, float), np.asarray(self.quadratic, float)
        n = linear.size
        if linear.ndim != 1 or quadratic.shape != (n, n):
            raise ValueError(
                f"Arguments `linear` and `quadratic` must have shapes (n,) and (n, n), but have {linear.shape} and "
                f"{quadratic.shape}."
            )
        if n == 0:
            raise ValueError("A problem must have at least one variable, but this one is empty.")
        labels = tuple(range(n)) if self.labels is None else tuple(self.labels)
        if len(labels) != n or len(set(labels)) != n:
            raise ValueError(
                f"Argument `labels` must name the {n} variables, each once, but holds {len(labels)} labels, "
                f"{len(set(labels))} of them different."
            )
        vartype = getattr(self.vartype, "name", self.vartype)
        if vartype not in (BINARY, SPIN):
            raise ValueError(f"Argument `vartype` must be 'BINARY' or 'SPIN', but is {self.vartype!r}.")
        _require_finite(linear, quadratic, float(self.offset), labels)
        if np.tril(quadratic).any():
            raise ValueError(
                "Argument `quadratic` must be strictly upper triangular, but has entries on or below the diagonal; "
                "Qubo.from_matrix takes any square matrix."
            )
        for name, value in (
            ("linear", linear),
            ("quadratic", quadratic),
            ("offset", float(self.offset)),
            ("labels", labels),
            ("vartype", vartype),
        ):
            object.__setattr__(self, name, value)

    @classmethod
    def from_matrix(
        cls,
        matrix: Any,
        *,
        linear: Any = None,
        offset: float = 0.0,
        labels: Sequence[Hashable] | None = None,
        vartype: str = BINARY,
    ) -> "Qubo":
        """The problem v^T M v + linear . v + offset, dimod's reading of a dense matrix.

        A pair's bias is M_ij + M_ji: a symmetric matrix counts every pair twice, a triangular one once. The diagonal is
        linear for BINARY, and part of the offset for SPIN, where v^2 = 1.

        Args:
            matrix: square.
            linear: (n,), more linear terms.
            offset: constant.
            labels: names of the variables.
            vartype: "BINARY" or "SPIN".
        """
        matrix = np.asarray(matrix, float)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise ValueError(f"Argument `matrix` must be square, but has shape {matrix.shape}.")
        diagonal = np.diagonal(matrix)
        own = np.zeros(len(matrix)) if linear is None else np.array(linear, float)
        if own.shape != diagonal.shape:
            raise ValueError(f"Argument `linear` must have shape {diagonal.shape}, but has shape {own.shape}.")
        if getattr(vartype, "name", vartype) == SPIN:
            offset = offset + float(diagonal.sum())
        else:
            own = own + diagonal
        return cls(
            own, np.triu(matrix, 1) + np.tril(matrix, -1).T, offset, None if labels is None else tuple(labels), vartype
        )

    @classmethod
    def from_bqm(cls, bqm: Any) -> "Qubo":
        """The same problem from a `dimod.BinaryQuadraticModel`; variables keep its order.

        Raises:
            ValueError: if it is empty, or a bias is NaN or infinite.
            MemoryError: if the dense matrix does not fit in memory.
        """
        labels = tuple(bqm.variables)
        n = len(labels)
        if 24 * n**2 > memory.available_bytes():
            raise MemoryError(
                f"A dense matrix of {n} variables needs {24 * n**2 / memory.GIB:.1f} GiB, but "
                f"{memory.available_bytes() / memory.GIB:.1f} are free; hand the model to a dimod sampler as it is."
            )
        if n == 0:
            raise ValueError("A problem must have at least one variable, but this one is empty.")
        linear, (rows, columns, values), offset = bqm.to_numpy_vectors(variable_order=labels)
        quadratic = np.zeros((n, n))
        np.add.at(quadratic, (np.minimum(rows, columns), np.maximum(rows, columns)), values)
        return cls(linear, quadratic, float(offset), labels, bqm.vartype.name)

    @classmethod
    def from_heads(cls, problem: HeadsProblem, index: int = 0) -> "Qubo":
        """One problem of a batch in the annealer's raw form; variables are labelled (head, token)."""
        couplings, linear = (np.asarray(part[index], float) for part in problem[:2])
        n_heads, n = linear.shape
        matrix = np.zeros((n_heads, n, n_heads, n))
        tokens = np.arange(n)
        for a in range(n_heads):
            matrix[a, :, a] = np.triu(couplings[a], 1)
            for b in range(a + 1, n_heads):
                matrix[a, tokens, b, tokens] = float(problem.penalty)
        labels = [(a, i) for a in range(n_heads) for i in range(n)]
        return cls.from_matrix(matrix.reshape(n_heads * n, -1), linear=linear.reshape(-1), labels=labels)

    def to_bqm(self) -> Any:
        """A `dimod.BinaryQuadraticModel` with the same variables in the same order, without pairs of zero bias."""
        rows, columns = np.nonzero(self.quadratic)
        values = self.quadratic[rows, columns]
        return dimod.BinaryQuadraticModel.from_numpy_vectors(
            self.linear, (rows, columns, values), self.offset, self.vartype, variable_order=list(self.labels or ())
        )

    def to_ising(self) -> "Qubo":
        """The same energies over spins s = 2 x - 1."""
        if self.vartype == SPIN:
            return self
        pairs = self.quadratic / 4
        linear = self.linear / 2 + pairs.sum(0) + pairs.sum(1)
        return Qubo(linear, pairs, self.offset + self.linear.sum() / 2 + pairs.sum(), self.labels, SPIN)

    def to_binary(self) -> "Qubo":
        """The same energies over x = (1 + s) / 2."""
        if self.vartype == BINARY:
            return self
        rows = self.quadratic.sum(0) + self.quadratic.sum(1)
        offset = self.offset - self.linear.sum() + self.quadratic.sum()
        return Qubo(2 * self.linear - 2 * rows, 4 * self.quadratic, offset, self.labels, BINARY)

    def energies(self, samples: Any) -> np.ndarray:
        """Energies (R,) of samples (R, n) in the order of `labels`."""
        v = np.atleast_2d(np.asarray(samples, float))
        if v.ndim != 2 or v.shape[1] != self.n:
            raise ValueError(f"Argument `samples` must have shape (R, {self.n}), but has shape {v.shape}.")
        return np.asarray(self.offset + v @ self.linear + ((v @ self.quadratic) * v).sum(1))

    @property
    def n(self) -> int:
        """Number of variables."""
        return self.linear.size

    @property
    def n_couplings(self) -> int:
        """Pairs with a bias other than zero."""
        return int(np.count_nonzero(self.quadratic))


def as_qubo(problem: Any) -> Qubo:
    """A `Qubo`, from one, from a dimod model, or from a square matrix of binary variables."""
    if isinstance(problem, Qubo):
        return problem
    return Qubo.from_bqm(problem) if hasattr(problem, "to_numpy_vectors") else Qubo.from_matrix(problem)


def _require_finite(linear: np.ndarray, quadratic: np.ndarray, offset: float, labels: tuple[Hashable, ...]) -> None:
    if not np.isfinite(linear).all():
        i = int(np.flatnonzero(~np.isfinite(linear))[0])
        raise ValueError(f"Biases must be finite, but the linear one of variable {labels[i]!r} is {linear[i]}.")
    if not np.isfinite(quadratic).all():
        i, j = np.argwhere(~np.isfinite(quadratic))[0]
        raise ValueError(
            f"Biases must be finite, but that of the pair ({labels[i]!r}, {labels[j]!r}) is {quadratic[i, j]}."
        )
    if not np.isfinite(offset):
        raise ValueError(f"Argument `offset` must be finite, but is {offset}.")
