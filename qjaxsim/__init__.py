"""A JAX statevector engine for quantum machine learning with exact second derivatives.

Describe a circuit as data, build a pure function of its parameters, and let JAX differentiate it as often as you like.
Qubit 0 is the most significant bit of every index; angles are in radians.
"""

from importlib import import_module, util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qjaxsim_pennylane import from_pennylane
    from qjaxsim_torch import to_torch

    from qjaxsim.circuits.circuit import Circuit
    from qjaxsim.circuits.expressions import Expression, Parameter
    from qjaxsim.circuits.hermitian import (
        Diagonal,
        Hermitian,
        Projector,
        SparseHermitian,
        pauli_coefficients,
        pauli_expansion,
        sparse_matrix,
    )
    from qjaxsim.circuits.library import (
        angle_encoding,
        data_reuploading,
        efficient_su2,
        real_amplitudes,
        zz_feature_map,
    )
    from qjaxsim.circuits.noise import NoiseModel
    from qjaxsim.circuits.observables import I, PauliSum, X, Y, Z
    from qjaxsim.circuits.sums import OperatorSum
    from qjaxsim.curvature.hvp import hessian, hvp
    from qjaxsim.planning.options import PlanOptions
    from qjaxsim.running.explanation import explain
    from qjaxsim.running.simulate import (
        density_matrix,
        expectation,
        probabilities,
        sample,
        statevector,
        unitary,
        variance,
    )
    from qjaxsim.running.trajectories import trajectories
    from qjaxsim.studies.shared.run import load_run

    __version__: str

__all__ = [
    "Circuit",
    "Diagonal",
    "Expression",
    "Hermitian",
    "I",
    "NoiseModel",
    "OperatorSum",
    "Parameter",
    "PauliSum",
    "PlanOptions",
    "Projector",
    "SparseHermitian",
    "X",
    "Y",
    "Z",
    "__version__",
    "angle_encoding",
    "data_reuploading",
    "density_matrix",
    "efficient_su2",
    "expectation",
    "explain",
    "from_pennylane",
    "hessian",
    "hvp",
    "load_run",
    "pauli_coefficients",
    "pauli_expansion",
    "probabilities",
    "real_amplitudes",
    "sample",
    "sparse_matrix",
    "statevector",
    "to_torch",
    "trajectories",
    "unitary",
    "variance",
    "zz_feature_map",
]

# Imported when first used: the command answers `--help` without JAX, which takes a second.
_PLACES = {
    "circuits.circuit": ("Circuit",),
    "circuits.noise": ("NoiseModel",),
    "curvature.hvp": ("hessian", "hvp"),
    "running.explanation": ("explain",),
    "circuits.expressions": ("Expression", "Parameter"),
    "circuits.library": (
        "angle_encoding",
        "data_reuploading",
        "efficient_su2",
        "real_amplitudes",
        "zz_feature_map",
    ),
    "circuits.hermitian": (
        "Diagonal",
        "Hermitian",
        "Projector",
        "SparseHermitian",
        "pauli_coefficients",
        "pauli_expansion",
        "sparse_matrix",
    ),
    "circuits.sums": ("OperatorSum",),
    "circuits.observables": ("I", "PauliSum", "X", "Y", "Z"),
    "running.simulate": (
        "density_matrix",
        "expectation",
        "probabilities",
        "sample",
        "statevector",
        "unitary",
        "variance",
    ),
    "planning.options": ("PlanOptions",),
    "running.trajectories": ("trajectories",),
    "studies.shared.run": ("load_run",),
}
_MODULES = {name: f"{__name__}.{module}" for module, names in _PLACES.items() for name in names}
# Bridges, which say what to install where PennyLane or PyTorch is missing.
_MODULES |= {"from_pennylane": "qjaxsim_pennylane", "to_torch": "qjaxsim_torch"}


def _find(name: str) -> Any:
    """A public name, or a module of the package."""
    if name in _MODULES:
        value = getattr(import_module(_MODULES[name]), name)
    elif name == "__version__":
        from importlib.metadata import version

        value = version(__name__)
    elif not name.startswith("_") and util.find_spec(f"{__name__}.{name}") is not None:
        value = import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if not TYPE_CHECKING:  # a type checker would take every name for a good one
    __getattr__ = _find
