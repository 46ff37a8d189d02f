"""What to optimise and how, and what it will take, before anything is computed."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import numpy as np

from qjaxsim.common.checks import hold_integers
from qjaxsim.common.memory import require_memory
from qjaxsim.models.disentangler.circuit import Brickwall
from qjaxsim.models.disentangler.low_rank import svd_rank_at
from qjaxsim.models.disentangler.mpo import Geometry, qubit_geometry

# Arrays of the padded weight's size, and of the larger side squared, that are held at once. Sweeps need fewer (weight,
# target and operand, beside them 4 of temporaries on square weights); most are needed by the final TT-SVD in double.
_WEIGHT_ARRAYS, _SQUARE_ARRAYS = 9, 4
# Arrays that reverse mode keeps for each layer of a circuit. Both measured (XLA's own figures).
_REVERSE_ARRAYS = 3


@dataclass(frozen=True)
class DisentanglerConfig:
    """Settings of `disentangle`.

    Attributes:
        chi: bond of the MPO.
        gate_qubits: qubits of a gate, k; one at least as wide as the register collapses a circuit to one gate.
        layers: layers of each circuit; 0 leaves the plain MPO.
        geometry: "qubit" (one site a qubit), or legs of the MPO.
        method: "explicit" (environments and polar factors) or "gradient" (optax).
        target: "adaptive" (M is cut anew from U^+ W V after each sweep or step) or "fixed" (the cut of W itself).
        target_chi: bond of the fixed target; None is chi. The papers' figure of merit has 1.
        parametrisation: of gates in gradient descent, "cayley" or "expm" of a skew matrix.
        learning_rate: of Adam, in gradient descent.
        sweeps: most sweeps (explicit) or steps (gradient) of a restart.
        tolerance: a restart ends when the error has not fallen by this fraction of itself in `patience` sweeps.
        patience: see tolerance; None is 5 sweeps, or 50 steps of gradient descent.
        restarts: starts in all; from the second on they are random.
        start: first start, "identity" (exactly the plain MPO) or "random".
        seed: of the random starts.
        complex_gates: unitary gates and complex cores, also for real weights.
        dtype: "float32" or "float64" (needs JAX's x64).

    Raises:
        ValueError: naming the field.
    """

    chi: int
    gate_qubits: int = 2
    layers: int = 4
    geometry: Literal["qubit"] | Geometry = "qubit"
    method: Literal["explicit", "gradient"] = "explicit"
    target: Literal["adaptive", "fixed"] = "adaptive"
    target_chi: int | None = None
    parametrisation: Literal["cayley", "expm"] = "cayley"
    learning_rate: float = 0.01
    sweeps: int = 100
    tolerance: float = 1e-5
    patience: int | None = None
    restarts: int = 1
    start: Literal["identity", "random"] = "identity"
    seed: int = 0
    complex_gates: bool = False
    dtype: Literal["float32", "float64"] = "float32"

    def __post_init__(self) -> None:
        for name in ("chi", "gate_qubits", "restarts"):
            self._at_least(name, 1)
        for name in ("patience", "target_chi"):
            if getattr(self, name) is not None:
                self._at_least(name, 1)
        for name in ("layers", "sweeps", "seed"):
            self._at_least(name, 0)
        self._one_of("method", "explicit", "gradient")
        self._one_of("target", "adaptive", "fixed")
        self._one_of("parametrisation", "cayley", "expm")
        self._one_of("start", "identity", "random")
        self._one_of("dtype", "float32", "float64")
        if not (isinstance(self.geometry, Geometry) or self.geometry == "qubit"):
            raise ValueError(f'Argument `geometry` must be "qubit" or a Geometry, but is {self.geometry!r}.')
        if self.target_chi is not None and self.target == "adaptive":
            raise ValueError(
                f"Argument `target_chi` is the bond of a fixed target, but is {self.target_chi} with an adaptive one; "
                f'pass target="fixed", or leave it out.'
            )
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"Argument `tolerance` must be at least 0 and below 1, but is {self.tolerance}.")
        if not self.learning_rate > 0:
            raise ValueError(f"Argument `learning_rate` must be positive, but is {self.learning_rate}.")
        if self.dtype == "float64" and not jax.config.read("jax_enable_x64"):
            raise ValueError(
                'Argument `dtype` is "float64", but JAX is in single precision; set JAX_ENABLE_X64=1 or pass "float32".'
            )

    @property
    def target_bond(self) -> int:
        """Bond of the target that is optimised."""
        return self.target_chi or self.chi

    @property
    def steps_without_gain(self) -> int:
        """`patience`, resolved."""
        return self.patience or (5 if self.method == "explicit" else 50)

    @property
    def array_dtype(self) -> np.dtype:
        """Of gates, cores and the weight while optimised."""
        return np.result_type(np.dtype(self.dtype), np.complex64) if self.complex_gates else np.dtype(self.dtype)

    def _at_least(self, name: str, least: int) -> None:
        hold_integers(self, {name: least})

    def _one_of(self, name: str, *choices: str) -> None:
        value = getattr(self, name)
        if value not in choices:
            raise ValueError(f"Argument `{name}` must be one of {', '.join(choices)}, but is {value!r}.")


@dataclass(frozen=True)
class Layout:
    """Static sizes of a layer.

    Attributes:
        geometry: legs of the MPO.
        wall_u: circuit on the output side.
        wall_v: circuit on the input side.
    """

    geometry: Geometry
    wall_u: Brickwall
    wall_v: Brickwall

    def n_bytes(self, config: DisentanglerConfig) -> int:
        """Bytes that an optimisation holds at once."""
        rows, columns = self.geometry.shape
        arrays = _WEIGHT_ARRAYS
        if config.method == "gradient":
            arrays += _REVERSE_ARRAYS * (self.wall_u.n_layers + self.wall_v.n_layers)
        numbers = arrays * rows * columns + _SQUARE_ARRAYS * max(rows, columns) ** 2
        return numbers * config.array_dtype.itemsize

    def require_memory(self, config: DisentanglerConfig) -> None:
        """Raise MemoryError if that is more than is free."""
        rows, columns = self.geometry.shape
        require_memory(
            self.n_bytes(config),
            f"Disentangling a matrix padded to {rows} x {columns}",
            "take float32, or a smaller matrix",
        )


class DisentanglerPlan(NamedTuple):
    """What a layer will take.

    Attributes:
        d_out: rows of the weight.
        d_in: its columns.
        padded_out: rows with padding.
        padded_in: columns with padding.
        n_dense: numbers in the weight.
        n_classical: real numbers in the MPO.
        n_circuit: real angles in the circuits.
        n_gates_u: gates of U.
        n_gates_v: gates of V.
        cnots: CNOT gates of U and V together by known constructions: 2 a rotation of two qubits, 3 a unitary of two,
            for wider gates the 23/48 4**k - 3/2 2**k + 4/3 of the quantum Shannon decomposition (quant-ph/0406176).
        break_even_price: price of an angle, in classical parameters, at which the layer costs as much as the dense one;
            negative where it costs more even with angles for nothing, infinite where there are none to pay for and
            it costs less.
        svd_rank: rank of an SVD with at most as many numbers as MPO and circuits together.
        n_bytes: memory that the optimisation holds.
    """

    d_out: int
    d_in: int
    padded_out: int
    padded_in: int
    n_dense: int
    n_classical: int
    n_circuit: int
    n_gates_u: int
    n_gates_v: int
    cnots: int
    break_even_price: float
    svd_rank: int
    n_bytes: int


def plan_disentangler(d_out: int, d_in: int, config: DisentanglerConfig) -> DisentanglerPlan:
    """Sizes, prices and memory of `disentangle` on a (d_out, d_in) weight, without computing anything.

    Raises:
        ValueError: if the sizes do not fit the geometry.
    """
    layout = lay_out(d_out, d_in, config)
    walls = (layout.wall_u, layout.wall_v)
    n_dense = d_out * d_in
    n_classical = layout.geometry.n_params(config.chi) * (2 if config.complex_gates else 1)
    n_circuit = sum(wall.n_angles(config.complex_gates) for wall in walls)
    saved = n_dense - n_classical
    return DisentanglerPlan(
        d_out=d_out,
        d_in=d_in,
        padded_out=layout.geometry.shape[0],
        padded_in=layout.geometry.shape[1],
        n_dense=n_dense,
        n_classical=n_classical,
        n_circuit=n_circuit,
        n_gates_u=layout.wall_u.n_gates,
        n_gates_v=layout.wall_v.n_gates,
        cnots=sum(wall.n_gates * _cnots(wall.gate_qubits, config.complex_gates) for wall in walls),
        break_even_price=saved / n_circuit if n_circuit else math.copysign(math.inf, saved),
        svd_rank=svd_rank_at(d_out, d_in, n_classical + n_circuit),
        n_bytes=layout.n_bytes(config),
    )


def lay_out(d_out: int, d_in: int, config: DisentanglerConfig) -> Layout:
    """Geometry and circuits for a weight of that shape.

    Raises:
        ValueError: if the weight is larger than the geometry, or a circuit meets a side that is no power of two.
    """
    geometry = qubit_geometry(d_out, d_in) if config.geometry == "qubit" else config.geometry
    assert isinstance(geometry, Geometry)
    if geometry.shape[0] < d_out or geometry.shape[1] < d_in:
        raise ValueError(
            f"Argument `geometry` must cover the weight {(d_out, d_in)}, but its legs multiply to {geometry.shape}; "
            f"take larger legs."
        )
    walls = [Brickwall(_register(size, config), config.gate_qubits, config.layers) for size in geometry.shape]
    return Layout(geometry, *walls)


def _register(size: int, config: DisentanglerConfig) -> int:
    """Qubits of a side; 0 where there is no circuit."""
    if config.layers == 0:
        return 0
    if size & (size - 1):
        raise ValueError(
            f"Argument `geometry` must have sides that are powers of two for circuits of qubits, but one is {size}; "
            f"take larger legs, or layers=0 for the plain MPO."
        )
    return size.bit_length() - 1


def _cnots(width: int, complex_gates: bool) -> int:
    """CNOT gates that a gate of that many qubits takes.

    Two qubits: 3, and 2 for a rotation in SO(4) (Vatan and Williams, arXiv:quant-ph/0308006). More: 23/48 4^n - 3/2 2^n
    + 4/3 for any unitary, real or not, by the quantum Shannon decomposition (Shende, Bullock and Markov,
    arXiv:quant-ph/0406176).
    """
    if width < 2:
        return 0
    if width == 2:
        return 3 if complex_gates else 2
    return (23 * 4**width - 72 * 2**width + 64) // 48
