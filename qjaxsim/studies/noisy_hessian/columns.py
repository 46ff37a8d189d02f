"""Columns of the study `noisy-hessian`, with what they mean and their units."""

COLUMNS = {
    "seed": "seed of initial weights and minibatches",
    "noise": "none; local, depolarizing after every gate on each of its qubits; or global, the control: all "
    "expectation values of the noiseless circuit times the column signal, as one global channel makes them",
    "strength": "depolarizing probability of the local noise; of the control that whose signal it takes",
    "signal": "factor that fits the noisy outputs to the noiseless ones best (least squares over the training images)",
    "parameters": "weights of the circuit",
    "train_loss": "mean cross-entropy of the training images under the noise, nats; the weights are trained without",
    "train_accuracy": "fraction of training images classified correctly under the noise",
    "lambda_max": "largest eigenvalue of the Hessian of that loss",
    "lambda_min": "its smallest eigenvalue",
    "ratio_max": "lambda_max over that without noise",
    "negative": "eigenvalues below -1e-9 lambda_max",
    "rank": "eigenvalues beyond 1e-9 of the largest in size",
    "dead": "weights that the loss does not depend on, zeros of the Hessian by themselves",
    "outliers": "positive outliers by the largest ratio gap (`count_outliers`, rule gap)",
    "overlap": "share of the space of the leading eigenvectors, as many as classes, in that without noise; 1 if equal",
    "overlap_control": "the same share of local noise in that of its control",
    "evaluations": "shifted evaluations that the loss's Hessian takes of every image by the parameter-shift rule",
    "std_max": "standard error of lambda_max, one shot of every evaluation of every image, to first order; falls with "
    "the root of shots",
    "std_min": "the same of lambda_min",
    "edge": "mean size of the most negative eigenvalue that these errors make of a Hessian of zeros; falls likewise",
    "shots_max": "shots of each evaluation that give lambda_max to 10 % (one standard error); empty where that is not "
    "positive by more than 1e-9 of the largest in size",
    "shots_sign_min": "the same for the sign of lambda_min at two standard errors; empty where that is not negative "
    "by more than 1e-9 of the largest in size",
    "shots_edge_min": "shots from which on lambda_min is larger than edge; with fewer, errors alone look like it",
    "energy_lambda_max": "largest eigenvalue of the Hessian of the energy, minus the mean over shot_images images of "
    "<Z> of their classes",
    "energy_lambda_min": "its smallest eigenvalue",
    "energy_evaluations": "shifted evaluations that the Hessian of the energy takes",
    "energy_std_max": "standard error of energy_lambda_max, one shot of every evaluation, on an image by chance",
    "energy_std_min": "the same of energy_lambda_min",
    "energy_edge": "as edge, of the energy",
    "energy_shots_max": "as shots_max, of the energy",
    "energy_shots_sign_min": "as shots_sign_min, of the energy",
    "energy_shots_edge_min": "as shots_edge_min, of the energy",
}
