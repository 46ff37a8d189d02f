"""Matrices as matrix product operators: geometries, TT-SVD, entropies of the bonds.

A (D_out, D_in) matrix is reshaped to one output and one input leg per site, most significant digits first, and
written as a product of cores (left bond, output leg, input leg, right bond), the outer bonds being 1. Zero rows and
columns fill matrices smaller than their geometry. TT-SVD: Oseledets 2011, doi:10.1137/090752286, algorithm 1.
"""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common.checks import positive_integer
from qjaxsim.common.precision import HIGHEST
from qjaxsim.common.pytrees import pytree_dataclass


@dataclass(frozen=True)
class Geometry:
    """Leg sizes of the sites of an MPO.

    Attributes:
        out: output leg of each site, most significant digit first.
        in_: input leg of each site.

    Raises:
        ValueError: if there is no site, the two differ in length, or a leg is not positive.
    """

    out: tuple[int, ...]
    in_: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.out) != len(self.in_) or not self.out:
            raise ValueError(
                f"Arguments `out` and `in_` must name the legs of the same sites, at least one, but have lengths "
                f"{len(self.out)} and {len(self.in_)}; give a leg of size 1 to a site without one."
            )
        if min(self.out + self.in_) < 1:
            raise ValueError(
                f"Arguments `out` and `in_` must hold positive leg sizes, but are {self.out} and {self.in_}."
            )

    @property
    def n_sites(self) -> int:
        """Number of cores."""
        return len(self.out)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the (padded) matrix."""
        return math.prod(self.out), math.prod(self.in_)

    @property
    def legs(self) -> tuple[int, ...]:
        """Output times input leg of each site."""
        return tuple(o * i for o, i in zip(self.out, self.in_, strict=True))

    def bonds(self, chi: int) -> tuple[int, ...]:
        """Inner bonds, n_sites - 1 of them: min(chi, product of the legs left of it, product right of it)."""
        bond, legs = positive_integer("chi", chi), self.legs
        return tuple(min(bond, math.prod(legs[:k]), math.prod(legs[k:])) for k in range(1, len(legs)))

    def n_params(self, chi: int) -> int:
        """Numbers stored by the cores at bonds `bonds(chi)`.

        >>> [qubit_geometry(576, 192).n_params(chi) for chi in (1, 2, 5, 10, 50, 256)]
        [36, 132, 696, 2356, 36948, 401956]
        """
        bonds = (1, *self.bonds(chi), 1)
        return sum(bonds[k] * leg * bonds[k + 1] for k, leg in enumerate(self.legs))


def qubit_geometry(d_out: int, d_in: int) -> Geometry:
    """One site a qubit, sides padded to powers of two: legs (2, 2), then the longer side's surplus at the tail.

    >>> qubit_geometry(6, 2)
    Geometry(out=(2, 2, 2), in_=(2, 1, 1))
    """
    n_out, n_in = n_qubits_of(d_out), n_qubits_of(d_in)
    n_sites = max(n_out, n_in, 1)
    return Geometry(
        out=tuple(2 if k < n_out else 1 for k in range(n_sites)),
        in_=tuple(2 if k < n_in else 1 for k in range(n_sites)),
    )


def balanced_geometry(d_out: int, d_in: int, n_sites: int) -> Geometry:
    """Few sites with legs as equal as the prime factors of the unpadded sizes allow (arXiv:2401.14109).

    Args:
        d_out: rows.
        d_in: columns.
        n_sites: number of sites, positive.

    Raises:
        ValueError: if a size has fewer prime factors than there are sites.

    >>> balanced_geometry(216, 192, 3)
    Geometry(out=(6, 6, 6), in_=(8, 6, 4))
    """
    if n_sites < 1:
        raise ValueError(f"Argument `n_sites` must be positive, but is {n_sites}.")
    return Geometry(out=_balanced_factors("d_out", d_out, n_sites), in_=_balanced_factors("d_in", d_in, n_sites))


def n_qubits_of(size: int) -> int:
    """Qubits whose states are at least `size` many.

    Raises:
        ValueError: if the size is not positive.
    """
    if size < 1:
        raise ValueError(f"Sizes of a matrix must be positive, but one is {size}.")
    return (size - 1).bit_length()


@pytree_dataclass(data=("cores",), meta=("geometry",))
@dataclass(frozen=True)
class Mpo:
    """A matrix product operator; a pytree whose leaves are its cores.

    Attributes:
        cores: one array (left bond, output leg, input leg, right bond) a site.
        geometry: leg sizes.
    """

    cores: tuple[jax.Array, ...]
    geometry: Geometry

    @property
    def bonds(self) -> tuple[int, ...]:
        """Inner bonds."""
        return tuple(core.shape[3] for core in self.cores[:-1])

    @property
    def n_params(self) -> int:
        """Real numbers stored: a complex one counts twice."""
        return sum(math.prod(core.shape) * (2 if jnp.iscomplexobj(core) else 1) for core in self.cores)

    @jax.jit
    def apply(self, x: jax.Array) -> jax.Array:
        """The matrix times each row, without forming it.

        Args:
            x: (..., D_in) of the cores' dtype.

        Returns:
            (..., D_out). Cost a row: at most about n_sites * max(D_out, D_in) * bond**2 * leg products.
        """
        batch = x.shape[:-1]
        carried = x.reshape(math.prod(batch), 1, x.shape[-1])  # (batch and outputs so far, bond, inputs to come)
        for core in self.cores:
            left, out, in_, right = core.shape
            matrix = core.transpose(1, 3, 0, 2).reshape(out * right, left * in_)
            carried = carried.reshape(carried.shape[0], left * in_, -1)
            carried = jnp.einsum("yx,bxr->byr", matrix, carried, precision=HIGHEST)
            carried = carried.reshape(carried.shape[0] * out, right, -1)
        return carried.reshape(*batch, self.geometry.shape[0])

    @jax.jit
    def to_dense(self) -> jax.Array:
        """The (D_out, D_in) matrix."""
        dense = jnp.ones((1, 1, 1), self.cores[0].dtype)  # (outputs, inputs, bond)
        for core in self.cores:
            dense = jnp.einsum("xyl,loir->xoyir", dense, core, precision=HIGHEST)
            rows, out, columns, in_, right = dense.shape
            dense = dense.reshape(rows * out, columns * in_, right)
        return dense[:, :, 0]


def tt_svd(matrix: Any, geometry: Geometry, chi: int) -> Mpo:
    """The MPO of bond at most chi by successive SVDs from the left, in double precision on the host.

    Args:
        matrix: (d_out, d_in) real or complex, no larger than the geometry; zeros fill what is missing.
        geometry: leg sizes.
        chi: largest bond. From the largest useful one on, the MPO equals the matrix.

    Returns:
        Bonds `geometry.bonds(chi)`, dtype of the matrix (float64 and complex128 only if JAX's x64 is on). The error is
        at most sqrt(n_sites - 1) times the least possible at these bonds.

    Raises:
        ValueError: if the matrix has no two axes, is larger than the geometry or holds NaN or infinities; if chi < 1.
    """
    padded = pad(check_matrix(matrix, "matrix"), geometry)
    dtype = padded.dtype
    rest = interleave(padded, geometry).astype(np.result_type(dtype, np.float64)).reshape(1, -1)
    cores = []
    for k, bond in enumerate(geometry.bonds(chi)):
        out, in_ = geometry.out[k], geometry.in_[k]
        left = rest.shape[0]
        basis, rest = _split(rest.reshape(left * out * in_, -1), bond)
        cores.append(basis.reshape(left, out, in_, bond))
    cores.append(rest.reshape(rest.shape[0], geometry.out[-1], geometry.in_[-1], 1))
    # Put there as they are: `jnp.asarray` would compile a program for every shape.
    return Mpo(tuple(jax.device_put(core.astype(dtype)) for core in cores), geometry)


def bond_entropies(matrix: Any, geometry: Geometry) -> np.ndarray:
    """Von Neumann entropy of every inner bond of the matrix, normalised as a state.

    Args:
        matrix: (d_out, d_in), as for `tt_svd`.
        geometry: leg sizes.

    Returns:
        (n_sites - 1,) float64, in nats: minus the sum of p ln p over the squared Schmidt values p of the bond.

    Raises:
        ValueError: as `tt_svd`; also if the matrix is zero.

    Cost: eigenvalues of one Gram matrix a bond, of at most sqrt(D_out D_in) rows.
    """
    padded = pad(check_matrix(matrix, "matrix"), geometry)
    tensor = interleave(padded, geometry).astype(np.result_type(padded.dtype, np.float64))
    norm = np.linalg.norm(tensor)
    if norm == 0:
        raise ValueError("Argument `matrix` must not be zero: a zero matrix has no entropy.")
    tensor = tensor / norm
    entropies = []
    for k in range(1, geometry.n_sites):
        unfolded = tensor.reshape(math.prod(geometry.legs[:k]), -1)
        wide = unfolded if unfolded.shape[0] <= unfolded.shape[1] else unfolded.T
        weights = np.linalg.eigvalsh(wide @ wide.conj().T)
        weights = weights[weights > 0]
        entropies.append(-np.sum(weights * np.log(weights)))
    return np.array(entropies)


def check_matrix(matrix: Any, name: str) -> np.ndarray:
    """The matrix on the host.

    Raises:
        ValueError: if it does not have two axes of positive length, or holds NaN, infinities or no numbers.
    """
    array = np.asarray(matrix)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"Argument `{name}` must be a matrix (d_out, d_in), but has shape {array.shape}.")
    if array.dtype.kind in "iub":
        array = array.astype(np.float64)
    if array.dtype.kind not in "fc":
        raise ValueError(f"Argument `{name}` must hold real or complex numbers, but has dtype {array.dtype}.")
    if not np.isfinite(array).all():
        bad = np.argwhere(~np.isfinite(array))[0]
        raise ValueError(
            f"Argument `{name}` must be finite, but {array[tuple(bad)]} stands at row {bad[0]}, column {bad[1]}; "
            f"repair the matrix first."
        )
    return array


def pad(matrix: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The matrix with zero rows and columns up to the geometry's shape.

    Raises:
        ValueError: if the matrix is larger.
    """
    missing = [full - size for full, size in zip(geometry.shape, matrix.shape, strict=True)]
    if min(missing) < 0:
        raise ValueError(
            f"Argument `geometry` must cover the matrix {matrix.shape}, but its legs multiply to {geometry.shape}; "
            f"take larger legs."
        )
    return np.pad(matrix, [(0, size) for size in missing])


def interleave(matrix: Any, geometry: Geometry) -> Any:
    """The (D_out, D_in) matrix (NumPy or JAX) as a flat array with legs in the order out 1, in 1, out 2, in 2 ..."""
    n = geometry.n_sites
    order = [axis for k in range(n) for axis in (k, n + k)]
    return matrix.reshape(geometry.out + geometry.in_).transpose(order).reshape(-1)


def deinterleave(flat: Any, geometry: Geometry) -> Any:
    """The inverse of `interleave`."""
    n = geometry.n_sites
    legs = [leg for pair in zip(geometry.out, geometry.in_, strict=True) for leg in pair]
    return flat.reshape(legs).transpose([*range(0, 2 * n, 2), *range(1, 2 * n, 2)]).reshape(geometry.shape)


def _split(unfolded: np.ndarray, bond: int) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal basis (rows, bond) of the largest singular values, and the coordinates (bond, columns) in it."""
    if bond == unfolded.shape[0]:
        return np.eye(bond), unfolded
    basis, values, rest = np.linalg.svd(unfolded, full_matrices=False)
    return basis[:, :bond], values[:bond, None] * rest[:bond]


def _balanced_factors(name: str, size: int, n_sites: int) -> tuple[int, ...]:
    """The size as a product of n_sites factors; large primes go first, each to the smallest factor so far."""
    primes = _prime_factors(size)
    if len(primes) < n_sites:
        raise ValueError(
            f"Argument `{name}` must have at least {n_sites} prime factors for {n_sites} sites, but {size} has "
            f"{len(primes)}; take fewer sites, pad the matrix, or give the legs as Geometry(out=..., in_=...)."
        )
    factors = [1] * n_sites
    for prime in reversed(primes):
        factors[factors.index(min(factors))] *= prime
    return tuple(sorted(factors, reverse=True))


def _prime_factors(size: int) -> list[int]:
    """Prime factors, rising."""
    n_qubits_of(size)
    primes, divisor = [], 2
    while divisor * divisor <= size:
        while size % divisor == 0:
            primes.append(divisor)
            size //= divisor
        divisor += 1
    return primes + [size] * (size > 1)
