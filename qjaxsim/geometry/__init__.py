"""The metric beside the curvature: quantum and classical Fisher matrices, natural gradients, effective dimensions."""

from qjaxsim.geometry.classical import classical_fisher, empirical_fisher, neural_tangent_kernel
from qjaxsim.geometry.dimension import effective_dimension, local_effective_dimension
from qjaxsim.geometry.lie import LieAlgebra, lie_algebra
from qjaxsim.geometry.natural import natural_gradient
from qjaxsim.geometry.operator import quantum_fisher_operator
from qjaxsim.geometry.tensor import quantum_fisher, quantum_geometric_tensor

__all__ = [
    "LieAlgebra",
    "classical_fisher",
    "effective_dimension",
    "empirical_fisher",
    "lie_algebra",
    "local_effective_dimension",
    "natural_gradient",
    "neural_tangent_kernel",
    "quantum_fisher",
    "quantum_fisher_operator",
    "quantum_geometric_tensor",
]
