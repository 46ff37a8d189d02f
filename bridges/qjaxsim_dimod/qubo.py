"""A quadratic problem over binary variables or spins, its pairs stored sparsely, to and from dimod."""

from collections.abc import Hashable, Sequence
from typing import Any

import dimod
import numpy as np
from scipy import sparse

from qjaxsim.annealing.problems import HeadsProblem, require_couplings
from qjaxsim.circuits.observables import PauliSum
from qjaxsim.common import memory
from qjaxsim.common.checks import shown
from qjaxsim_dimod.numbers import real_array, real_number, require_finite
from qjaxsim_dimod.states import bits_of

BINARY, SPIN = "BINARY", "SPIN"


class Qubo:
    """E(v) = offset + sum_i linear_i v_i + sum_{i < j} quadratic_ij v_i v_j.

    Attributes:
        linear: (n,) float64.
        pairs: (n, n) SciPy CSR array, float64, strictly upper triangular: every pair counts once, none is zero.
        offset: constant.
        labels: names of the variables, in order; default 0, 1, ...
        vartype: "BINARY" for v in {0, 1}, "SPIN" for v in {-1, 1}.

    >>> Qubo.from_matrix([[1.0, 2.0], [2.0, 0.0]]).energies([[0, 0], [1, 1]])
    array([0., 5.])
    """

    def __init__(
        self,
        linear: Any,
        quadratic: Any,
        offset: float = 0.0,
        labels: Sequence[Hashable] | None = None,
        vartype: str = BINARY,
    ) -> None:
        """The problem of these numbers.

        Args:
            linear: (n,).
            quadratic: (n, n), strictly upper triangular, dense or of `scipy.sparse`.
            offset: constant.
            labels: n names, each once.
            vartype: "BINARY" or "SPIN".

        Raises:
            ValueError: for an empty problem, complex, NaN or infinite numbers, shapes or labels that do not fit; naming
                them.
        """
        self.linear = real_array("linear", linear)
        self.pairs = real_array("quadratic", quadratic)
        n = self.linear.size
        if self.linear.ndim != 1 or self.pairs.shape != (n, n):
            raise ValueError(
                f"Arguments `linear` and `quadratic` must have shapes (n,) and (n, n), but have {self.linear.shape} "
                f"and {self.pairs.shape}."
            )
        if n == 0:
            raise ValueError("A problem must have at least one variable, but this one is empty.")
        self.labels: tuple[Hashable, ...] = tuple(range(n)) if labels is None else tuple(labels)
        if len(self.labels) != n or len(set(self.labels)) != n:
            raise ValueError(
                f"Argument `labels` must name the {n} variables, each once, but holds {len(self.labels)} labels, "
                f"{len(set(self.labels))} of them different."
            )
        self.vartype: str = getattr(vartype, "name", vartype)
        if self.vartype not in (BINARY, SPIN):
            raise ValueError(f"Argument `vartype` must be 'BINARY' or 'SPIN', but is {vartype!r}.")
        self.pairs = sparse.csr_array(self.pairs)
        self.pairs.sum_duplicates()
        self.offset = real_number("offset", offset)
        require_finite(self.linear, self.pairs.tocoo(), self.offset, self.labels)
        self.pairs.eliminate_zeros()
        rows, columns = self.pairs.tocoo().coords
        if (rows >= columns).any():
            raise ValueError(
                "Argument `quadratic` must be strictly upper triangular, but has entries on or below the diagonal; "
                "Qubo.from_matrix takes any square matrix."
            )

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
            matrix: square, dense or of `scipy.sparse`, which stays sparse.
            linear: (n,), more linear terms.
            offset: constant.
            labels: names of the variables.
            vartype: "BINARY" or "SPIN".

        >>> Qubo.from_matrix([[1.0, 3.0], [0.0, 0.0]], labels=["a", "b"]).energies([{"a": 1, "b": 1}])
        array([4.])
        """
        matrix = real_array("matrix", matrix)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise ValueError(f"Argument `matrix` must be square, but has shape {matrix.shape}.")
        matrix = sparse.csr_array(matrix)
        diagonal = matrix.diagonal()
        own = np.zeros(matrix.shape[0]) if linear is None else real_array("linear", linear).copy()
        if own.shape != diagonal.shape:
            raise ValueError(f"Argument `linear` must have shape {diagonal.shape}, but has shape {own.shape}.")
        if getattr(vartype, "name", vartype) == SPIN:
            offset = offset + float(diagonal.sum())
        else:
            own = own + diagonal
        return cls(own, sparse.triu(matrix, 1) + sparse.tril(matrix, -1).T, offset, labels, vartype)

    @classmethod
    def from_bqm(cls, bqm: Any) -> "Qubo":
        """The same problem from a `dimod.BinaryQuadraticModel`; variables keep its order.

        Raises:
            TypeError: for anything else.
            ValueError: if it is empty, or a bias is NaN or infinite.

        >>> bqm = dimod.BinaryQuadraticModel({"a": 1.0}, {("a", "b"): 2.0}, 0.5, "SPIN")
        >>> qubo = Qubo.from_bqm(bqm)
        >>> qubo.labels, qubo.vartype, qubo.offset
        (('a', 'b'), 'SPIN', 0.5)
        """
        if not isinstance(bqm, dimod.BinaryQuadraticModel):
            raise TypeError(
                f"Argument `bqm` must be a dimod.BinaryQuadraticModel, but is {shown(bqm)} ({type(bqm).__name__})."
            )
        labels = tuple(bqm.variables)
        n = len(labels)
        if n == 0:
            raise ValueError("A problem must have at least one variable, but this one is empty.")
        linear, (rows, columns, values), offset = bqm.to_numpy_vectors(variable_order=labels)
        places = np.minimum(rows, columns), np.maximum(rows, columns)
        quadratic = sparse.coo_array((real_array("quadratic", values), places), shape=(n, n))
        return cls(linear, quadratic, offset, labels, bqm.vartype.name)

    @classmethod
    def from_heads(cls, problem: HeadsProblem, index: int = 0) -> "Qubo":
        """One problem of a batch in the annealer's raw form; variables are labelled (head, token).

        >>> problem = HeadsProblem(np.zeros((1, 2, 1, 1)), np.zeros((1, 2, 1)), penalty=3.0)
        >>> Qubo.from_heads(problem).energies([{(0, 0): 1, (1, 0): 1}])
        array([3.])
        """
        couplings, linear = (np.asarray(part[index], float) for part in problem[:2])
        penalty = np.asarray(problem.penalty, float)
        penalty = penalty[index] if penalty.ndim else penalty
        require_couplings(HeadsProblem(couplings[None], linear[None], penalty))
        n_heads, n = linear.shape
        matrix = np.zeros((n_heads, n, n_heads, n))
        tokens = np.arange(n)
        for a in range(n_heads):
            matrix[a, :, a] = np.triu(couplings[a], 1)
            for b in range(a + 1, n_heads):
                matrix[a, tokens, b, tokens] = float(penalty)
        labels = [(a, i) for a in range(n_heads) for i in range(n)]
        return cls.from_matrix(matrix.reshape(n_heads * n, -1), linear=linear.reshape(-1), labels=labels)

    def to_bqm(self) -> Any:
        """A `dimod.BinaryQuadraticModel` with the same variables in the same order, without pairs of zero bias.

        >>> bqm = Qubo.from_matrix([[1.0, 3.0], [0.0, 0.0]]).to_bqm()
        >>> float(bqm.energy({0: 1, 1: 1}))
        4.0
        """
        rows, columns = self.pairs.tocoo().coords
        return dimod.BinaryQuadraticModel.from_numpy_vectors(
            self.linear, (rows, columns, self.pairs.data), self.offset, self.vartype, variable_order=list(self.labels)
        )

    def to_ising(self) -> "Qubo":
        """The same energies over spins s = 2 x - 1.

        >>> ising = Qubo.from_matrix([[0.0, 4.0], [0.0, 0.0]]).to_ising()  # 4 x_0 x_1 = (1 + s_0) (1 + s_1)
        >>> ising.offset, ising.linear.tolist(), ising.quadratic.tolist()
        (1.0, [1.0, 1.0], [[0.0, 1.0], [0.0, 0.0]])
        """
        if self.vartype == SPIN:
            return self
        pairs = self.pairs / 4
        linear = self.linear / 2 + pairs.sum(0) + pairs.sum(1)
        return Qubo(linear, pairs, self.offset + self.linear.sum() / 2 + pairs.sum(), self.labels, SPIN)

    def to_binary(self) -> "Qubo":
        """The same energies over x = (1 + s) / 2.

        Raises:
            ValueError: if its numbers, up to four times as large, overflow.

        >>> binary = Qubo([0.0, 0.0], [[0.0, 1.0], [0.0, 0.0]], vartype="SPIN").to_binary()
        >>> binary.energies([[0, 0], [0, 1], [1, 1]])
        array([ 1., -1.,  1.])
        """
        if self.vartype == BINARY:
            return self
        with np.errstate(over="ignore", invalid="ignore"):
            rows = self.pairs.sum(0) + self.pairs.sum(1)
            offset = self.offset - self.linear.sum() + self.pairs.sum()
            linear, pairs = 2 * self.linear - 2 * rows, 4 * self.pairs
        if not (np.isfinite(linear).all() and np.isfinite(pairs.data).all() and np.isfinite(offset)):
            raise ValueError(
                f"The problem overflows as BINARY: with spin biases up to {self.largest_bias:.3g} in size, some over "
                "binary variables pass 1.8e308; divide it by a constant."
            )
        return Qubo(linear, pairs, offset, self.labels, BINARY)

    def to_pauli_sum(self) -> PauliSum:
        """The energy as an observable, diagonal in Z, as for QAOA: bit k of a basis state is the variable `labels[k]`.

        Bit 1 stands for x = 1, or for spin +1, so that `energies` of measured bits (2 * bits - 1 for spins) are what is
        measured. The offset is a term of the identity.

        >>> import qjaxsim as qj
        >>> print(Qubo.from_matrix([[0.0, 4.0], [0.0, 0.0]]).to_pauli_sum())  # 4 x_0 x_1
        1 - 1 Z0 - 1 Z1 + 1 Z0 Z1
        >>> spins = Qubo([1.0, 0.0], [[0.0, -2.0], [0.0, 0.0]], labels="ab", vartype="SPIN")
        >>> state = qj.Circuit(2).x(0)  # a is +1 and b is -1
        >>> float(qj.expectation(state, spins.to_pauli_sum())()), spins.energies([{"a": 1, "b": -1}])
        (3.0, array([3.]))
        """
        ising = self.to_ising()
        terms: dict[Any, complex] = {(): ising.offset}
        terms |= {((k, "Z"),): -value for k, value in enumerate(ising.linear.tolist())}
        couplings = ising.pairs.tocoo()
        pairs = zip(*(part.tolist() for part in (*couplings.coords, couplings.data)), strict=True)
        terms |= {((i, "Z"), (j, "Z")): value for i, j, value in pairs}
        return PauliSum(terms)

    def energies(self, samples: Any) -> np.ndarray:
        """Energies (R,) of samples: an array (R, n) in the order of `labels`, or anything labelled that dimod takes.

        A sample set may be over the other kind of variables.

        Raises:
            ValueError: for other values than the two, missing or unknown variables, and other shapes.
        """
        bits = bits_of("samples", samples, self.labels, self.vartype).astype(float)
        v = bits if self.vartype == BINARY else 2 * bits - 1
        return np.asarray(self.offset + v @ self.linear + ((v @ self.pairs) * v).sum(1))

    @property
    def quadratic(self) -> np.ndarray:
        """`pairs` as a dense (n, n) array, made anew at every access.

        Raises:
            MemoryError: if it does not fit in memory.
        """
        memory.require_memory(8 * self.n**2, f"A dense matrix of {self.n} variables", "use `pairs`, which are sparse")
        return np.asarray(self.pairs.toarray())

    @property
    def n(self) -> int:
        """Number of variables."""
        return int(self.linear.size)

    @property
    def n_couplings(self) -> int:
        """Pairs with a bias other than zero."""
        return int(self.pairs.nnz)

    @property
    def largest_bias(self) -> float:
        """The largest size among linear and quadratic biases."""
        return max(float(np.abs(self.linear).max()), float(np.abs(self.pairs.data).max(initial=0.0)))
