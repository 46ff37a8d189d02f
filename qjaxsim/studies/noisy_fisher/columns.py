"""Columns of the study `noisy-fisher`, with what they mean and their units."""

COLUMNS = {
    "layers": "of the circuit",
    "angles": "M, two a layer",
    "point": "random angles, or the minimum of the energy without noise that training from them leads to",
    "seed": "of the angles",
    "noise": "none; local, X, Y or Z after every gate on each of its qubits; or global, the control: the noiseless "
    "state mixed with the identity until it is as pure as with the local noise",
    "strength": "probability of each of X, Y and Z of the local noise; of the control that whose purity it takes",
    "purity": "trace of the squared density matrix",
    "weight": "of the noiseless state in the control's mixture",
    "rank": "of the quantum Fisher information matrix (QFIM): eigenvalues above the tolerance times the largest",
    "rank_strict": "the same rank with 1e-3 of the tolerance",
    "rank_loose": "the same rank with 1e3 of the tolerance",
    "rank_coarse": "the same rank counting what is above 1e-2 of the largest",
    "largest": "largest eigenvalue of the QFIM",
    "kept": "the eigenvalue of the QFIM in the place of the rank without noise",
    "turned_on": "the largest eigenvalue behind it, which is zero without noise",
    "smallest": "smallest eigenvalue of the QFIM",
    "energy": "of the transverse-field Ising ring, in units of the coupling",
    "hessian_rank": "of the Hessian of the energy, with the same tolerance; at the minimum at least 1e-6, for rounding",
    "hessian_max": "its largest eigenvalue",
    "hessian_min": "its smallest eigenvalue",
    "hessian_negative": "its eigenvalues below minus the tolerance times the largest in size",
    "hessian_turned_on": "at the minimum its largest eigenvalue in size behind its rank without noise",
}
