"""Columns of the study `effective-dimension`, with what they mean and their units."""

COLUMNS = {
    "model": "qnn: ZZ feature map twice, RealAmplitudes of 9 layers, parity of 4 qubits; easy: Z feature map once in "
    "its place; network: classical, 4, 4, 4, 2 neurons without biases; network-28: 4, 4, 2, 2 neurons; features: "
    "logistic regression on 40 random cosines",
    "interval": "parameters are drawn from: unit, 0 to 1; pi, -pi to pi",
    "seed": "seed of parameters and inputs; 0 was published",
    "samples": "size n of a data set that the dimension is for",
    "parameters": "number of parameters d",
    "trace": "trace of the Fisher matrix, mean over draws of the parameters; the dimension does not depend on it",
    "rank": "eigenvalues of a draw's Fisher matrix beyond 1e-9 of its largest, mean over draws",
    "spread": "standard deviation of the draws' traces (root of their mean squared deviation), over their mean",
    "dimension": "effective dimension d_n",
    "share": "d_n / d, the normalised effective dimension",
    "share_alike": "the same with the Fisher matrix of every draw scaled to the same trace, a control: what differs in "
    "size between draws is gone",
}
