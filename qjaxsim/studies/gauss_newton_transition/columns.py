"""Columns of the study `gauss-newton-transition`, with what they mean and their units."""

COLUMNS = {
    "seed": "seed of the circuit and of the first angles",
    "angles": "rotations of the circuit",
    "learning_rate": "of gradient descent",
    "target": "target O0 of <O>, minus the smallest eigenvalue O_min of O",
    "error": "distance of <O> at the end from the larger of O0 and O_min, which it can reach",
    "error_quarter": "the same after a quarter of the steps",
    "error_half": "the same after half of the steps",
    "hessian_max": "largest eigenvalue of the Hessian H of (<O> - O0)^2 / 2 at the end",
    "gauss_newton_max": "largest eigenvalue of its Gauss-Newton part G = (gradient of <O>) (gradient of <O>)^T",
    "residual_max": "largest eigenvalue of its residual part R = (<O> - O0) (Hessian of <O>)",
    "residual_share": "Frobenius norm of R, over the sum of those of G and R",
    "gauss_newton_rank": "eigenvalues of G beyond 1e-6 of the largest of H in size",
    "residual_rank": "the same of R",
    "slowest": "smallest eigenvalue of H beyond 1e-6 of the largest: what is slowest to converge",
    "rate": "what log(error) loses in a step, by a line through it against steps, between errors of 1e-2 and 1e-9; a "
    "step takes away the share 1 - exp(-rate)",
    "exponent": "power of steps with which the error falls, by a line through log(error) against log(steps)",
    "exponential_misfit": "root mean square of what the first of these lines leaves of log(error)",
    "power_misfit": "the same of the second",
    "decay": "exponential or power, whichever leaves less; empty where there are no ten steps between these errors",
}
