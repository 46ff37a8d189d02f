"""The cells of the study `qrnn`: what each experiment trains, on which task, how."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from qjaxsim.models.qrnn_topology import QrnnTopology
from qjaxsim.studies.qrnn.networks import ClassicalNetwork, Network, QuantumNetwork, equal_size
from qjaxsim.studies.qrnn.settings import OPTIMIZERS, QrnnSettings
from qjaxsim.studies.qrnn.training import Schedule

# Rates of the optimiser benchmark, over the range where the published ones learn.
RATES = (0.001, 0.005, 0.02, 0.05, 0.2, 1.0, 2.0)
BIASES = (0.0, math.pi / 4, math.pi / 2, math.pi)
SPREADS = (0.0, 0.01, 0.1, 1.0, 10.0)
# Learning rates of classical networks: as published, and what learns dna of length 50 without the leak.
PUBLISHED_RATES, CLEAN_RATES = {"rnn": 0.01, "lstm": 0.1}, {"rnn": 0.003, "lstm": 0.003}
# The published grid of topologies.
WORKSPACES, STAGES, DEGREES = (3, 4, 5, 6, 7, 8), (1, 2, 3, 4), (1, 2, 3, 4)


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
