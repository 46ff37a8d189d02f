"""Columns of the study `spectrum`, with what they mean and their units."""

from qjaxsim.curvature.spectra.columns import NUMBERS

COLUMNS = {
    "cell": "name of the cell and of its folder",
    "label": "the cell in words",
    "seed": "seed of the random start, of minibatches and of random probes",
    "point": "minimum: lowest value on the way of the optimiser; start: where it would begin",
    "epochs": "passes of the optimiser",
    "best_epoch": "passes done at the point",
    "start_loss": "value of the function where the optimiser began",
    **NUMBERS,
    "seconds_train": "optimiser, with compilation",
    "seconds_hessian": "spectrum, blocks and planes, with compilation",
}
