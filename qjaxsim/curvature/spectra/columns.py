"""Numbers of a report, with what they mean and their units."""

NUMBERS = {
    "parameters": "trainable numbers P",
    "samples": "samples that the loss is a mean over",
    "loss": "value of the function at the point",
    "gradient_norm": "Euclidean norm of its gradient there",
    "gradient_in_top_k": "fraction of the gradient's square in the space of the K leading eigenvectors, K classes",
    "spectrum": "dense: all eigenvalues of the exact matrix; lanczos: leading eigenvalues and estimates by products",
    "lambda_max": "largest eigenvalue of the Hessian, function per parameter squared",
    "lambda_min": "smallest eigenvalue of the Hessian",
    "trace": "sum of all eigenvalues (lanczos: XTrace's estimate)",
    "trace_error": "standard error of the trace; lanczos only",
    "gn_lambda_max": "largest eigenvalue of the Gauss-Newton part G of H = G + R",
    "gn_null": "eigenvalues of G below rounding; dense only",
    "residual_norm_ratio": "Frobenius norm of the residual part R over that of H (lanczos: estimate)",
    "residual_norm_error": "standard error of that; lanczos only",
    "negative_eigenvalues": "eigenvalues below -1e-6 times the largest magnitude; dense only",
    "outliers_gap": "outliers by the largest ratio of neighbouring eigenvalues, 0 if it is below 1.5 (count_outliers); "
    "lanczos: among the leading ones",
    "gap_ratio": "that ratio",
    "ratio_k_minus_1": "lambda_m / lambda_(m+1) at m = K - 1, K classes",
    "ratio_k": "the same at m = K",
    "ratio_k_squared": "the same at m = K * K",
    "near_zero_fraction": "fraction of eigenvalues with magnitude up to 1e-6 times the largest (lanczos: estimate, "
    "empty where that many products cannot tell)",
    "exact_zeros": "parameters without second derivatives, most often those on which the function does not depend: "
    "rows of H that vanish up to rounding; dense only",
    "rank": "eigenvalues above rounding in magnitude; dense only",
    "rounding": "bound on the rounding of eigenvalues: parameters * eps of the precision * their largest magnitude",
}
BLOCKS = {
    "group": "parameters that belong together",
    "parameters": "how many they are",
    "block_lambda_max": "largest eigenvalue of the Hessian's diagonal block of the group",
    "block_lambda_min": "smallest one",
    "block_trace": "sum of its diagonal (lanczos: Hutchinson's estimate)",
    "block_trace_error": "standard error of that; lanczos only",
    "gn_block_lambda_max": "largest eigenvalue of the same block of the Gauss-Newton part",
    "gradient_share": "fraction of the gradient's square in the group",
    "leading_share": "fraction of the leading eigenvector's square in the group",
    "block_exact_zeros": "parameters of the group without second derivatives; dense only",
}


def of_report(*names: str) -> dict[str, str]:
    """Some of the numbers with what they mean, for the columns of a study."""
    return {name: NUMBERS[name] for name in names}
