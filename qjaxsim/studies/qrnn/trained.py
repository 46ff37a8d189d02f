"""Trained networks out of a results folder of the study `qrnn`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common.checks import integer_among, require_unmasked
from qjaxsim.models.qrnn_neuron import amplified_neuron_circuit
from qjaxsim.running.array_types import to_jax
from qjaxsim.studies.qrnn.cell import SCORED
from qjaxsim.studies.qrnn.cells import runs
from qjaxsim.studies.qrnn.digits import load_digit_words, task_of
from qjaxsim.studies.qrnn.networks import Network, Params, QuantumNetwork
from qjaxsim.studies.qrnn.settings import QrnnSettings
from qjaxsim.studies.qrnn.tasks import SequenceTask
from qjaxsim.studies.shared import sweep
from qjaxsim.studies.shared.run import Run
from qjaxsim.studies.shared.trained import (
    ModelReader,
    TrainedCircuit,
    TrainedModel,
    warn_of_other_images,
    without_data,
)

_PREFIX = "params_"
# Experiments that train nothing.
_UNTRAINED = ("gradients", "neuron")


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class TrainedNetwork(TrainedModel):
    """One seed's network of a cell, at its check of lowest validation loss.

    Attributes:
        task: the sequences that it learned.
    """

    model: Network
    params: Params
    task: SequenceTask

    def predict(self, x: Any, targets: Any = None) -> np.ndarray:
        """The most probable words, int32, of sequences.

        A quantum network reads words 0 to L - 2 and predicts words 1 to L - 1, (B, L - 1). A classical one labels each
        word, (B, L).

        Args:
            x: (B, L) words.
            targets: (B, L) words to which the lanes of a quantum network are set where the task's evaluation does so,
                as published; L is then the task's length. Without, they are always set to the most probable word.

        Raises:
            ValueError: for other shapes, or words that the network does not have.
        """
        inputs = self._words("x", x)
        given, forced = inputs, np.zeros(inputs.shape[1], bool)
        if targets is not None:
            given, forced = self._words("targets", targets), self.task.forced
            if not given.shape == inputs.shape == (len(inputs), self.task.length):
                raise ValueError(
                    f"Arguments `x` and `targets` must have one shape (B, {self.task.length}), the task's length, but "
                    f"have {inputs.shape} and {given.shape}."
                )
        found = self.model.predict(
            self.params, self.task, inputs, given, jax.random.key(0), forced=to_jax(forced), choice="argmax"
        )
        return np.asarray(found.probabilities.argmax(axis=-1), np.int32)

    def _words(self, name: str, words: Any) -> jax.Array:
        require_unmasked(f"Argument `{name}`", words)
        array, most = np.asarray(words), 2**self.task.width - 1
        if array.ndim != 2 or array.shape[1] < 2 or array.dtype.kind not in "iu":
            raise ValueError(
                f"Argument `{name}` must hold integers (B, L) of L at least 2, but is {array.dtype} of shape "
                f"{array.shape}."
            )
        if array.size and not (array.min() >= 0 and array.max() <= most):
            raise ValueError(
                f"Argument `{name}` must hold words from 0 to {most}, but goes from {array.min()} to {array.max()}."
            )
        return jnp.asarray(array, jnp.int32)

    @cached_property
    def loss(self) -> Callable[..., jax.Array]:
        """Maps (params, inputs, targets) to the loss of training, lanes set to targets."""

        def loss(params: Params, inputs: jax.Array, targets: jax.Array) -> jax.Array:
            value: jax.Array = self.model.training_loss(params, self.task, inputs, targets)[0]
            return value

        return loss

    @cached_property
    def train(self) -> tuple[np.ndarray, np.ndarray]:
        """Sequences as the task draws them: inputs and targets (512, L). Training itself drew others at every step."""
        arrays = {name: to_jax(value) for name, value in self.task.arrays.items()}
        inputs, targets = self.task.draw(arrays, jax.random.key(self.seed), SCORED)
        return np.asarray(inputs), np.asarray(targets)

    def circuits(self, x: Any = None) -> dict[str, TrainedCircuit]:
        """The neurons of a quantum network, "input0", "work0.0", "output0" and so on; none of a classical one.

        Sources are a neuron's first qubits, its target is the next, ancillas follow. In the place of projections, for
        which devices have no gate, each ancilla is amplified once (`qjaxsim.models.qrnn_neuron`), so that a neuron
        fails with the third power of its probability.
        """
        without_data(x, "neurons")
        if not isinstance(self.model, QuantumNetwork):
            return {}
        t = self.model.topology
        circuit = amplified_neuron_circuit(t.n_sources, t.degree, t.order, t.bias, levels=1)
        names = {"input": self.params["input"], "output": self.params["output"]}
        names |= {f"work{stage}.": numbers for stage, numbers in enumerate(self.params["work"])}
        return {
            f"{name}{lane}": TrainedCircuit(circuit.copy(), {"numbers": own})
            for name, numbers in names.items()
            for lane, own in enumerate(numbers)
        }


def trained_network(run: Run, key: str, *, seed: int | None = None, data_dir: Path | None = None) -> TrainedNetwork:
    """The trained network of one seed of a finished cell.

    Args:
        run: of the study.
        key: of the cell.
        seed: one of the cell's; default its first.
        data_dir: where prepared data sets are, for tasks on images; None for TFDS's place.

    Raises:
        ValueError: if the cell has no such seed.
        qjaxsim.datasets.DatasetNotFoundError: if the data set is not at hand.
    """
    (cell,) = (one for one in runs(run.settings) if one.key == key)
    chosen = cell.seeds[0] if seed is None else integer_among("seed", seed, cell.seeds)
    place, arrays = cell.seeds.index(chosen), sweep.read_arrays(run.folder, key)
    params = {
        name.removeprefix(_PREFIX): to_jax(values[place]) for name, values in arrays.items() if name.startswith(_PREFIX)
    }
    encoding = run.settings.encoding
    words = None if encoding is None else load_digit_words(encoding, data_dir)
    if words is not None:
        warn_of_other_images(run, words.source)
    task = task_of(cell.task, cell.length, words)
    return TrainedNetwork(key=key, seed=chosen, model=cell.network, params=params, task=task)


def _keeps(key: str, cell: Mapping[str, Any]) -> bool:
    return cell.get("experiment") not in _UNTRAINED


def _example(settings: QrnnSettings, key: str) -> str:
    return "print(trained.predict(trained.train[0][:2]))"


MODELS = ModelReader(_keeps, trained_network, _example)
