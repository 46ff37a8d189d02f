"""Settings of the study `hessian`."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from qjaxsim.common.choices import SCHEDULES
from qjaxsim.studies.shared.setting import (
    GIVEN,
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
    require_at_most,
    sharpness_option,
    with_defaults,
)

if TYPE_CHECKING:
    from qjaxsim.models.patches import PatchesModel
    from qjaxsim.training import TrainConfig

DTYPES = ("float64", "float32")
SPECTRA = ("auto", "dense", "lanczos")
LANDSCAPES = ("pca", "eigen", "random")
CONTROLS = (
    "aggregation", "scale", "parameters", "learning-rate", "loss", "initialisation", "classes", "seeds", "nulls"
)  # fmt: skip


@dataclass(frozen=True)
class HessianSettings:
    """Everything that decides the study's results; each field says what it is. None stands for a default.

    Raises:
        ValueError: for values out of range, naming the argument.
    """

    dataset: str = other(
        "digits",
        help="digits (8 x 8, built in), mnist or fashion_mnist (28 x 28), or another prepared set of grey images; all "
        "but digits are pooled to half their sides.",
    )
    patches: tuple[int, ...] = integer((1, 4, 9), 1, help="Patch counts to sweep, square numbers whose grid fits.")
    layers: tuple[int, ...] = integer((2,), 0, LARGEST_DEPTH, help="Layers of each trainable block to sweep.")
    seeds: tuple[int, ...] = integer((1001,), 0, LARGEST_SEED, help="Seeds to sweep (weights, minibatches).")
    qubits: int | None = integer(None, 2, LARGEST_REGISTER, help="Qubits of a circuit.", defaults=digits_else(5, 8))
    patch_size: int | None = integer(None, 1, help="Side of a patch, pixels.", defaults=digits_else(4, 8))
    classes: tuple[int, ...] | None = integer(None, 0, help="Labels to keep.", defaults="all")
    images: int | None = integer(None, 2, help="Training images, a stratified choice.", defaults="all")
    curvature_images: int | None = integer(
        None, 1, help="Of these, the images for the spectrum.", defaults=digits_else(None, 2000)
    )
    lambda_images: int | None = integer(
        None,
        1,
        help="Of these, the images for the paper's power iteration and the Lanczos run beside it.",
        defaults="those of the spectrum",
    )
    epochs: int | None = integer(None, 1, help="Passes over the images.", defaults=digits_else(30, 50))
    batch_size: int | None = integer(None, 1, help="Images of a minibatch.", defaults=digits_else(64, 1000))
    learning_rate: float | None = number(
        None,
        above=0,
        help="First rate.",
        defaults="the paper's for the depth: 0.01 to 50 layers, 0.005 to 100, 0.0025 to 150, then 0.001",
    )
    schedule: str = choice(
        "cosine_cycle", SCHEDULES, help="cosine_cycle (the paper's, half period 5 epochs), cosine or constant."
    )
    weight_decay: float = number(5e-5, least=0, help="L2 penalty through the gradient, not part of any reported loss.")
    aggregation: str = choice("mean", ("mean", "sum"), help="mean or sum over the circuits.")
    scale: float = number(100.0, above=0, help="Constant factor of the logits.")
    dtype: str = choice("float64", DTYPES, help="Precision of curvature, float64 or float32.")
    training_dtype: str | None = choice(
        None, DTYPES, help="Precision of training; the paper's is float32.", defaults="that of curvature"
    )
    spectrum: str = choice("auto", SPECTRA, help="dense, lanczos, or auto: dense up to 12,000 parameters.")
    top: int = integer(
        20, 1, needs={"spectrum": ("auto", "lanczos")}, help="Leading eigenvalues that lanczos computes."
    )
    landscape: tuple[str, ...] = choice(
        ("pca", "eigen"),
        LANDSCAPES,
        empty=True,
        help="Planes: pca (of the path), eigen (leading vectors), random (rows as long as the weights'); or none.",
        words={"none": ()},
    )
    landscape_points: int = integer(20, 2, needs={"landscape": GIVEN}, help="Grid points along each axis.")
    landscape_images: int | None = integer(
        None,
        1,
        needs={"landscape": GIVEN},
        help="Training images for the landscape.",
        defaults="those of the spectrum",
    )
    sharpness: bool = sharpness_option()
    controls: tuple[str, ...] = choice(
        (),
        CONTROLS,
        empty=True,
        flag="control",
        help="Controls to run beside the sweep, all, or none: aggregation, scale, parameters, learning-rate, loss, "
        "initialisation, classes, seeds, nulls.",
        words={"all": CONTROLS, "none": ()},
    )
    data_seed: int = integer(
        0,
        0,
        LARGEST_SEED,
        help="Chooses the images when not all are used.",
        needs=(
            {"images": GIVEN},
            {"curvature_images": GIVEN},
            {"lambda_images": GIVEN},
            {"landscape_images": GIVEN},
            {"landscape": ("random",)},
            {"dataset": Except("digits")},
        ),
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if self.classes is not None and len(self.classes) < 2:
            raise ValueError(f"Argument `classes` must name two labels or more, but names {self.classes[0]} alone.")

    def resolved(self) -> "HessianSettings":
        """The same settings with the data set's defaults filled in."""
        filled = with_defaults(self, "dataset")
        return replace(filled, training_dtype=filled.training_dtype or filled.dtype)

    def fitted(self, n_images: int, given: "HessianSettings") -> "HessianSettings":
        """The resolved settings for so many training images, of which a default of `given` is at most all.

        Raises:
            ValueError: if `given` asks for more than there are.
        """
        for name in ("curvature_images", "lambda_images", "landscape_images"):
            require_at_most(name, getattr(given, name), n_images, "training images")
        default = self.curvature_images
        return self if default is None or default <= n_images else replace(self, curvature_images=n_images)

    def train_config(self) -> "TrainConfig":
        """Settings of the training of one cell; `self` must be resolved, with one depth and one seed."""
        from qjaxsim.training import TrainConfig

        assert self.epochs is not None and self.batch_size is not None
        (layers,), (seed,) = self.layers, self.seeds
        rate = paper_learning_rate(layers) if self.learning_rate is None else self.learning_rate
        return TrainConfig(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=rate,
            schedule=self.schedule,
            weight_decay=self.weight_decay,
            seed=seed,
        )

    @property
    def pool(self) -> int:
        """Side of the pooling window before the patches are cut."""
        return 1 if self.dataset == "digits" else 2


def paper_learning_rate(layers: int) -> float:
    """The paper's learning rate for a depth: 0.01 at 50 layers, 0.005 at 100, 0.0025 at 150, 0.001 at 200."""
    return next((rate for depth, rate in ((50, 1e-2), (100, 5e-3), (150, 2.5e-3)) if layers <= depth), 1e-3)


def use_dense(settings: HessianSettings, model: "PatchesModel") -> bool:
    """Whether a model's spectrum is computed from the dense matrix."""
    from qjaxsim.curvature.spectra.measure import is_dense

    return is_dense(settings.spectrum, model.n_parameters, int(settings.dtype.removeprefix("float")) // 8)
