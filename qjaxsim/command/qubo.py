"""The commands below `qjaxsim qubo`: quadratic binary problems from files."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from qjaxsim.common.words import counted
from qjaxsim.studies.shared.options import check_output, keep

qubo = typer.Typer(help="Solve quadratic problems over binary variables or spins.", rich_markup_mode=None)
_BINS, _BAR = 12, 40


@qubo.command()
def solve(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help=".bqm, .json (dimod), .npz, .npy, .mtx (arrays), .coo, .txt (coordinates), .qubo (qbsolv), .lp, "
            ".gset, .rud, .mc (Max-Cut), .bqp (OR-Library).",
        ),
    ],
    sampler: Annotated[
        str,
        typer.Option(help="jax, neal or sa, tabu, steepest, path-integral, exact, random, dwave, mock."),
    ] = "jax",
    reads: Annotated[int | None, typer.Option(help="Samples to draw. [default: the sampler's; 64 for jax]")] = None,
    sweeps: Annotated[int | None, typer.Option(help="Sweeps of annealing samplers. [default: the sampler's]")] = None,
    seed: Annotated[int | None, typer.Option(help="0 to 2^31 - 1. [default: random]")] = None,
    vartype: Annotated[
        str | None, typer.Option(help="BINARY or SPIN, for files that do not say. [default: BINARY]")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Another option of the sampler; repeatable.")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            help="bqm, json, npz, npy, mtx, coo, qbsolv, lp, gset, mc or bqp. [default: by ending and content]"
        ),
    ] = None,
    maximise: Annotated[
        bool,
        typer.Option("--maximise", "--maximize", help="FILE's objective is to be maximised; energies are minus it."),
    ] = False,
    number: Annotated[int | None, typer.Option(help="Which problem of an OR-Library file, from 1.")] = None,
    time_limit: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="End the sampler after this time, where it can.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write all samples, dimod's JSON.")] = None,
) -> None:
    """Sample FILE's problem: lowest energy, its state, a histogram of energies, the time.

    D-Wave machines take their token from DWAVE_API_TOKEN or D-Wave's own configuration file.
    """
    import time

    from qjaxsim_dimod import read_problem
    from qjaxsim_dimod import solve as sample

    if vartype not in (None, "BINARY", "SPIN"):
        raise ValueError(f"Option --vartype must be BINARY or SPIN, but is {vartype!r}.")
    options = _options(option or [])
    for typed, name, value in (
        ("--reads", "num_reads", reads),
        ("--sweeps", "num_sweeps", sweeps),
        ("--seed", "seed", seed),
        ("--time-limit", "time_limit", time_limit),
    ):
        if value is not None and name in options:
            raise ValueError(f"Options {typed} {value} and --option {name}={options[name]} say the same; give one.")
        if value is not None:
            options[name] = value
    if sampler == "jax" and "initial_states" not in options:
        options.setdefault("num_reads", 64)
    check_output(out)
    problem = read_problem(file, vartype, format=format, maximise=maximise, number=number)
    began = time.perf_counter()
    found = sample(problem, sampler, **options)
    seconds = time.perf_counter() - began
    samples = _serializable(found)
    keep(samples=samples, lowest_energy=float(found.first.energy), sampler=sampler, seconds=seconds)
    _print(found, problem, file, sampler, seconds)
    if out is not None:
        from qjaxsim.common import files

        files.write_text(out, json.dumps(samples))
        print(f"samples in {out}")


def _options(pairs: list[str]) -> dict[str, Any]:
    options = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise ValueError(f"Option --option must be NAME=VALUE, but is {pair!r}.")
        if name in ("reads", "sweeps"):
            raise ValueError(
                f"Option --option must name an option of the sampler, but is {pair!r}; give --{name} {text}."
            )
        if name in options:
            raise ValueError(f"Option --option must give each name once, but {name!r} comes twice.")
        try:
            options[name] = json.loads(text)
        except ValueError:
            options[name] = text
    return options


def _serializable(found: Any) -> Any:
    """A sample set as dimod writes it; the embedding of labels of several parts, on which dimod fails, as pairs."""
    context = found.info.get("embedding_context", {})
    embedding = context.get("embedding", {})
    if any(isinstance(label, tuple) for label in embedding):
        info = {**found.info, "embedding_context": {**context, "embedding": [[*pair] for pair in embedding.items()]}}
        found = type(found)(found.record, found.variables, info, found.vartype)
    return found.to_serializable()


def _print(found: Any, problem: Any, file: Path, sampler: str, seconds: float) -> None:
    import numpy as np

    energies, counts = found.record.energy, found.record.num_occurrences
    best = found.first
    couplings = counted(problem.n_couplings, "coupling")
    print(f"{file.name}: {counted(problem.n, 'variable')} ({problem.vartype}), {couplings}")
    reads = int(counts.sum())
    rounding = rounding_of(problem)
    found_in = int(counts[_levels(energies, rounding) == 0].sum())
    print(f"lowest energy  {best.energy:.10g}, found in {found_in} of {reads}")
    print(f"state          {_state(best.sample, problem.vartype)}")
    if betas := found.info.get("beta_range"):
        print(f"temperatures   inverse, {betas[0]:.4g} to {betas[-1]:.4g}")
    print(f"time           {seconds:.3f} s with {sampler}, compiling and embedding included")
    if "chain_break_fraction" in found.record.dtype.names:
        print(f"broken chains  {100 * float(np.average(found.record.chain_break_fraction, weights=counts)):.2f} %")
    print("energies")
    for label, height in energy_histogram(energies, counts, rounding):
        print(f"  {label:<28} {height:>6}  {'#' * int(np.ceil(_BAR * height / counts.sum()))}".rstrip())


def rounding_of(problem: Any) -> float:
    """What equal energies of a `Qubo` may differ by, since sums of its terms in another order round otherwise."""
    import numpy as np

    terms = np.abs(np.concatenate([problem.linear, problem.pairs.data, [problem.offset]]))
    return float(np.finfo(float).eps * np.sqrt(len(terms)) * terms.sum())


def energy_histogram(energies: Any, counts: Any, rounding: float) -> list[tuple[str, int]]:
    """Lines of a histogram: one an energy while they are few, else ranges of equal width."""
    import numpy as np

    level = _levels(energies, rounding)
    if level.max() < _BINS:
        lowest = [np.min(energies[level == place]) for place in range(level.max() + 1)]
        return list(zip(_labels(lowest), (int(height) for height in np.bincount(level, weights=counts)), strict=True))
    heights, edges = np.histogram(energies, bins=_BINS, weights=counts)
    labels = _labels(edges)
    ranges = zip(labels[:-1], labels[1:], strict=True)
    return [(f"{low} .. {high}", int(height)) for (low, high), height in zip(ranges, heights, strict=True)]


def _levels(energies: Any, rounding: float) -> Any:
    """The place of each energy among those that differ by more than rounding, 0 the lowest."""
    import numpy as np

    order = np.argsort(energies)
    rises = np.diff(energies[order]) > rounding
    level = np.empty(len(order), int)
    level[order] = np.concatenate([[0], np.cumsum(rises)])
    return level


def _labels(numbers: Any) -> list[str]:
    """Different numbers as text, with as many digits as tell them apart, six at least."""
    for digits in range(6, 17):
        labels = [f"{number:.{digits}g}" for number in numbers]
        if len(set(labels)) == len(labels):
            break
    return labels


def _state(sample: Any, vartype: str) -> str:
    """Variables that are one, or up; with their number."""
    chosen = [str(label) for label, value in sample.items() if value == 1]
    shown = ", ".join(chosen[:20]) + (", ..." if len(chosen) > 20 else "")
    return f"{len(chosen)} of {len(sample)} {'at 1' if vartype == 'BINARY' else 'up'}: {shown or 'none'}"
