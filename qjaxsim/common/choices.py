"""Names that users choose by, apart from what they name: the command lists them before it imports JAX."""

# Learning rate by epoch (`qjaxsim.training`).
SCHEDULES = ("constant", "cosine", "cosine_cycle")
# The hybrid classifier's layer before its circuit, and its CNOT pairs (`qjaxsim.models.hybrid`).
PRE_LAYERS = ("linear", "tanh", "conv")
PAIRINGS = ("alternate", "both", "chain", "ring")
# Kinds of attention, first those with the second version's output, which differ in how tokens are selected, and
# gradients through a selection (`qjaxsim.models.attention`).
SELECTING = ("qama-v2", "greedy", "ones", "random", "threshold")
KINDS = (*SELECTING, "qama-v1", "boltzmann", "hard", "circuit", "bottleneck", "softmax", "none")
GRADIENTS = ("frozen", "straight-through", "gibbs")
