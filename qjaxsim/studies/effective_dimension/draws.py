"""Parameters and inputs as the authors drew them.

Theirs is NumPy's global generator with seed 0: all parameters first, then all inputs. Classical networks take their
parameters from PyTorch instead, a generator with the seeds 1, 2, ... for each draw in turn, after the
single-precision numbers that their layers begin with; both use the Mersenne twister MT19937 with the same seeding, so
that NumPy has those numbers, too. The stored matrices of classical networks are of other draws all the same, which
the public programs do not tell.
"""

from typing import NamedTuple

import numpy as np

from qjaxsim.studies.effective_dimension.models import NEURONS, model_of
from qjaxsim.studies.effective_dimension.settings import BOUNDS, QUBITS, EffectiveDimensionSettings

_SEEDS = 2**32


class Draws(NamedTuple):
    """What Fisher matrices are taken of.

    Attributes:
        thetas: (T, P) parameters.
        x: (N, 4) inputs.
    """

    thetas: np.ndarray
    x: np.ndarray


def draw(settings: EffectiveDimensionSettings, model: str, interval: str, seed: int) -> Draws:
    """Parameters and inputs; those of seed 0 and the interval "unit" were published."""
    (low, high), size = BOUNDS[interval], model_of(model, settings.frequency).parameters
    rng = np.random.RandomState(seed)  # noqa: NPY002
    thetas = rng.uniform(low, high, (settings.thetas, size))
    x = rng.normal(0, 1, (settings.inputs, QUBITS))
    if model in NEURONS:
        first = seed * settings.thetas + 1
        units = [torch_uniform((first + number) % _SEEDS, size, size) for number in range(settings.thetas)]
        thetas = low + (high - low) * np.stack(units)
    return Draws(thetas, x)


def torch_uniform(seed: int, skipped: int, count: int) -> np.ndarray:
    """What PyTorch's `uniform_` gives in double precision, on the CPU.

    Args:
        seed: of `torch.manual_seed`.
        skipped: numbers drawn before in single precision, a word of 32 bits each.
        count: of numbers, two words each.

    Returns:
        (count,) numbers in [0, 1), multiples of 2**-53.
    """
    raw = np.random.RandomState(seed).bytes(4 * (skipped + 2 * count))  # noqa: NPY002
    words = np.frombuffer(raw, "<u4")[skipped:].astype(np.uint64)
    return (((words[::2] << np.uint64(32)) | words[1::2]) & np.uint64(2**53 - 1)) * 2.0**-53
