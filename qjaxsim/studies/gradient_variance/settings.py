"""Settings of the study `gradient-variance`: the published centre and sweeps, and what the text leaves open."""

from dataclasses import dataclass
from operator import gt
from typing import TYPE_CHECKING, NamedTuple

from qjaxsim.common.choices import PAIRINGS, PRE_LAYERS
from qjaxsim.studies.shared.setting import (
    GIVEN,
    LARGEST_COUNT,
    LARGEST_DEPTH,
    LARGEST_REGISTER,
    LARGEST_SEED,
    Except,
    check_settings,
    choice,
    digits_else,
    integer,
    number,
    other,
    with_defaults,
)

if TYPE_CHECKING:
    from qjaxsim.models.hybrid import HybridModel

CONTROLS = ("updates", "scale", "initialisations", "shots", "pairing", "pre-layer", "learning-rate")


@dataclass(frozen=True)
class GradientSettings:
    """What the study runs; each field says what it is. None means the data set's default, filled in by `resolved`.

    The sweep varies one of qubits, layers and batch size at a time about a centre, as published.

    Raises:
        ValueError: for values out of range, naming the argument.
    """

    dataset: str = other(
        "digits", help="digits (built in), mnist, fashion_mnist or another prepared set of grey images."
    )
    qubits: tuple[int, ...] = integer(
        (2, 4, 6, 8), 2, LARGEST_REGISTER, help="Qubits to sweep, at the centre's layers and batch size."
    )
    layers: tuple[int, ...] = integer(
        (2, 3, 4, 5, 6), 1, LARGEST_DEPTH, help="Entangling layers to sweep, at the centre's qubits and batch size."
    )
    batches: tuple[int, ...] = integer(
        (4, 8, 16, 32, 64), 1, help="Batch sizes to sweep, at the centre's qubits and layers."
    )
    centre: tuple[int, ...] = other((4, 3, 16), help="Qubits, layers, batch size that the other two sweeps keep.")
    seeds: tuple[int, ...] = integer(
        (0, 1, 2, 3, 4),
        0,
        LARGEST_SEED,
        help="Seeds (parameters, order of images, measurements), trained side by side.",
    )
    images: int | None = integer(
        None, 2, help="Training images, a stratified choice.", defaults=digits_else(None, 2000)
    )
    test_images: int | None = integer(None, 1, help="Test images.", defaults=digits_else(None, 1000))
    epochs: int = integer(5, 1, help="Passes over the training images; the published table has 5.")
    learning_rate: float = number(1e-3, above=0, help="Of Adam.")
    pre: str = choice("linear", PRE_LAYERS, help="Layer before the circuit: linear, tanh or conv.")
    pairing: str = choice(
        "alternate", PAIRINGS, help="CNOT pairs: alternate (by layer), both (in every layer), chain or ring."
    )
    dtype: str = choice(
        "float32", ("float32", "float64"), help="Precision of training, float32 (published) or float64."
    )
    controls: tuple[str, ...] = choice(
        (),
        CONTROLS,
        empty=True,
        flag="control",
        help="Controls to run beside the sweep, all, or none: updates, scale, initialisations, shots, pairing, "
        "pre-layer, learning-rate.",
        words={"all": CONTROLS, "none": ()},
    )
    shots: tuple[int, ...] = integer(
        (128, 1024), 1, needs={"controls": ("shots",)}, help="Measurements for each expectation value, control shots."
    )
    draws: int = integer(
        200, 20, needs={"controls": ("initialisations",)}, help="Random initialisations, control initialisations."
    )
    hessian: bool = other(False, help="Hessian spectra at start and end of training at the centre.")
    hessian_images: int = integer(500, 1, needs={"hessian": (True,)}, help="Training images of these.")
    data_seed: int = integer(
        0,
        0,
        LARGEST_SEED,
        help="Chooses the images when not all are used.",
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
        return with_defaults(self, "dataset")


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

    def model(self, image_size: int, n_classes: int) -> "HybridModel":
        """The model that is trained."""
        from qjaxsim.models.hybrid import HybridModel

        return HybridModel(self.qubits, self.layers, image_size, n_classes, self.pre, self.pairing)
