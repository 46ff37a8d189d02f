"""What is trained: the quantum network, and classical recurrent networks of equal size."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.models.qrnn import published_loss, unroll
from qjaxsim.models.qrnn_topology import QrnnTopology
from qjaxsim.running.array_types import to_jax
from qjaxsim.studies.qrnn.tasks import SequenceTask

Params = dict[str, jax.Array]


@dataclass(frozen=True)
class Predicted:
    """Distributions (B, T, 2**I), words (B, T), targets (B, T), the counted steps (T,), probabilities of the words."""

    probabilities: jax.Array
    words: jax.Array
    targets: jax.Array
    counted: np.ndarray
    projection: jax.Array

    def loss(self) -> jax.Array:
        """The published loss."""
        return published_loss(self.probabilities, self.targets, to_jax(self.counted))

    def accuracy(self) -> jax.Array:
        """Share of counted words that are the target, of the words that the lanes were set to."""
        hits = (self.words == self.targets)[:, self.counted]
        return hits.mean(dtype=self.probabilities.dtype)

    def argmax_accuracy(self) -> jax.Array:
        """The same of the most probable words."""
        hits = (self.probabilities.argmax(axis=-1).astype(self.targets.dtype) == self.targets)[:, self.counted]
        return hits.mean(dtype=self.probabilities.dtype)


@dataclass(frozen=True)
class QuantumNetwork:
    """The recurrent quantum network; it reads word t and predicts target t + 1.

    Attributes:
        topology: sizes.
        spreads: standard deviations of initial theta, phi and rotations.
    """

    topology: QrnnTopology
    spreads: tuple[float, float, float] = (0.1, 0.01, 0.01)

    @property
    def n_parameters(self) -> int:
        """Trained numbers."""
        return self.topology.n_parameters

    @property
    def structure(self) -> "QuantumNetwork":
        """The network without its own spreads: equal for networks that compile to the same program."""
        return QuantumNetwork(self.topology)

    def init(self, key: jax.Array, dtype: Any) -> Params:
        """Initial parameters."""
        theta, phi, rotation = self.spreads
        return self.topology.init(key, dtype, bias_spread=theta, weight_spread=phi, rotation_spread=rotation)

    def training_loss(self, params: Params, task: SequenceTask, inputs: jax.Array, targets: jax.Array) -> Any:
        """The loss with every lane set to its target, and the smallest probability of a target."""
        out = unroll(self.topology, params, inputs[:, :-1], targets[:, 1:])
        loss = published_loss(out.probabilities, targets[:, 1:], to_jax(task.counted[1:]))
        return loss, out.projection.min()

    def last_loss(self, early: Params, late: Params, inputs: jax.Array, targets: jax.Array) -> jax.Array:
        """Published loss of the last word alone, lanes set to targets; `early` serves in the first half, `late` after.

        With equal parameters the derivative by `early` is the part of the gradient that goes back to the first half.
        """
        half = inputs.shape[1] // 2
        begun = unroll(self.topology, early, inputs[:, :half], targets[:, 1 : half + 1])
        out = unroll(self.topology, late, inputs[:, half:-1], targets[:, half + 1 :], start=begun.state)
        return published_loss(out.probabilities[:, -1:], targets[:, -1:])

    def predict(
        self,
        params: Params,
        task: SequenceTask,
        inputs: jax.Array,
        targets: jax.Array,
        key: jax.Array,
        *,
        forced: Any = None,
        choice: str = "sample",
    ) -> Predicted:
        """An evaluation: lanes set to the target where `forced` (default the task's), else by `choice`."""
        chosen = to_jax(task.forced if forced is None else forced)
        out = unroll(self.topology, params, inputs[:, :-1], targets[:, 1:], forced=chosen[1:], choice=choice, key=key)
        return Predicted(out.probabilities, out.words, targets[:, 1:], task.counted[1:], out.projection)


@dataclass(frozen=True)
class ClassicalNetwork:
    """A recurrent network of one layer and a linear readout; it reads and labels each word.

    As published: one-hot words, orthogonal recurrent and Xavier-uniform input weights, biases 0, two bias vectors.

    Attributes:
        kind: "rnn" (tanh) or "lstm".
        width: bits of a word.
        hidden: hidden units; 22 and 10 give 888 parameters on words of 3 bits.
        counted_only: whether training counts the words that are asked for alone, like the quantum network's, instead of
            all, as published.
    """

    kind: str
    width: int
    hidden: int
    counted_only: bool = False

    @property
    def n_parameters(self) -> int:
        """Trained numbers."""
        words, gates = 2**self.width, self._gates
        return gates * self.hidden * (words + self.hidden + 2) + words * (self.hidden + 1)

    @property
    def structure(self) -> "ClassicalNetwork":
        """The network itself, as nothing of it is about its start alone."""
        return self

    @property
    def _gates(self) -> int:
        return 4 if self.kind == "lstm" else 1

    def init(self, key: jax.Array, dtype: Any) -> Params:
        """Initial parameters."""
        words, hidden, gates = 2**self.width, self.hidden, self._gates
        own, recurrent, readout = jax.random.split(key, 3)
        orthogonal = jax.nn.initializers.orthogonal()
        uniform = jax.nn.initializers.glorot_uniform()
        return {
            "bias": jnp.zeros((2, gates * hidden), dtype),
            "input": uniform(own, (words, gates * hidden), dtype),
            "readout": uniform(readout, (hidden, words), dtype),
            "readout_bias": jnp.zeros(words, dtype),
            "recurrent": orthogonal(recurrent, (hidden, gates * hidden), dtype),
        }

    def log_probabilities(self, params: Params, inputs: jax.Array) -> jax.Array:
        """(B, L, 2**I) log of the distributions after each of the words (B, L)."""
        return self._run(params, inputs)[0]

    def _run(self, params: Params, inputs: jax.Array, start: Any = None) -> tuple[jax.Array, Any]:
        """Log-probabilities and the state after the last word; `start` is the one to go on from."""
        dtype, hidden = params["input"].dtype, self.hidden
        fed = jnp.take(params["input"], inputs.T, axis=0) + params["bias"].sum(axis=0)[None, None]

        def step(carry: tuple[jax.Array, jax.Array], x: jax.Array) -> Any:
            h, c = carry
            total = x + h @ params["recurrent"]
            if self.kind == "rnn":
                h = jnp.tanh(total)
            else:
                i, f, g, o = jnp.split(total, 4, axis=1)
                c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
                h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        zero = jnp.zeros((len(inputs), hidden), dtype)
        final, states = jax.lax.scan(step, (zero, zero) if start is None else start, fed)
        logits = states @ params["readout"] + params["readout_bias"][None, None]
        return jax.nn.log_softmax(logits).swapaxes(0, 1), final

    def last_loss(self, early: Params, late: Params, inputs: jax.Array, targets: jax.Array) -> jax.Array:
        """See `QuantumNetwork.last_loss`."""
        half = inputs.shape[1] // 2
        logs, _ = self._run(late, inputs[:, half:], self._run(early, inputs[:, :half])[1])
        return published_loss(jnp.exp(logs[:, -1:]), targets[:, -1:])

    def training_loss(self, params: Params, task: SequenceTask, inputs: jax.Array, targets: jax.Array) -> Any:
        """Cross-entropy, and the smallest probability of a target."""
        picked = jnp.take_along_axis(self.log_probabilities(params, inputs), targets[..., None], axis=-1)
        if self.counted_only:
            picked = picked[:, np.flatnonzero(task.counted)]
        return -picked.mean(), jnp.exp(picked.min())

    def predict(
        self,
        params: Params,
        task: SequenceTask,
        inputs: jax.Array,
        targets: jax.Array,
        key: jax.Array,
        *,
        forced: Any = None,
        choice: str = "sample",
    ) -> Predicted:
        """An evaluation; nothing is fed back, so `forced` has no effect."""
        logs = self.log_probabilities(params, inputs)
        words = logs.argmax(axis=-1) if choice == "argmax" else jax.random.categorical(key, logs)
        probabilities = jnp.exp(logs)
        projection = jnp.take_along_axis(probabilities, words[..., None], axis=-1)[..., 0]
        return Predicted(probabilities, words.astype(targets.dtype), targets, task.counted, projection)


Network = QuantumNetwork | ClassicalNetwork


def equal_size(kind: str, width: int, n_parameters: int) -> ClassicalNetwork:
    """The classical network whose number of parameters is nearest to the one given."""
    sizes = (ClassicalNetwork(kind, width, hidden) for hidden in range(1, math.isqrt(n_parameters) + 2))
    return min(sizes, key=lambda network: abs(network.n_parameters - n_parameters))
