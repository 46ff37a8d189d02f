"""Second derivatives of any pure JAX function of a params pytree: products, matrices, spectra, landscapes."""

from qjaxsim.curvature.attribution import ClassAttribution, class_attribution, knocked_out
from qjaxsim.curvature.circuit_outputs import CircuitOutputs
from qjaxsim.curvature.classes import ClassDecomposition, ClassParts, class_decomposition
from qjaxsim.curvature.density import SpectralDensity, spectral_density
from qjaxsim.curvature.dual import gauss_newton_dual
from qjaxsim.curvature.gauss_newton import HessianSplit, split_hessian
from qjaxsim.curvature.hvp import hessian, hvp
from qjaxsim.curvature.kept_products import kept_products
from qjaxsim.curvature.landscape import (
    Plane,
    TrajectoryPlane,
    eigen_plane,
    evaluate_plane,
    grid_around,
    pca_plane,
    random_plane,
)
from qjaxsim.curvature.matrix import matrix_operator
from qjaxsim.curvature.mean_loss import mean_loss
from qjaxsim.curvature.operators import (
    CurvatureOperators,
    LinearOperator,
    curvature_operators,
    hessian_operator,
    linear_operator,
)
from qjaxsim.curvature.outliers import (
    Outliers,
    count_outliers,
    exact_zeros,
    gap_ratios,
    near_zero_fraction,
    numerical_rank,
)
from qjaxsim.curvature.parts import PartSum
from qjaxsim.curvature.products import gauss_newton_product, hessian_product, residual_product
from qjaxsim.curvature.spectra.record import SpectrumReport
from qjaxsim.curvature.spectra.report import spectrum_report
from qjaxsim.curvature.spectrum import (
    EigenPairs,
    PowerIteration,
    dense_spectrum,
    power_iteration,
    top_eigenpairs,
)
from qjaxsim.curvature.split_plan import SplitPlan, plan_split
from qjaxsim.curvature.stages import StagedCircuit
from qjaxsim.curvature.trace import TraceEstimate, trace_estimate

__all__ = [
    "CircuitOutputs",
    "ClassAttribution",
    "ClassDecomposition",
    "ClassParts",
    "CurvatureOperators",
    "EigenPairs",
    "HessianSplit",
    "LinearOperator",
    "Outliers",
    "PartSum",
    "Plane",
    "PowerIteration",
    "SpectralDensity",
    "SpectrumReport",
    "SplitPlan",
    "StagedCircuit",
    "TraceEstimate",
    "TrajectoryPlane",
    "class_attribution",
    "class_decomposition",
    "count_outliers",
    "curvature_operators",
    "dense_spectrum",
    "eigen_plane",
    "evaluate_plane",
    "exact_zeros",
    "gap_ratios",
    "gauss_newton_dual",
    "gauss_newton_product",
    "grid_around",
    "hessian",
    "hessian_operator",
    "hessian_product",
    "hvp",
    "kept_products",
    "knocked_out",
    "linear_operator",
    "matrix_operator",
    "mean_loss",
    "near_zero_fraction",
    "numerical_rank",
    "pca_plane",
    "plan_split",
    "power_iteration",
    "random_plane",
    "residual_product",
    "spectral_density",
    "spectrum_report",
    "split_hessian",
    "top_eigenpairs",
    "trace_estimate",
]
