"""Simulated annealing of quadratic binary problems, in JAX: dense heads, sparse problems, batches of both."""

from qjaxsim.annealing.chains import Annealed, anneal, best
from qjaxsim.annealing.problems import HeadsProblem, dense_problem, energies, geometric_betas, rounded

__all__ = ["Annealed", "HeadsProblem", "anneal", "best", "dense_problem", "energies", "geometric_betas", "rounded"]
