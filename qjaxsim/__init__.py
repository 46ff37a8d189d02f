"""A JAX statevector engine for quantum machine learning with exact second derivatives.

Describe a circuit as data, build a pure function of its parameters, and let JAX differentiate it as often as you like.
Qubit 0 is the most significant bit of every index; angles are in radians.
"""

from importlib.metadata import version

from qjaxsim.circuit import Circuit
from qjaxsim.curvature.hvp import hessian, hvp
from qjaxsim.explanation import explain
from qjaxsim.expressions import Expression, Parameter
from qjaxsim.observables import I, PauliSum, X, Y, Z
from qjaxsim.simulate import expectation, probabilities, sample, statevector, unitary
from qjaxsim.steps import PlanOptions

__version__ = version("qjaxsim")

__all__ = [
    "Circuit",
    "Expression",
    "I",
    "Parameter",
    "PauliSum",
    "PlanOptions",
    "X",
    "Y",
    "Z",
    "__version__",
    "expectation",
    "explain",
    "hessian",
    "hvp",
    "probabilities",
    "sample",
    "statevector",
    "unitary",
]
