"""A trained model out of a results folder: predict with it, take its circuits elsewhere, go on training it."""

import functools
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.common.checks import require_unmasked
from qjaxsim.models.losses import training_loss
from qjaxsim.studies.shared.examples import Examples, digests
from qjaxsim.training.checkpoint import read_point

if TYPE_CHECKING:
    from qjaxsim.studies.shared.run import Run


class TrainedCircuit(NamedTuple):
    """A circuit of a trained model.

    Attributes:
        circuit: with parameters for weights and data.
        params: values of those that are known, by name; data have a batch axis in front.
    """

    circuit: Circuit
    params: dict[str, Any]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class TrainedModel(ABC):
    """A model of one finished cell with the parameters that its study keeps.

    `dataclasses.replace(trained, params=...)` is the same model with others, as further training gives them.

    Attributes:
        key: of the cell.
        seed: of the training.
        model: the model.
        params: its parameters, in the precision of training (single without JAX's x64 mode).
    """

    key: str
    seed: int
    model: Any
    params: Any

    @abstractmethod
    def predict(self, x: Any) -> Any:
        """What the model makes of inputs as a user has them."""

    @property
    @abstractmethod
    def loss(self) -> Callable[..., jax.Array]:
        """Maps (params, x, y) to the mean loss that it was trained with, for `qjaxsim.training.fit`."""

    @property
    @abstractmethod
    def train(self) -> tuple[np.ndarray, np.ndarray]:
        """What it was trained on: inputs and targets as `loss` takes them."""

    def circuits(self, x: Any = None) -> dict[str, TrainedCircuit]:
        """The model's circuits by name, none for a classical one.

        Args:
            x: inputs as `predict` takes them, whose angles are then among the parameters; None leaves data open.
        """
        return {}

    def __repr__(self) -> str:
        numbers = sum(leaf.size for leaf in jax.tree.leaves(self.params))
        return f"{type(self).__name__}({self.key!r}, seed {self.seed}, {numbers:,} numbers, {self.model!r})"


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class TrainedClassifier(TrainedModel):
    """A trained classifier of images.

    Attributes:
        examples: the images of its study as the model takes them.
        labels: of the model's outputs, in their order.
    """

    examples: Examples
    labels: tuple[int, ...]

    def prepare(self, images: Any) -> jax.Array:
        """Images as `model.outputs` takes them, in the precision of the parameters.

        Args:
            images: as the data set has them, (N, side, side) or (N, side, side, channels), pixels up to its largest.

        Raises:
            ValueError: for images of other sizes, or pixels out of range.
        """
        assert self.examples.prepare is not None
        return jnp.asarray(self.examples.prepare(images), self._dtype)

    def predict(self, x: Any) -> np.ndarray:
        """The label of each image, (N,) int32.

        Args:
            x: images as for `prepare`, which scales them as for training.

        Raises:
            ValueError: see there.
        """
        images, labels = self.prepare(x), np.asarray(self.labels, np.int32)
        if not len(images):  # circuits take one at least
            return labels[:0]
        return labels[np.asarray(outputs(self.model)(self.params, images)).argmax(axis=1)]

    @property
    def loss(self) -> Callable[..., jax.Array]:
        """Mean cross-entropy."""
        return training_loss(self.model)

    @property
    def train(self) -> tuple[np.ndarray, np.ndarray]:
        """Training images as the model takes them, and their places among `labels`."""
        return self.examples.x_train.astype(self._dtype), self.examples.y_train

    @property
    def _dtype(self) -> Any:
        return jax.tree.leaves(self.params)[0].dtype


# One function for equal models, so that what is compiled for one image batch serves the next.
@functools.lru_cache(maxsize=16)
def outputs(model: Any) -> Callable[..., jax.Array]:
    """The compiled `model.outputs`."""
    return jax.jit(model.outputs)


def real_numbers(name: str, value: Any) -> Any:
    """An array of real numbers; neither a mask nor imaginary parts are dropped without a word.

    Raises:
        TypeError: for a masked array.
        ValueError: for anything but real numbers, naming the argument.
    """
    require_unmasked(f"Argument `{name}`", value)
    array = value if isinstance(value, jax.Array) else np.asarray(value)
    if array.dtype.kind not in "iu" and not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(f"Argument `{name}` must hold real numbers, but is {array.dtype}.")
    return array


def without_data(x: Any, what: str) -> None:
    """Refuse inputs for circuits whose data are no parameters.

    Raises:
        ValueError: saying `what` they are, unless `x` is None.
    """
    if x is not None:
        raise ValueError(f"Argument `x` must be left out for {what}, which have no data among their parameters.")


class ModelReader(NamedTuple):
    """How trained models come out of a study's results folder.

    Attributes:
        keeps: whether a cell keeps a trained model when it is finished, by its key and what distinguishes it.
        read: maps (run, key) of such a finished cell to its model. What may be chosen besides are keyword-only
            arguments with defaults.
        example: maps settings and a cell's key to a line of Python that predicts with `trained`, for the page; `qj` is
            imported.
    """

    keeps: Callable[[str, Mapping[str, Any]], bool]
    read: Callable[..., TrainedModel]
    example: Callable[[Any, str], str]


def warn_of_other_images(run: "Run", source: str) -> None:
    """Warn where an own set of images has changed since a run; `source` says what it is now.

    The parameters are the run's all the same, and so is what the model makes of given images.
    """
    recorded = digests(str(run.recorded.settings.get("images_source")))
    # Earlier versions recorded that of training images alone.
    others = [(before, now) for before, now in zip(recorded, digests(source), strict=False) if before != now]
    if others:
        before, now = others[0]
        warnings.warn(
            f"Images of {run.settings.dataset} are others now (sha256 {now}) than those that {run.folder} was made "
            f"with (sha256 {before}): `train`, `examples` and all that is computed of them are of the others. Argument "
            "`data_dir` takes the folder of the former ones.",
            stacklevel=4,  # the line that asks the run for the model
        )


def params_of_training(folder: Path, epoch: int, init: Callable[[jax.Array, Any], Any]) -> Any:
    """Parameters that `qjaxsim.training.fit` kept, as a model takes them, in the precision of training as JAX has it.

    Args:
        folder: of the training, "training" below the cell's.
        epoch: epochs done.
        init: maps a key and a dtype to parameters of the model's form.

    Raises:
        ValueError: if they are not there any more, damaged, or those of another model.
    """
    try:
        flat = read_point(folder, epoch)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ValueError(
            f"Folder {folder} must hold the parameters after epoch {epoch} in its trajectory, but does not; bring the "
            f"cell's folder with all that was in it, or run the study again."
        ) from error
    dtype = jax.dtypes.canonicalize_dtype(flat.dtype)  # JAX would warn of doubles that it does not hold
    built, unravel = ravel_pytree(init(jax.random.key(0), dtype))
    require_as_many(folder, flat.size, built.size)
    return unravel(jnp.asarray(flat, dtype))


def require_as_many(folder: Path, trained: int, built: int) -> None:
    """Refuse a model that was built for other images than it was trained on; there are so many numbers in each.

    Raises:
        ValueError: naming where the images are looked for.
    """
    if trained != built:
        raise ValueError(
            f"Argument `data_dir` must lead to images of the size and classes that {folder} was trained on, but the "
            f"model of those there has {built:,} numbers, and the trained one {trained:,}; give the folder of the "
            f"former ones."
        )


def example_on_images(settings: Any, key: str) -> str:
    """The line of a page that predicts for a classifier of images: the first five that can be."""
    return f'print(trained.predict(qj.datasets.load("{settings.dataset}", "train").images[:5]))'
