"""Columns of the study `hessian`, with what they mean and their units."""

from qjaxsim.curvature.spectra.columns import NUMBERS, of_report

COLUMNS = {
    "cell": "name of the cell and of its folder",
    "control": "baseline, or the control that the cell belongs to",
    "point": "minimum: checkpoint of lowest training loss; matched loss: where the baseline's path first meets the "
    "highest of the minimal training losses of its depth and seed; start: before training, also where the path begins "
    "below that loss",
    "patches": "number of patches, one circuit each",
    "layers": "layers in each of the three trainable blocks of a circuit",
    "qubits": "qubits of a circuit",
    "n_classes": "classes K",
    "parameters": "trainable numbers: all circuits' weights and the position bias",
    "aggregation": "mean or sum over the circuits",
    "scale": "constant factor of the logits",
    "learning_rate": "first rate of the training",
    "seed": "seed of initial weights and minibatches",
    "images": "training images",
    "curvature_images": "training images that the spectrum is taken on",
    "epochs": "passes over the training images",
    "best_epoch": "epochs done at the point where curvature is taken; with a fraction, between two checkpoints",
    "train_loss": "mean cross-entropy on the training images there, nats, without weight decay",
    "train_accuracy": "fraction of training images classified correctly",
    "test_loss": "mean cross-entropy on the test images, nats",
    "test_accuracy": "fraction of test images classified correctly",
    "final_test_accuracy": "the same after the last epoch",
    "gradient_norm": "Euclidean norm of the loss gradient on the curvature images there",
    "gradient_in_top_k": "fraction of its square in the space of the K leading eigenvectors, K classes",
    "spectrum": NUMBERS["spectrum"],
    "lambda_max": "largest eigenvalue of the Hessian on the curvature images, loss per radian squared",
    "lambda_images": "training images of the next four columns",
    "lambda_max_power": "power iteration as the paper's: normal start, up to 100 products, relative change below 1e-3; "
    "it finds the eigenvalue of largest magnitude, a negative one included",
    "power_steps": "its products",
    "lambda_max_lanczos": "largest eigenvalue on lambda_images images, by Lanczos iteration to sqrt(eps) of the "
    "precision",
    "lanczos_residual": "norm of H v - lambda v of that pair: its error at most",
    "lambda_max_times_patches": "lambda_max * patches; constant for a pure 1 / patches law",
    **of_report("lambda_min", "trace", "trace_error", "gn_lambda_max"),
    "gn_block_lambda_max": "largest eigenvalue of G's diagonal blocks, one a circuit with its pixels' bias; dense only",
    "class_tested": "leading eigenvalues of H that class means are asked about: the outliers by the gap rule, or K - 1 "
    "where it counts none",
    "class_removed": "of these, those that fall below the gap after them, the geometric mean of its two eigenvalues, "
    "when the span of the class means delta_c is projected out of H",
    "class_removed_cross": "the same when the range of G2, of differences between cross-class means, is projected out "
    "too",
    "class_removed_permuted": "the same as class_removed with the labels permuted in the averages: a control",
    "class_removed_random": "the same with random classes of equal size in the averages: a control",
    "gn_class_removed": "as class_removed, of as many leading eigenvalues of G; dense only",
    "g0_share": "share of G0, of the averages over a class that point to it, in these eigenvalues of H: mean of "
    "v^T G0 v / lambda",
    "g1_share": "the same of G1, of the class means",
    "g2_share": "the same of G2; the rest is G3, spread within classes, and the residual part",
    "class_overlap": "of the span of the class means with that of the K leading eigenvectors of H: mean of cos^2 of "
    "their angles; about K / parameters for random ones",
    "g1_lambda_max": "largest eigenvalue of G1, to be compared with lambda_max",
    **of_report(
        "residual_norm_ratio",
        "residual_norm_error",
        "negative_eigenvalues",
        "outliers_gap",
        "gap_ratio",
        "ratio_k_minus_1",
        "ratio_k",
        "ratio_k_squared",
        "near_zero_fraction",
    ),
    "exact_zeros": "weights on which the loss does not depend at all: rows of H that vanish up to rounding; dense only",
    "rank": NUMBERS["rank"],
    "rounding": NUMBERS["rounding"],
    "null_weights_predicted": "weights outside the light cone of the readout, and bias of pixels in no patch",
    "redundant_predicted": "weights of first blocks beyond the dimension of the states they move, all circuits",
    "redundant_found": "those weights less the rank of their tangents, all circuits",
    "gn_null": NUMBERS["gn_null"],
    "seconds_train": "training, with compilation",
    "seconds_hessian": "Hessian or products and spectra, with compilation",
}
