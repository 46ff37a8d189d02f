"""Settings of the study `qrnn`, the published defaults of each task, and the cells that they mean."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from qjaxsim.models.qrnn_topology import QrnnTopology
from qjaxsim.studies.qrnn.digits import Encoding
from qjaxsim.studies.qrnn.features import FEATURES
from qjaxsim.studies.qrnn.networks import ClassicalNetwork, Network, QuantumNetwork, equal_size
from qjaxsim.studies.qrnn.training import OPTIMIZERS, Schedule
from qjaxsim.studies.shared.setting import ABSENT, LARGEST_SEED, check_settings, choice, integer, number, other

TASKS = ("memorise", "xor", "letters", "dna", "mnist", "mnist-generate")
EXPERIMENTS = ("training", "optimizers", "initial", "topology", "baselines", "gradients", "hessian", "neuron")
# Rates of the optimiser benchmark, over the range where the published ones learn.
RATES = (0.001, 0.005, 0.02, 0.05, 0.2, 1.0, 2.0)
BIASES = (0.0, math.pi / 4, math.pi / 2, math.pi)
SPREADS = (0.0, 0.01, 0.1, 1.0, 10.0)
# Learning rates of classical networks: as published, and what learns dna of length 50 without the leak.
PUBLISHED_RATES, CLEAN_RATES = {"rnn": 0.01, "lstm": 0.1}, {"rnn": 0.003, "lstm": 0.003}
# The published grid of topologies.
WORKSPACES, STAGES, DEGREES = (3, 4, 5, 6, 7, 8), (1, 2, 3, 4), (1, 2, 3, 4)


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
    """Everything that decides the study's results. None stands for the task's default.

    Attributes:
        task: one of `TASKS`; "dna" runs the published task and the one without a leak.
        experiments: names of `EXPERIMENTS`: "training"; "optimizers" (optimiser x rate); "initial" (bias x spread);
            "topology" (workspace x stages x degree around the task's); "baselines" (RNN and LSTM of equal size);
            "gradients" (norms against length at the start); "hessian" (spectrum of a small trained network, on memorise
            or xor); "neuron" (amplified against postselected).
        seeds: seeds trained side by side in each cell.
        lengths: words of a sequence.
        workspace: lanes of the cell's state.
        stages: work stages.
        degree: largest subset of sources with a number.
        order: order of the neurons.
        optimizer: "adam", "rmsprop", "sgd" or "lbfgs".
        learning_rate: rate of every update; see `rate`.
        batch_size: sequences of an update.
        updates: most updates.
        threshold: validation loss at which a seed stops.
        digits: classes of mnist, two to ten.
        dataset: "mnist" or "fashion_mnist", for the tasks mnist and mnist-generate.
        features: "pixels", or "pca", "tsne" or "umap" for mnist; see `qrnn_mnist.Encoding`, like the next three.
        coordinates: of the reduced features.
        bits: kept of each coordinate.
        deskew: whether slant is taken out of the images first.
        full: run the published grids of "initial" (all spreads with all biases, 500 cells) and "topology" (96 cells)
            instead of small ones.

    Raises:
        ValueError: for values out of range, naming the argument.
    """

    task: str = choice("xor", TASKS, needs=_NETWORK)
    experiments: tuple[str, ...] = choice(("training",), EXPERIMENTS)
    seeds: tuple[int, ...] = integer((0, 1, 2, 3, 4), 0, LARGEST_SEED, needs=_NETWORK)
    lengths: tuple[int, ...] | None = integer(None, 1, needs=_NETWORK)
    workspace: int | None = integer(None, 1, 30, needs=_SIZED)
    stages: int | None = integer(None, 0, 1000, needs=_SIZED)
    degree: int | None = integer(None, 1, 30, needs=_SIZED)
    order: int = integer(2, 1, 5, needs=_NETWORK)
    optimizer: str = choice("adam", OPTIMIZERS, needs=_CHOSEN)
    learning_rate: float | None = number(None, above=0, needs=_CHOSEN)
    batch_size: int | None = integer(None, 1, needs=_NETWORK)
    updates: int | None = integer(None, 1, needs={"experiments": (*_CHOSEN["experiments"], "optimizers")})
    threshold: float | None = number(None, least=0, needs=_CHOSEN)
    digits: tuple[int, ...] = integer((0, 1), 0, 9, needs=_IMAGES)
    dataset: str = other("mnist", needs=_IMAGES)
    features: str = choice("pixels", FEATURES, needs={"task": ("mnist",)})
    coordinates: int | None = integer(None, 1, needs=_REDUCED)
    bits: int | None = integer(None, 1, needs=_REDUCED)
    deskew: bool = other(False, needs=_IMAGES)
    full: bool = other(False, needs={"experiments": ("initial", "topology")})

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


@dataclass(frozen=True)
class Run:
    """One cell.

    Attributes:
        experiment: which it belongs to.
        task: name for `make_task`.
        length: words of a sequence.
        network: what is trained.
        schedule: how.
        learning_rate: rate.
        seeds: trained side by side.
    """

    experiment: str
    task: str
    length: int
    network: Network
    schedule: Schedule
    learning_rate: float
    seeds: tuple[int, ...]

    @property
    def key(self) -> str:
        """Name of the cell."""
        net = self.network
        if isinstance(net, QuantumNetwork):
            t = net.topology
            name = f"qrnn-W{t.workspace}S{t.stages}d{t.degree}o{t.order}"
            if self.experiment == "initial":
                name += f"-bias{t.bias:.3g}-spread{net.spreads[0]:g}_{net.spreads[1]:g}_{net.spreads[2]:g}"
        else:
            name = f"{net.kind}-h{net.hidden}"
        return f"{self.experiment}-{self.task}-L{self.length}-{name}-{self.schedule.optimizer}-{self.learning_rate:g}"

    @property
    def settings(self) -> dict[str, Any]:
        """The cell's settings as JSON values."""
        return {
            "experiment": self.experiment,
            "task": self.task,
            "length": self.length,
            "network": {type(self.network).__name__: asdict(self.network)},
            "schedule": asdict(self.schedule),
            "learning_rate": self.learning_rate,
            "seeds": list(self.seeds),
        }


def runs(settings: QrnnSettings) -> list[Run]:
    """The cells of resolved settings, in the order they run."""
    return [run for experiment in settings.experiments for run in _RUNS[experiment](settings)]


def _base(settings: QrnnSettings, experiment: str) -> Run:
    """The task's own network and schedule."""
    assert settings.lengths and settings.workspace is not None and settings.stages is not None
    assert settings.degree is not None and settings.batch_size is not None and settings.updates is not None
    assert settings.threshold is not None
    topology = QrnnTopology(settings.width, settings.workspace, settings.stages, settings.degree, settings.order)
    schedule = Schedule(
        settings.optimizer,
        settings.batch_size,
        settings.updates,
        settings.threshold,
        validation_size=2 if settings.task == "memorise" else 128,
    )
    network = QuantumNetwork(topology, settings.defaults.spreads)
    task, length = settings.task, settings.lengths[0]
    return Run(experiment, task, length, network, schedule, settings.rate(task, length), settings.seeds)


def _training(settings: QrnnSettings) -> Iterator[Run]:
    assert settings.lengths
    for name, length in itertools.product(_names(settings), settings.lengths):
        rate = settings.rate(name, length)
        yield replace(_base(settings, "training"), task=name, length=length, learning_rate=rate)


def _optimizers(settings: QrnnSettings) -> Iterator[Run]:
    base = _base(settings, "optimizers")
    for optimizer, rate in itertools.product(OPTIMIZERS, RATES):
        # As published, all updates are made, and the loss at their end counts.
        schedule = replace(base.schedule, optimizer=optimizer, threshold=0.0)
        yield replace(base, schedule=schedule, learning_rate=rate)


def _initial(settings: QrnnSettings) -> Iterator[Run]:
    """All biases with the default spreads, and each spread varied alone at the default bias; or all with all."""
    base = _base(settings, "initial")
    assert isinstance(base.network, QuantumNetwork)
    spreads = base.network.spreads
    points = [(bias, spreads) for bias in BIASES]
    theta, phi, rotation = spreads
    for spread in SPREADS:
        varied = ((spread, phi, rotation), (theta, spread, rotation), (theta, phi, spread))
        points += [(math.pi / 2, each) for each in varied]
    if settings.full:
        points = [(bias, (a, b, c)) for bias, a, b, c in itertools.product(BIASES, SPREADS, SPREADS, SPREADS)]
    for bias, chosen in dict.fromkeys(points):
        yield replace(base, network=QuantumNetwork(replace(base.network.topology, bias=bias), chosen))


def _topology(settings: QrnnSettings) -> Iterator[Run]:
    """All workspaces, stages and degrees around the task's own, or the published ones."""
    base = _base(settings, "topology")
    assert isinstance(base.network, QuantumNetwork)
    own = base.network.topology
    grid = (range(max(2, own.workspace - 2), own.workspace + 1), (1, 2), range(1, own.degree + 2))
    for workspace, stages, degree in itertools.product(*(WORKSPACES, STAGES, DEGREES) if settings.full else grid):
        topology = replace(own, workspace=workspace, stages=stages, degree=degree)
        yield replace(base, network=replace(base.network, topology=topology))


def _classical(settings: QrnnSettings, base: Run) -> dict[str, ClassicalNetwork]:
    """RNN and LSTM: of 888 parameters each on dna, as published, else of as many as the task's own network."""
    if settings.task == "dna":
        return {"rnn": ClassicalNetwork("rnn", 3, 22), "lstm": ClassicalNetwork("lstm", 3, 10)}
    return {kind: equal_size(kind, settings.width, base.network.n_parameters) for kind in ("rnn", "lstm")}


def _baselines(settings: QrnnSettings) -> Iterator[Run]:
    """As published, Adam, RNN at rate 0.01 and LSTM at 0.1, loss of all words; without the leak as the quantum network.

    That is the loss of the words asked for alone, whose share in that of all falls with the length, at lower rates.
    """
    base = _base(settings, "baselines")
    assert settings.lengths
    for name, length, (kind, network) in itertools.product(
        _names(settings), settings.lengths, _classical(settings, base).items()
    ):
        clean = name == "dna-clean"
        rate = (CLEAN_RATES if clean else PUBLISHED_RATES)[kind]
        yield replace(
            base, task=name, length=length, network=replace(network, counted_only=clean),
            learning_rate=rate if settings.learning_rate is None else settings.learning_rate,
        )  # fmt: skip


def _gradients(settings: QrnnSettings) -> Iterator[Run]:
    base = _base(settings, "gradients")
    assert settings.lengths
    names = _names(settings)
    chosen: list[tuple[str, Network]] = [(name, base.network) for name in names]
    # A classical network's loss of the last word is the same with and without the leak.
    chosen += [(names[0], network) for network in _classical(settings, base).values()]
    for (name, network), length in itertools.product(chosen, settings.lengths):
        yield replace(base, task=name, network=network, length=length)


def _names(settings: QrnnSettings) -> tuple[str, ...]:
    return ("dna", "dna-clean") if settings.task == "dna" else (settings.task,)


def _single(experiment: str) -> Any:
    def one(settings: QrnnSettings) -> Iterator[Run]:
        yield _base(settings, experiment)

    return one


_RUNS = {
    "training": _training,
    "optimizers": _optimizers,
    "initial": _initial,
    "topology": _topology,
    "baselines": _baselines,
    "gradients": _gradients,
    "hessian": _single("hessian"),
    "neuron": _single("neuron"),
}
