"""Samplers by name, with the checks that dimod's samplers leave out."""

import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import dimod
from dwave import samplers as classical

from qjaxsim.common import memory
from qjaxsim.common.checks import shown
from qjaxsim.common.suggestions import did_you_mean
from qjaxsim_dimod.annealer import JaxAnnealer
from qjaxsim_dimod.hardware import dwave_sampler, mock_sampler
from qjaxsim_dimod.options import check_count, check_names, check_seconds, check_seed
from qjaxsim_dimod.problems import as_bqm, as_problems
from qjaxsim_dimod.states import initial_bits

# ExactSolver holds all 2^n states: 22 variables take 4 seconds, each further one twice that.
EXACT_LIMIT = 22


class Choice(NamedTuple):
    """What a name stands for.

    Attributes:
        make: maps construction arguments to a sampler.
        seeded: the seed is an option of `sample` ("sample"), of the construction ("make") or there is none ("").
        limited: the option of `sample` that ends it after some time, "" if there is none.
    """

    make: Callable[..., Any]
    seeded: str
    limited: str = ""


SAMPLERS = {
    "jax": Choice(JaxAnnealer, "sample", "time_limit"),
    "neal": Choice(classical.SimulatedAnnealingSampler, "sample", "interrupt_function"),
    "sa": Choice(classical.SimulatedAnnealingSampler, "sample", "interrupt_function"),
    "tabu": Choice(classical.TabuSampler, "sample", "timeout"),
    "steepest": Choice(classical.SteepestDescentSampler, "sample"),
    "path-integral": Choice(classical.PathIntegralAnnealingSampler, "sample", "interrupt_function"),
    "exact": Choice(dimod.ExactSolver, ""),
    "random": Choice(classical.RandomSampler, "sample", "time_limit"),
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

    >>> found = make_sampler("exact").sample_qubo({(0, 0): -1.0, (1, 1): -1.0, (0, 1): 3.0})
    >>> float(found.first.energy)
    -1.0
    """
    if name not in SAMPLERS:
        raise ValueError(
            f"Argument `sampler` must be one of {', '.join(SAMPLERS)}, but is {name!r}{did_you_mean(name, SAMPLERS)}."
        )
    choice, seed = SAMPLERS[name], check_seed(seed)
    return choice.make(seed=seed, **construction) if choice.seeded == "make" else choice.make(**construction)


def solve(
    problem: Any, sampler: Any = "jax", *, seed: int | None = None, time_limit: float | None = None, **options: Any
) -> Any:
    """A `dimod.SampleSet` of one problem, its columns in the order of the problem's variables.

    Models of dimod reach dimod's samplers untouched, so that sparse ones stay sparse; those in single precision in
    double, in which energies are summed.

    Args:
        problem: a `Qubo`, a `dimod.BinaryQuadraticModel`, a dict {(i, j): bias} over binary variables, a pair (h, J)
            over spins, or a square matrix of binary variables, dense or of `scipy.sparse`.
        sampler: a name in `SAMPLERS`, or any dimod sampler.
        seed: 0 .. 2^31 - 1; equal seeds give equal samples, except on a D-Wave machine.
        time_limit: seconds, of samplers that can end early: "jax" thins its schedule, "sa" and "path-integral" return
            the reads done by then (one at least), "tabu" shares it among reads, a millisecond each at least.
        **options: of the sampler's `sample`, checked against its `parameters`. `initial_states` may be a SampleSet or
            other samples with labels, matched by them, or an array in the order of the problem's variables.

    Raises:
        TypeError: for constrained, discrete and higher-order models, naming dimod's conversion.
        ValueError: for NaN, infinite, overflowing or no biases, misspelt options, a seed out of range or that the
            sampler cannot use, a problem too large for it.
        MemoryError: if the reads do not fit.
        ImportError, PermissionError, ConnectionError: for "dwave" and "mock", as in `qjaxsim_dimod.hardware`.

    >>> ring = {(0, 1): 1.0, (1, 2): 1.0, (2, 3): 1.0, (3, 0): 1.0}
    >>> found = solve(({}, ring), seed=0)  # lowest where neighbours differ
    >>> float(found.first.energy), len(found)
    (-4.0, 16)
    """
    return solve_batch([problem], sampler, seed=seed, time_limit=time_limit, **options)[0]


def solve_batch(
    problems: Sequence[Any],
    sampler: Any = "jax",
    *,
    seed: int | None = None,
    time_limit: float | None = None,
    **options: Any,
) -> list[Any]:
    """A `dimod.SampleSet` for each problem: one compiled call for "jax", one embedding for "dwave" and "mock".

    Args:
        problems: as in `solve`.
        sampler: as in `solve`.
        seed: as in `solve`; other samplers than "jax" use seed + i for problem i.
        time_limit: as in `solve`, for each problem; for the whole batch of "jax".
        **options: as in `solve`.

    >>> problems = [{(0, 0): -1.0, (0, 1): 2.0}, {(0, 0): 1.0, (0, 1): -3.0}]
    >>> [float(found.first.energy) for found in solve_batch(problems, "exact")]
    [-1.0, -2.0]
    """
    if isinstance(sampler, type):
        raise TypeError(
            f"Argument `sampler` must be a name or a sampler, but is the class {sampler.__name__}; call it: "
            f"{sampler.__name__}()."
        )
    if not isinstance(sampler, str) and not callable(getattr(sampler, "sample", None)):
        raise TypeError(
            "Argument `sampler` must be a name or a sampler of quadratic models, with a method `sample`, but is "
            f"{shown(sampler)} ({type(sampler).__name__})."
        )
    seed = check_seed(seed)
    models = as_problems(problems)
    name = sampler if isinstance(sampler, str) else type(sampler).__name__
    chosen = make_sampler(name, seed) if isinstance(sampler, str) else sampler
    choice = _choice_of(sampler, chosen)
    if seed is not None and not choice.seeded:
        raise ValueError(
            f"Argument `seed` must be left out for sampler {name!r}, which has no such option, but is {seed}."
        )
    check_names(name, options, chosen.parameters)
    for option, least in (("num_reads", 1), ("num_sweeps", 0)):
        if options.get(option) is not None:
            options[option] = check_count(option, options[option], least)
    if time_limit is not None:
        check_seconds("time_limit", time_limit)
        if not choice.limited:
            raise ValueError(f"Argument `time_limit` must be left out for sampler {name!r}, which cannot end early.")
        if choice.limited in options:
            raise ValueError(f"Argument `time_limit` must be left out beside option `{choice.limited}`; give one.")
    if isinstance(chosen, JaxAnnealer):
        return chosen.sample_batch(models, seed=seed, time_limit=time_limit, **options)
    found = []
    for i, model in enumerate(models):
        bqm = as_bqm(model)
        if isinstance(chosen, dimod.ExactSolver) and bqm.num_variables > EXACT_LIMIT:
            raise ValueError(
                f"Sampler 'exact' goes through all states, at most {EXACT_LIMIT} variables, but the problem has "
                f"{bqm.num_variables}; choose another."
            )
        own: dict[str, Any] = {}
        if choice.seeded == "sample" and seed is not None:
            own["seed"] = (seed + i) % 2**31
        if time_limit is not None:
            own[choice.limited] = _limit(choice.limited, time_limit, bqm, options)
        found.append(_sample(chosen, bqm, {**own, **options}))
    return found


def _choice_of(sampler: Any, made: Any) -> Choice:
    if isinstance(sampler, str):
        return SAMPLERS[sampler]
    known = made.parameters
    limited = next((name for name in ("time_limit", "interrupt_function") if name in known), "")
    return Choice(type(made), "sample" if "seed" in known else "", limited)


def _limit(option: str, seconds: float, bqm: Any, options: dict[str, Any]) -> Any:
    """The value of a sampler's option that ends it after so many seconds."""
    if option == "interrupt_function":
        end = time.monotonic() + seconds
        return lambda: time.monotonic() > end
    if option != "timeout":
        return seconds
    reads = options.get("num_reads")
    if reads is None:
        given = options.get("initial_states")
        reads = 1 if given is None else len(initial_bits(given, list(bqm.variables), bqm.vartype.name))
    # Milliseconds of each read, a whole number.
    share = int(1000 * seconds / reads + 1e-9)
    if share < 1:
        raise ValueError(
            f"Argument `time_limit` must leave a millisecond to each read of sampler 'tabu', {reads / 1000:g} seconds "
            f"for {reads}, but is {seconds:g}; give more, or take fewer reads."
        )
    return share


def _sample(sampler: Any, bqm: Any, options: dict[str, Any]) -> Any:
    labels = list(bqm.variables)
    reads = options.get("num_reads") or 1
    memory.require_memory(
        2 * reads * len(labels), f"Samples of {reads} reads of {len(labels)} variables", "take fewer reads"
    )
    if options.get("initial_states") is not None:
        states = initial_bits(options["initial_states"], labels, bqm.vartype.name)
        options["initial_states"] = (states if bqm.vartype is dimod.BINARY else 2 * states - 1, labels)
    with warnings.catch_warnings():
        # Options were checked; what is left are remarks on the model, such as a disconnected variable.
        warnings.simplefilter("ignore")
        found = sampler.sample(bqm, **options)
        found.resolve()
    return _ordered(found, labels)


def _ordered(found: Any, labels: list[Any]) -> Any:
    """The sample set with its columns in the model's order, which samplers sort away."""
    given = list(found.variables)
    if given == labels or set(given) != set(labels):
        return found
    place = {label: column for column, label in enumerate(given)}
    record = found.record.copy()
    record.sample = found.record.sample[:, [place[label] for label in labels]]
    return dimod.SampleSet(record, labels, found.info, found.vartype)
