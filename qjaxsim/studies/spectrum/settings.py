"""Settings of the study `spectrum`."""

from dataclasses import dataclass

from qjaxsim.common.choices import SCHEDULES
from qjaxsim.studies.shared.setting import (
    ABSENT,
    GIVEN,
    LARGEST_SEED,
    check_settings,
    choice,
    integer,
    number,
    other,
    sharpness_option,
)

DTYPES = ("float64", "float32")
POINTS = ("minimum", "start")
_TRAINED = {"point": ("minimum",)}
_WITH_DATA = {"data": GIVEN}


@dataclass(frozen=True)
class SpectrumSettings:
    """Everything that decides the study's results beside the target; each field says what it is.

    Raises:
        ValueError: for values out of range, naming the argument.
    """

    point: str = choice(
        "minimum", POINTS, help="minimum (lowest value on the way of the optimiser from the start), or start."
    )
    params: str | None = other(
        None, help="Start from parameters in a file, .npz or .json, an array for each name.", defaults="random"
    )
    seeds: tuple[int, ...] = integer((0,), 0, LARGEST_SEED, help="Seeds of random starts, a cell each.")
    observable: str | None = other(
        None,
        help='Of a circuit: the function, "Z0 Z1 + 0.5 X2"; with --data outputs separated by commas.',
        defaults="with --data Z on a qubit for each class",
    )
    data: str | None = other(None, help="Table of samples for a circuit, .csv with a header or .npz.")
    label: str | None = other(None, needs=_WITH_DATA, help="Column to learn: text and integers are classes.")
    features: tuple[str, ...] = other((), needs=_WITH_DATA, help="Columns to learn from.", defaults="all others")
    inputs: tuple[str, ...] = other(
        (),
        needs=_WITH_DATA,
        help="Parameters of the circuit that samples bring: one array, or a scalar for each feature.",
    )
    encoding: str | None = choice(
        None,
        ("angle", "zz"),
        needs={"data": GIVEN, "inputs": ABSENT},
        help="A feature map in front of the circuit: angle or zz.",
        defaults="angle without --inputs",
    )
    scale_features: str = choice(
        "pi", ("pi", "none"), needs=_WITH_DATA, help="pi (each feature linearly to [0, pi] over the samples), or none."
    )
    scale: float = number(1.0, above=0, needs=_WITH_DATA, help="Constant factor of the outputs.")
    optimizer: str = choice("adam", ("adam", "sgd"), needs=_TRAINED, help="adam or sgd, to the minimum.")
    epochs: int = integer(200, 1, needs=_TRAINED, help="Its passes over the samples, or steps where there are none.")
    batch_size: int = integer(64, 1, needs=_TRAINED, help="Samples of a step.")
    learning_rate: float = number(0.05, above=0, needs=_TRAINED, help="First rate.")
    schedule: str = choice("cosine", SCHEDULES, needs=_TRAINED, help="cosine, cosine_cycle or constant.")
    sharpness: bool = sharpness_option(needs=_TRAINED)
    dtype: str = choice("float64", DTYPES, help="Precision, float64 or float32.")
    spectrum: str = choice(
        "auto", ("auto", "dense", "lanczos"), help="dense, lanczos, or auto: dense up to 12,000 parameters that fit."
    )
    top: int = integer(
        20, 1, needs={"spectrum": ("auto", "lanczos")}, help="Leading eigenvalues that lanczos computes."
    )
    classes: int | None = integer(
        None,
        2,
        help="Number of classes K, which rules for outliers look for.",
        defaults="the number of outputs, else 2",
    )
    blocks: str = choice("leaves", ("leaves", "rows", "none"), help="Blocks: leaves of params, their rows, or none.")
    landscape: tuple[str, ...] = choice(
        ("eigen",),
        ("pca", "eigen", "random"),
        empty=True,
        help="Planes: eigen (leading vectors), pca (of the way to a minimum), "
        "random (rows as long as the weights'); or none, as for a single parameter.",
        words={"none": ()},
    )
    landscape_points: int = integer(20, 2, needs={"landscape": GIVEN}, help="Grid points along each axis.")

    def __post_init__(self) -> None:
        check_settings(self)
        if "pca" in self.landscape and self.point != "minimum":
            raise ValueError(
                "Argument `landscape` holds pca, the plane of the way to a minimum, but `point` is start; leave it out."
            )
        if self.data is not None and self.label is None:
            raise ValueError("Argument `label` must name the column to learn with `data`, but is missing.")
