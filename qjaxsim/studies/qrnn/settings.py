"""Settings of the study `qrnn`, with the published defaults of each task."""

from dataclasses import dataclass, replace
from typing import NamedTuple

from qjaxsim.studies.qrnn.encoding import FEATURES, Encoding
from qjaxsim.studies.shared.setting import ABSENT, LARGEST_SEED, check_settings, choice, integer, number, other

TASKS = ("memorise", "xor", "letters", "dna", "mnist", "mnist-generate")
EXPERIMENTS = ("training", "optimizers", "initial", "topology", "baselines", "gradients", "hessian", "neuron")
OPTIMIZERS = ("sgd", "rmsprop", "adam", "lbfgs")
_OF_TASK = "the task's"


class _Defaults(NamedTuple):
    """What a task brings where a setting is left open."""

    width: int
    workspace: int
    stages: int
    degree: int
    lengths: tuple[int, ...]
    learning_rate: float
    batch_size: int
    updates: int
    threshold: float
    spreads: tuple[float, float, float] = (0.1, 0.01, 0.01)
    coordinates: int | None = None
    bits: int | None = None


DEFAULTS = {
    "memorise": _Defaults(3, 5, 2, 3, (20,), 0.05, 2, 500, 1e-4, (0.5, 0.5, 0.5)),
    "xor": _Defaults(2, 4, 1, 3, (36,), 0.005, 16, 1000, 1e-3),
    "letters": _Defaults(3, 6, 2, 2, (36,), 0.005, 8, 1000, 1e-2),
    "dna": _Defaults(3, 5, 1, 3, (10, 50, 200, 1000), 0.01, 128, 5000, 1e-3),
    "mnist": _Defaults(2, 8, 2, 2, (101,), 0.003, 100, 1500, 0.0, (0.1, 0.0, 0.01)),
    "mnist-generate": _Defaults(2, 8, 2, 2, (100,), 0.003, 100, 1500, 0.0, (0.1, 0.0, 0.01)),
    # Reduced features: released topologies (tsne, umap), 64 images of each of ten digits an update. The other released
    # one for umap has 3 coordinates, 4 bits, W 7, degree 3 (3134 parameters), and learns more slowly.
    "mnist pca": _Defaults(4, 6, 2, 2, (9,), 0.002, 640, 1000, 0.0, (0.1, 0.0, 0.01), 8, 4),
    "mnist tsne": _Defaults(2, 8, 2, 3, (10,), 0.003, 640, 1000, 0.0, (0.1, 0.0, 0.01), 2, 8),
    "mnist umap": _Defaults(4, 5, 2, 2, (4,), 0.003, 640, 1000, 0.0, (0.1, 0.0, 0.01), 4, 3),
}

# When settings have an effect: "neuron" is about a fixed network, "optimizers" goes through optimisers and rates and
# makes all updates, "gradients" trains nothing.
_LENGTHS = ("training", "baselines", "gradients")
_CHOSEN = {"experiments": ("training", "initial", "topology", "baselines", "hessian")}
_NETWORK = {"experiments": (*_CHOSEN["experiments"], "optimizers", "gradients")}
_SIZED = (
    {"experiments": tuple(name for name in _NETWORK["experiments"] if name != "topology")},
    {"experiments": ("topology",), "full": ABSENT},
)
_IMAGES, _REDUCED = {"task": ("mnist", "mnist-generate")}, {"features": FEATURES[1:]}


@dataclass(frozen=True)
class QrnnSettings:
    """Everything that decides the study's results; each field says what it is. None stands for the task's default.

    Experiments: "training"; "optimizers" (optimiser x rate); "initial" (bias x spread); "topology" (workspace x stages
    x degree around the task's); "baselines" (RNN and LSTM of equal size); "gradients" (norms against length at the
    start); "hessian" (spectrum of a small trained network, on memorise or xor); "neuron" (amplified against
    postselected). "full" runs the published grids of "initial" (all spreads with all biases) and "topology" instead of
    small ones. The task "dna" is run as published, and without a leak.

    Raises:
        ValueError: for values out of range, naming the argument.
    """

    task: str = choice("xor", TASKS, needs=_NETWORK, help="memorise, xor, letters, dna, mnist or mnist-generate.")
    experiments: tuple[str, ...] = choice(
        ("training",),
        EXPERIMENTS,
        help="training, optimizers, initial, topology, baselines, gradients, hessian, neuron.",
    )
    seeds: tuple[int, ...] = integer(
        (0, 1, 2, 3, 4), 0, LARGEST_SEED, needs=_NETWORK, help="Seeds, trained side by side."
    )
    lengths: tuple[int, ...] | None = integer(
        None, 1, needs=_NETWORK, help="Words of a sequence.", defaults="the task's; dna 10,50,200,1000"
    )
    workspace: int | None = integer(
        None, 1, 30, needs=_SIZED, help="Qubits that hold the cell's state (W in the tables).", defaults=_OF_TASK
    )
    stages: int | None = integer(
        None,
        0,
        1000,
        needs=_SIZED,
        help="Rounds of neurons between a word read and a word given (S).",
        defaults=_OF_TASK,
    )
    degree: int | None = integer(
        None,
        1,
        30,
        needs=_SIZED,
        help="Each subset of a neuron's inputs up to this size has a weight (d).",
        defaults=_OF_TASK,
    )
    order: int = integer(
        2, 1, 5, needs=_NETWORK, help="How steep a neuron is: its cosine and sine are squared so often."
    )
    optimizer: str = choice("adam", OPTIMIZERS, needs=_CHOSEN, help="adam, rmsprop, sgd or lbfgs.")
    learning_rate: float | None = number(
        None,
        above=0,
        needs=_CHOSEN,
        help="Learning rate, the same for every update.",
        defaults="the task's; dna-clean min(0.003, 0.04 / length)",
    )
    batch_size: int | None = integer(None, 1, needs=_NETWORK, help="Sequences of an update.", defaults=_OF_TASK)
    updates: int | None = integer(
        None,
        1,
        needs={"experiments": (*_CHOSEN["experiments"], "optimizers")},
        help="Updates at most.",
        defaults=_OF_TASK,
    )
    threshold: float | None = number(
        None, least=0, needs=_CHOSEN, help="Validation loss at which a seed stops.", defaults=_OF_TASK
    )
    digits: tuple[int, ...] = integer((0, 1), 0, 9, needs=_IMAGES, help="Classes of mnist, two to ten digits.")
    dataset: str = other("mnist", needs=_IMAGES, help="mnist or fashion_mnist, for the tasks on images.")
    features: str = choice(
        "pixels",
        FEATURES,
        needs={"task": ("mnist",)},
        help="Of mnist: pixels, pca, tsne, or umap (supervised; needs umap-learn).",
    )
    coordinates: int | None = integer(
        None, 1, needs=_REDUCED, help="Coordinates that an image is reduced to.", defaults="pca 8, tsne 2, umap 4"
    )
    bits: int | None = integer(
        None, 1, needs=_REDUCED, help="Bits of each coordinate.", defaults="pca 4, tsne 8, umap 3"
    )
    deskew: bool = other(False, needs=_IMAGES, help="Take the slant out of the images.")
    full: bool = other(
        False,
        needs={"experiments": ("initial", "topology")},
        help="Published grids of initial (500 cells) and topology (96 cells).",
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if not self.task.startswith("mnist") and (self.features != "pixels" or self.deskew):
            raise ValueError(f"Arguments `features` and `deskew` are for tasks on images, but `task` is {self.task!r}.")
        if self.task == "mnist-generate" and self.features != "pixels":
            raise ValueError(f"Argument `features` must be 'pixels' for mnist-generate, but is {self.features!r}.")
        if self.encoding is not None and self.lengths not in (None, self._all_lengths()):
            raise ValueError(f"Argument `lengths` must be left out for {self.task}, but is {list(self.lengths or ())}.")
        if self.lengths is not None and len(self.lengths) > 1 and not set(self.experiments) & set(_LENGTHS):
            raise ValueError(
                f"Argument `lengths` must be one length for {', '.join(self.experiments)}, but is "
                f"{list(self.lengths)}; only {', '.join(_LENGTHS)} go through several."
            )
        refused = {"mnist": ("gradients", "hessian"), "mnist-generate": ("baselines", "gradients", "hessian")}
        if bad := [name for name in self.experiments if name in refused.get(self.task, ())]:
            raise ValueError(f"Argument `experiments` must not hold {bad[0]!r} for the task {self.task!r}.")

    @property
    def defaults(self) -> _Defaults:
        """What the task brings."""
        return DEFAULTS[f"{self.task} {self.features}" if self.features in FEATURES[1:] else self.task]

    @property
    def encoding(self) -> Encoding | None:
        """How images become words; None for tasks without images."""
        if not self.task.startswith("mnist"):
            return None
        given = {
            name: getattr(self.defaults, name) if getattr(self, name) is None else getattr(self, name)
            for name in ("coordinates", "bits")
        }
        return Encoding(self.digits, self.dataset, self.features, deskew=self.deskew, **given)

    @property
    def width(self) -> int:
        """Bits of a word."""
        encoding = self.encoding
        return self.defaults.width if encoding is None else encoding.width

    def rate(self, task: str, length: int) -> float:
        """The learning rate of a cell: the one given, or the task's.

        The published 0.01 for dna does not learn it without the leak; what does gets smaller with the length.
        """
        if self.learning_rate is not None:
            return self.learning_rate
        return min(0.003, 0.04 / length) if task == "dna-clean" else self.defaults.learning_rate

    def _all_lengths(self) -> tuple[int, ...]:
        encoding = self.encoding
        if encoding is None:
            return self.defaults.lengths if self.lengths is None else self.lengths
        return (encoding.steps if self.task == "mnist-generate" else encoding.length,)

    def resolved(self) -> "QrnnSettings":
        """The same settings with the task's defaults filled in; the learning rate is each cell's (`rate`)."""
        names = ("workspace", "stages", "degree", "batch_size", "updates", "threshold")
        missing = [name for name in (*names, "coordinates", "bits") if getattr(self, name) is None]
        return replace(self, lengths=self._all_lengths(), **{name: getattr(self.defaults, name) for name in missing})
