"""Settings of the study `gradient-variance`: the published centre and sweeps, and what the text leaves open."""

from dataclasses import dataclass, replace
from operator import gt
from typing import NamedTuple

from qjaxsim.models.hybrid import PAIRINGS, PRE_LAYERS, HybridModel
from qjaxsim.studies.shared.setting import (
    GIVEN,
    LARGEST_COUNT,
    LARGEST_DEPTH,
    LARGEST_REGISTER,
    LARGEST_SEED,
    Except,
    check_settings,
    choice,
    integer,
    number,
    other,
)

CONTROLS = ("updates", "scale", "initialisations", "shots", "pairing", "pre-layer", "learning-rate")


class _Defaults(NamedTuple):
    """What depends on the data set: images for training and testing, None for all."""

    images: int | None
    test_images: int | None


_DIGITS = _Defaults(images=None, test_images=None)
_LARGE = _Defaults(images=2000, test_images=1000)


@dataclass(frozen=True)
class GradientSettings:
    """What the study runs; None means the data set's default, filled in by `resolved`.

    The sweep varies one of qubits, layers and batch size at a time about a centre, as published.

    Attributes:
        dataset: "digits", "mnist", "fashion_mnist" or another prepared set of grey images.
        qubits: qubits to sweep at the centre's layers and batch size.
        layers: entangling layers to sweep at the centre's qubits and batch size.
        batches: batch sizes to sweep at the centre's qubits and layers.
        centre: qubits, layers, batch size.
        seeds: seeds of initial parameters, minibatches and measurements; all seeds of a cell train side by side.
        images: training images (a stratified choice); all of digits, else 2,000.
        test_images: test images; all of digits, else 1,000.
        epochs: passes over the training images; the published table has 5.
        learning_rate: of Adam, the Qiskit tutorial's.
        pre: the pre-layer, see `HybridModel`.
        pairing: the CNOT pairs, see `HybridModel`.
        dtype: "float32" (as published) or "float64" for training.
        controls: names of `CONTROLS`, each a set of cells beside the baseline (`gradient_controls.py`).
        shots: measurements for each expectation value in the control "shots".
        draws: random initialisations in the control "initialisations".
        hessian: whether to take Hessian spectra at start and end of training at the centre.
        hessian_images: training images of these.
        data_seed: chooses the images when not all are used.

    Raises:
        ValueError: for values out of range, naming the argument.
    """

    dataset: str = other("digits")
    qubits: tuple[int, ...] = integer((2, 4, 6, 8), 2, LARGEST_REGISTER)
    layers: tuple[int, ...] = integer((2, 3, 4, 5, 6), 1, LARGEST_DEPTH)
    batches: tuple[int, ...] = integer((4, 8, 16, 32, 64), 1)
    centre: tuple[int, ...] = other((4, 3, 16))
    seeds: tuple[int, ...] = integer((0, 1, 2, 3, 4), 0, LARGEST_SEED)
    images: int | None = integer(None, 2)
    test_images: int | None = integer(None, 1)
    epochs: int = integer(5, 1)
    learning_rate: float = number(1e-3, above=0)
    pre: str = choice("linear", PRE_LAYERS)
    pairing: str = choice("alternate", PAIRINGS)
    dtype: str = choice("float32", ("float32", "float64"))
    controls: tuple[str, ...] = choice((), CONTROLS, empty=True)
    shots: tuple[int, ...] = integer((128, 1024), 1, needs={"controls": ("shots",)})
    draws: int = integer(200, 20, needs={"controls": ("initialisations",)})
    hessian: bool = other(False)
    hessian_images: int = integer(500, 1, needs={"hessian": (True,)})
    data_seed: int = integer(
        0,
        0,
        LARGEST_SEED,
        needs=(
            {"images": GIVEN},
            {"test_images": GIVEN},
            {"hessian": (True,)},
            {"dataset": Except("digits")},
        ),
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if len(self.centre) != 3 or self.centre[0] < 2 or min(self.centre) < 1:
            raise ValueError(
                f"Argument `centre` must be qubits (2 or more), layers and batch size, but is {list(self.centre)}."
            )
        most = (LARGEST_REGISTER, LARGEST_DEPTH, LARGEST_COUNT)
        if any(map(gt, self.centre, most)):
            raise ValueError(f"Argument `centre` must be at most {list(most)}, but is {list(self.centre)}.")

    def resolved(self) -> "GradientSettings":
        """The same settings with the data set's defaults filled in."""
        defaults = _DIGITS if self.dataset == "digits" else _LARGE
        return replace(
            self,
            images=defaults.images if self.images is None else self.images,
            test_images=defaults.test_images if self.test_images is None else self.test_images,
        )


class Run(NamedTuple):
    """One training that all seeds do: a point of the sweep, or of a control.

    Attributes:
        qubits: n.
        layers: R.
        batch: images of a minibatch.
        pre: the pre-layer.
        pairing: the CNOT pairs.
        learning_rate: of Adam.
        shots: measurements for each expectation value, None for exact ones.
        frozen: whether the post-layer stays as it starts.
        updates: updates in one epoch's stead, None for the passes over the images that an epoch is.
    """

    qubits: int
    layers: int
    batch: int
    pre: str
    pairing: str
    learning_rate: float
    shots: int | None = None
    frozen: bool = False
    updates: int | None = None

    def model(self, image_size: int, n_classes: int) -> HybridModel:
        """The model that is trained."""
        return HybridModel(self.qubits, self.layers, image_size, n_classes, self.pre, self.pairing)
