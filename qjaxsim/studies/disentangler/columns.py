"""Columns of the study `disentangler`, with what they mean and their units."""

COLUMNS = {
    "cell": "name of the cell and of its folder",
    "part": "layers: the grid over layers; depth: overlap against depth; bond: circuits as wide as the register; "
    "shots: a layer with finitely many shots; model: the model rebuilt",
    "seed": "seed of the model's training, of healing and of the noise",
    "layer": "linear map, or how many are replaced at once",
    "source": "trained: a weight of the model; file: a weight of the file; noise: Gaussian numbers of the same norm",
    "method": "original; dense: the layer itself; zero: nothing in its place; noise: Gaussian numbers of its norm; "
    "explicit, gradient: MPO between disentangling circuits, by how they were optimised; mpo: plain MPO of the same "
    "bond on padded qubits; mpo-balanced: on few unpadded sites, as many numbers. With as many numbers as MPO and "
    "circuits have together: svd-total, matrix of low rank, or the matrix itself where they suffice for it; "
    "svd-minimal, the same with a rank r counted as the r (out + in - r) numbers that it has at least, since angles "
    "are counted so, too; mpo-total and mpo-balanced-total, plain MPOs. svd-classical: with as many as the MPO alone. "
    "adapter-cayley, adapter-triangular: small blocks trained behind the layers as they are, rotations and their "
    "classical control",
    "chi": "largest bond",
    "gate_qubits": "qubits of a gate, cut to each register",
    "register": "whether gates are as wide as the registers: one gate a side, which any orthogonal matrix can be",
    "depth": "layers of gates a side",
    "rank": "rank of the matrix of svd-total and svd-classical, at most what the numbers allow",
    "dense": "numbers of the layer itself",
    "classical": "numbers stored classically: MPO, or factors",
    "circuit": "real angles of both circuits",
    "total": "classical and circuit together, a circuit's angle priced as a stored number",
    "size": "total over dense: above one it is no compression",
    "error": "Frobenius norm of the difference over that of the layer",
    "activation_error": "root mean square of the difference's outputs over that of the layer's, inputs from test text "
    "(or the file given)",
    "merit": "overlap A of the disentangled layer with the bond it was optimised for (part depth: with bond one of the "
    "layer, Eq. 4)",
    "bound": "what no circuits can exceed in merit (von Neumann's trace inequality)",
    "entropy_before": "mean entropy of the bonds of the layer, nats",
    "entropy": "mean entropy of the bonds after disentangling, nats",
    "break_even_dense": "price of a circuit's angle, in stored numbers, at which it costs as much as the layer itself; "
    "none where it has no circuits",
    "break_even_svd": "the same, as the smallest matrix of low rank that is as accurate; negative where that is "
    "smaller than the MPO alone",
    "perplexity": "exponential of the mean cross-entropy a character on the test text, not healed",
    "perplexity_change": "perplexity over that of the original model, less one",
    "accuracy": "fraction of test characters that the model thinks likeliest, not healed",
    "perplexity_bond": "perplexity after training the MPO, the factors, the matrix or the adapter in its place",
    "accuracy_bond": "accuracy after the same",
    "perplexity_circuits": "perplexity after training MPO and gates",
    "accuracy_circuits": "accuracy after the same",
    "distance": "of an encoder: one less the mean cosine of the angle between a test sentence's vector and the one "
    "that it had, not healed",
    "agreement": "share of test sentences that are nearest to the same other sentence as before, not healed",
    "distance_bond": "distance after training the MPO, the factors or the matrix in its place",
    "agreement_bond": "agreement after the same",
    "distance_circuits": "distance after training MPO and gates",
    "agreement_circuits": "agreement after the same",
    "model_parameters": "numbers of the whole model, circuits counted",
    "cnots": "CNOT gates of both circuits after synthesis by Qiskit, all qubits connected; profile layer only, empty "
    "without Qiskit or for gates of more than six qubits",
    "cnot_depth": "layers of CNOT gates of the deeper of both circuits",
    "unitary_deviation": "largest difference of an entry between Qiskit's unitaries and the arrays applied here",
    "shots": "shots of each circuit for every row of inputs",
    "shot_error": "root mean square of what shots change in the outputs, over that of the outputs; state preparation "
    "and gates taken as perfect, magnitudes and signs estimated",
    "sweeps": "sweeps done, or steps of the gradient",
    "converged": "whether the optimisation came to rest",
    "seconds": "seconds of training, optimising or healing, compilation included",
}
