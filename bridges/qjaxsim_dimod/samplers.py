"""Samplers by name, with the checks that dimod's samplers leave out."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import dimod
from dwave import samplers as classical

from qjaxsim.suggestions import did_you_mean
from qjaxsim_dimod.annealer import JaxAnnealer
from qjaxsim_dimod.hardware import dwave_sampler, mock_sampler
from qjaxsim_dimod.options import check_count, check_names, check_seed
from qjaxsim_dimod.qubo import Qubo, as_qubo

# ExactSolver holds all 2^n states: 22 variables take 4 seconds, each further one twice that.
EXACT_LIMIT = 22


class Choice(NamedTuple):
    """What a name stands for.

    Attributes:
        make: maps construction arguments to a sampler.
        seeded: the seed is an option of `sample` ("sample"), of the construction ("make") or there is none ("").
    """

    make: Callable[..., Any]
    seeded: str


SAMPLERS = {
    "jax": Choice(JaxAnnealer, "sample"),
    "neal": Choice(classical.SimulatedAnnealingSampler, "sample"),
    "sa": Choice(classical.SimulatedAnnealingSampler, "sample"),
    "tabu": Choice(classical.TabuSampler, "sample"),
    "steepest": Choice(classical.SteepestDescentSampler, "sample"),
    "path-integral": Choice(classical.PathIntegralAnnealingSampler, "sample"),
    "exact": Choice(dimod.ExactSolver, ""),
    "random": Choice(classical.RandomSampler, "sample"),
    "dwave": Choice(dwave_sampler, "make"),
    "mock": Choice(mock_sampler, "make"),
}
"""Names that `solve` takes; "neal" and "sa" are the same sampler (dwave-neal is a shell around it)."""


def make_sampler(name: str, seed: int | None = None, **construction: Any) -> Any:
    """The dimod sampler of a name.

    Args:
        name: one of `SAMPLERS`.
        seed: for "dwave" and "mock", whose embedding is found with it; other samplers take theirs when they sample.
        **construction: of the sampler's class.

    Raises:
        ValueError: for an unknown name or a seed out of range.
        ImportError, PermissionError, ConnectionError: for "dwave" and "mock", as in `qjaxsim_dimod.hardware`.
    """
    if name not in SAMPLERS:
        raise ValueError(
            f"Argument `sampler` must be one of {', '.join(SAMPLERS)}, but is {name!r}{did_you_mean(name, SAMPLERS)}."
        )
    choice, seed = SAMPLERS[name], check_seed(seed)
    return choice.make(seed=seed, **construction) if choice.seeded == "make" else choice.make(**construction)


def solve(problem: Any, sampler: Any = "jax", *, seed: int | None = None, **options: Any) -> Any:
    """A `dimod.SampleSet` of one problem.

    Args:
        problem: a `Qubo`, a dimod model or a square matrix of binary variables.
        sampler: a name in `SAMPLERS`, or any dimod sampler.
        seed: 0 .. 2^31 - 1; equal seeds give equal samples, except on a D-Wave machine.
        **options: of the sampler's `sample`, checked against its `parameters`.

    Raises:
        ValueError: for NaN, infinite or no biases, misspelt options, a seed out of range or that the sampler cannot
            use, a problem too large for it.
        ImportError, PermissionError, ConnectionError: for "dwave" and "mock", as in `qjaxsim_dimod.hardware`.
    """
    return solve_batch([problem], sampler, seed=seed, **options)[0]


def solve_batch(problems: Sequence[Any], sampler: Any = "jax", *, seed: int | None = None, **options: Any) -> list[Any]:
    """A `dimod.SampleSet` for each problem: one compiled call for "jax", one embedding for "dwave" and "mock".

    Args:
        problems: as in `solve`.
        sampler: as in `solve`.
        seed: as in `solve`; other samplers than "jax" use seed + i for problem i.
        **options: as in `solve`.
    """
    seed = check_seed(seed)
    qubos = [as_qubo(problem) for problem in problems]
    name = sampler if isinstance(sampler, str) else type(sampler).__name__
    chosen = make_sampler(name, seed) if isinstance(sampler, str) else sampler
    seeded = SAMPLERS[name].seeded if isinstance(sampler, str) else "sample" * ("seed" in chosen.parameters)
    if seed is not None and not seeded:
        raise ValueError(f"Argument `seed` must be None for sampler {name!r}, which draws nothing, but is {seed}.")
    check_names(name, options, chosen.parameters)
    for option, least in (("num_reads", 1), ("num_sweeps", 0)):
        if options.get(option) is not None:
            check_count(option, options[option], least)
    if isinstance(chosen, JaxAnnealer):
        return chosen.sample_batch(qubos, seed=seed, **options)
    found = []
    for i, qubo in enumerate(qubos):
        if isinstance(chosen, dimod.ExactSolver) and qubo.n > EXACT_LIMIT:
            raise ValueError(
                f"Sampler 'exact' goes through all states, at most {EXACT_LIMIT} variables, but the problem has "
                f"{qubo.n}; choose another."
            )
        own = {"seed": (seed + i) % 2**31} if seeded == "sample" and seed is not None else {}
        found.append(_sample(chosen, qubo, {**own, **options}))
    return found


def _sample(sampler: Any, qubo: Qubo, options: dict[str, Any]) -> Any:
    with warnings.catch_warnings():
        # Options were checked; what is left are remarks on the model, such as a disconnected variable.
        warnings.simplefilter("ignore")
        found = sampler.sample(qubo.to_bqm(), **options)
        found.resolve()
    return found
