"""Quadratic binary problems between qjaxsim, dimod and D-Wave; the JAX annealer as a dimod sampler.

dimod and dwave-samplers come with the extra "dimod", D-Wave's machines and their stand-in with "dwave".
"""

from importlib.util import find_spec

from qjaxsim.common.extras import missing_extra

if find_spec("dimod") is None or find_spec("dwave") is None or find_spec("dwave.samplers") is None:
    raise missing_extra("Solving quadratic problems needs dimod and dwave-samplers", "dimod")

from qjaxsim_dimod.annealer import JaxAnnealer, sample_heads
from qjaxsim_dimod.files import read_problem
from qjaxsim_dimod.hardware import FixedEmbeddingSampler
from qjaxsim_dimod.qubo import Qubo
from qjaxsim_dimod.samplers import SAMPLERS, make_sampler, solve, solve_batch

__all__ = [
    "SAMPLERS",
    "FixedEmbeddingSampler",
    "JaxAnnealer",
    "Qubo",
    "make_sampler",
    "read_problem",
    "sample_heads",
    "solve",
    "solve_batch",
]
