"""Columns of the study `overparametrisation`, with what they mean and their units."""

COLUMNS = {
    "part": "ranks, at random angles; or training",
    "problem": "open, ring: ground state of the transverse-field Ising model; unitary: compiling a random unitary",
    "qubits": "of the chain or of the unitary",
    "rank": "largest rank of the quantum Fisher information matrix (QFIM) over angles and draws, eigenvalues above the "
    "tolerance times the largest",
    "angles_needed": "fewest angles with this rank",
    "angles_most": "angles up to which the rank was looked for",
    "rank_strict": "the same rank with 1e-3 of the tolerance",
    "rank_loose": "the same rank with 1e3 of the tolerance",
    "gap": "largest eigenvalue that does not count over the smallest that does, at the most angles; the clearer the "
    "rank, the smaller",
    "rank_slip": "open chain: largest rank where the derivative in the angle of the ZZ also counts the first X of the "
    "layer, as the public code does",
    "rank_elsewhere": "chains: largest rank from a random product state instead, outside of the sector of symmetry",
    "algebra": "dimension of the dynamical Lie algebra of the generators",
    "optimiser": "adam; the controls fast (ten times the rate) and natural (natural gradient)",
    "angles": "M, trained",
    "layers": "of the circuit",
    "rank_here": "largest rank of the QFIM at so many angles",
    "weakest": "the eigenvalue of the QFIM in the place of that rank over the largest, median over draws",
    "starts": "random initial angles",
    "steps": "of the optimiser",
    "share": "of starts whose cost ends less than the threshold above its minimum",
    "share_tenth": "the same share after a tenth of the steps",
    "stalled": "of the starts that failed the share whose cost changed by less than 1 % over the last tenth of "
    "the steps",
    "reached": "median step from which on a start that succeeded stays below the threshold",
    "cost": "median cost above its minimum at the end: energy in units of the coupling, or infidelity",
    "hessian_rank": "rank of the Hessian of the cost at the best minimum, made exact by Newton's steps, with the "
    "tolerance of 1e-6 for what rounding leaves; with the most angles, where a start succeeded",
    "hessian_gap": "as gap, of that Hessian",
}
