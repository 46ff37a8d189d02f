"""Columns of the study `lie-variance`, with what they mean and their units."""

COLUMNS = {
    "circuit": "chain: layers of RX and of RZZ between neighbours of an open chain, every gate with an angle of its "
    "own; full: RZ as well",
    "qubits": "number of qubits n",
    "seed": "seed of the draws",
    "depth": "layers",
    "draws": "draws of all angles, uniform within +-pi",
    "mean": "mean of <X_0> over draws; 0 over the group",
    "mean_error": "its standard error",
    "variance": "variance of <X_0> over draws",
    "variance_error": "its standard error, from the fourth moment",
    "dimension": "dimension of the dynamical Lie algebra g of the gates' generators",
    "purity_state": "P_g of the initial state, |+> on all qubits: the squared norm of its part in g",
    "purity_observable": "P_g of X_0",
    "spanned": "whether dimension and purities are from a basis of g, else from the formulas for all of su(2^n)",
    "predicted": "variance over the group, P_g(state) P_g(observable) / dim g",
    "closed_form": "1 / (2n - 1) of the chain, 1 / (2^n + 1) of the full circuit",
    "deviation": "variance minus predicted, in standard errors",
}
