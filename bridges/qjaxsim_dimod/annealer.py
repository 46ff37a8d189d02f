"""The JAX annealer as a dimod sampler."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import dimod
import numpy as np

from qjaxsim.annealing.batch import anneal_batch
from qjaxsim.annealing.problems import MOST_BITS, HeadsProblem
from qjaxsim.common import memory
from qjaxsim_dimod.chains import DenseChains, SparseChains, choose_form, needs_double, rounded
from qjaxsim_dimod.descent import ExactDescent
from qjaxsim_dimod.options import check_count, check_seconds, check_switch, drawn_seed
from qjaxsim_dimod.problems import as_problems, as_qubo
from qjaxsim_dimod.qubo import BINARY, Qubo
from qjaxsim_dimod.states import initial_bits, offset_alone
from qjaxsim_dimod.temperatures import schedule, sweeps_of

# A schedule under a time limit runs in so many parts, with a look at the clock after each.
_PARTS = 20


class JaxAnnealer(dimod.Sampler):
    """Simulated annealing of one problem, dense or sparse, or of many dense ones at once.

    Chains are single-flip Metropolis in a fixed order: `qjaxsim.annealing.chains` where couplings are dense,
    `qjaxsim.annealing.sparse` where they are few. They run in single precision, or in double where a problem's numbers
    need it; the final descent is exact, and energies are those of the model itself in double.

    >>> import dimod
    >>> ring = {(0, 1): 1.0, (1, 2): 1.0, (2, 3): 1.0, (3, 0): 1.0}  # lowest where neighbours differ
    >>> found = JaxAnnealer().sample(dimod.BinaryQuadraticModel.from_ising({}, ring), seed=0)
    >>> float(found.first.energy)
    -4.0
    """

    def __init__(self) -> None:
        names = (
            "num_reads", "num_sweeps", "beta_range", "beta_schedule", "seed", "descent", "bits", "initial_states",
            "form", "time_limit",
        )  # fmt: skip
        self._parameters: dict[str, list[str]] = {name: [] for name in names}

    @property
    def parameters(self) -> dict[str, list[str]]:
        """Keyword arguments of `sample`."""
        return self._parameters

    @property
    def properties(self) -> dict[str, Any]:
        """Nothing that could be asked."""
        return {}

    def sample(self, bqm: Any, **options: Any) -> Any:
        """A `dimod.SampleSet` with one row a read, its columns in the order of the model's variables.

        Args:
            bqm: a dimod model or a `Qubo`. One without variables, which composites hand on where they have fixed all,
                gives its offset as dimod's samplers do.
            **options: as in `sample_batch`.
        """
        if isinstance(bqm, dimod.BinaryQuadraticModel) and not bqm.num_variables:
            return offset_alone(bqm, options.get("num_reads"))
        return self.sample_batch([bqm], **options)[0]

    def sample_batch(
        self,
        problems: Sequence[Any],
        *,
        num_reads: int | None = None,
        num_sweeps: int | None = None,
        beta_range: tuple[float, float] | None = None,
        beta_schedule: Any = None,
        seed: int | None = None,
        descent: bool = True,
        bits: int | None = None,
        initial_states: Any = None,
        form: str = "auto",
        time_limit: float | None = None,
        **unknown: Any,
    ) -> list[Any]:
        """A `dimod.SampleSet` for each problem, all dense ones annealed in one compiled call.

        Smaller problems are padded to the largest with variables that touch nothing.

        Args:
            problems: anything that `solve` takes.
            num_reads: chains of each problem; default 16, or as many as there are initial states.
            num_sweeps: passes over all variables, geometric from hot to cold; default 200; 0 leaves the final descent.
            beta_range: first and last inverse temperature; default `qjaxsim_dimod.temperatures.default_schedule`.
            beta_schedule: inverse temperatures, one a sweep, instead of the two above, which are left out then.
            seed: 0 .. 2^31 - 1; default random.
            descent: end every chain with flips that lower the energy until there are none, in exact arithmetic.
            bits: anneal the problem rounded to signed integers of so many bits, as coherent Ising machines take it.
            initial_states: of a single problem; a `dimod.SampleSet` or other samples with labels, matched by them, or
                an array (num_reads, n) in the order of the model's variables, in its vartype.
            form: "dense", "sparse", or "auto" by the share of couplings.
            time_limit: seconds after which annealing of all problems ends: what is left of the schedule is thinned to
                fit. Compilation counts, the final descent comes on top.
            **unknown: named in a warning and left out, as dimod's samplers do.

        Returns:
            Sample sets whose `info` has seed, beta_range, sweeps, form, seconds, batch, and timing as dwave-samplers
            have it: preprocessing_ns, sampling_ns, postprocessing_ns of the batch.

        Raises:
            TypeError: for models that are not quadratic over binary variables or spins, naming the conversion.
            ValueError: for an empty problem, NaN, infinite biases, options out of range; naming them.
            MemoryError: if the reads, or a dense form, do not fit.
        """
        self.remove_unknown_kwargs(**unknown)
        began = time.perf_counter_ns()
        models = as_problems(problems)
        qubos = [as_qubo(model) for model in models]
        if not qubos:
            raise ValueError("Argument `problems` must hold at least one problem, but is empty.")
        seed = drawn_seed(seed)
        n_sweeps = sweeps_of(num_sweeps, beta_range, beta_schedule)
        start = None if initial_states is None else _start(initial_states, qubos, num_reads)
        num_reads = (16 if start is None else len(start[0])) if num_reads is None else num_reads
        num_reads, descent = check_count("num_reads", num_reads, 1), check_switch("descent", descent)
        bits = None if bits is None else check_count("bits", bits, 2, MOST_BITS)
        limit = None if time_limit is None else check_seconds("time_limit", time_limit)
        # States as doubles while fields and energies are summed, and the chain's own.
        memory.require_memory(
            24 * num_reads * sum(qubo.n for qubo in qubos) + 16 * n_sweeps * len(qubos),
            f"Annealing {num_reads} reads and {n_sweeps} sweeps of {sum(qubo.n for qubo in qubos)} variables",
            "take fewer",
        )
        solved = [qubo if bits is None else rounded(qubo, bits) for qubo in qubos]
        betas = [schedule(beta_range, beta_schedule, n_sweeps, qubo) for qubo in solved]
        found: list[Any] = [None] * len(qubos)
        left, end = len(qubos), began / 1e9 + (limit or 0.0)
        for members, chains in _grouped(form, solved, betas, num_reads):
            ready = time.perf_counter_ns()
            # Random numbers of its own for each group, and its share of the time that is left.
            own = _mixed(seed, members[0]) if members[0] else seed
            share = None if limit is None else (end - ready / 1e9) * len(members) / left
            states, sweeps = _run(chains, [betas[i] for i in members], own, start, descent, share)
            left -= len(members)
            sampled = time.perf_counter_ns()
            for i, one in zip(members, states, strict=True):
                ended = ExactDescent(solved[i])(one)[0] if descent else one
                found[i] = _sample_set(models[i], qubos[i], ended)
                found[i].info.update(
                    seed=seed, beta_range=[float(end) for end in betas[i][[0, -1]]] if len(betas[i]) else None,
                    sweeps=sweeps, form=chains.form, batch=len(members),
                )  # fmt: skip
            done = time.perf_counter_ns()
            spent = {"preprocessing": ready - began, "sampling": sampled - ready, "postprocessing": done - sampled}
            for i in members:
                timing = {f"{phase}_ns": value for phase, value in spent.items()}
                found[i].info.update(timing=timing, seconds=(done - began) / 1e9)
            began = done
        return found


def sample_heads(
    problem: HeadsProblem, *, num_reads: int = 16, num_sweeps: int = 200, seed: int | None = 0, bits: int | None = None
) -> list[Any]:
    """A `dimod.SampleSet` for each problem of attention's structured form, variables labelled (head, token).

    The same chain as `JaxAnnealer` runs on the dense form, at a fraction of its cost: a flip touches its head alone.
    Temperatures are those of attention's layers, `qjaxsim.annealing.geometric_betas`.

    Args:
        problem: batch in the annealer's raw form, such as `qjaxsim.models.attention.layer_problem` gives.
        num_reads: chains of each problem.
        num_sweeps: passes over all variables.
        seed: 0 .. 2^31 - 1; None for a random one.
        bits: as in `JaxAnnealer.sample_batch`; then the final descent is that of the rounded problem.

    >>> from qjaxsim.annealing import HeadsProblem
    >>> problem = HeadsProblem(np.zeros((1, 2, 1, 1)), -np.ones((1, 2, 1)), penalty=3.0)  # one head may have the token
    >>> (found,) = sample_heads(problem)
    >>> float(found.first.energy), int(sum(found.first.sample.values()))
    (-1.0, 1)
    """
    num_reads, num_sweeps = check_count("num_reads", num_reads, 1), check_count("num_sweeps", num_sweeps, 0)
    bits = None if bits is None else check_count("bits", bits, 2, MOST_BITS)
    began = time.perf_counter()
    seed = drawn_seed(seed)
    states, _ = anneal_batch(problem, seed, reads=num_reads, sweeps=num_sweeps, bits=bits)
    found = []
    for i, one in enumerate(states):
        qubo, ended = Qubo.from_heads(problem, i), one.reshape(num_reads, -1)
        if bits is None:
            ended, _ = ExactDescent(qubo)(ended)
        found.append(_sample_set(qubo, qubo, ended))
    info = {"seed": seed, "seconds": time.perf_counter() - began, "batch": len(states)}
    for one in found:
        one.info.update(info)
    return found


def _grouped(
    form: str, qubos: Sequence[Qubo], betas: Sequence[np.ndarray], reads: int
) -> Iterator[tuple[list[int], DenseChains | SparseChains]]:
    """Problems that are annealed together, by number, and their chains."""
    dense: dict[bool, list[int]] = {}
    for i, qubo in enumerate(qubos):
        double = needs_double(qubo, betas[i])
        if choose_form(form, qubo) == "sparse":
            yield [i], SparseChains(qubo, reads, double)
        else:
            dense.setdefault(double, []).append(i)
    for double, members in dense.items():
        yield members, DenseChains([qubos[i] for i in members], reads, double)


def _run(
    chains: DenseChains | SparseChains,
    betas: Sequence[np.ndarray],
    seed: int,
    start: Any,
    descent: bool,
    limit: float | None,
) -> tuple[list[np.ndarray], int]:
    """Final states of each problem and the sweeps that were made; the schedule is thinned where the limit asks it."""
    sweeps = len(betas[0])
    if limit is None or not sweeps:
        return chains.run(betas, seed, start, descent), sweeps
    began = time.perf_counter()
    part = -(-sweeps // _PARTS)
    places, states, done = np.linspace(0.0, 1.0, part * -(-sweeps // part)), start, 0
    while len(places) and (done == 0 or time.perf_counter() - began < limit):
        before = time.perf_counter()
        now = [np.interp(places[:part], np.linspace(0.0, 1.0, sweeps), one) for one in betas]
        # Each part has random numbers of its own.
        states = chains.run(now, _mixed(seed, done), states, descent=False)
        done, places = done + part, places[part:]
        end = time.perf_counter()
        # The first part compiles, so that it says nothing of the next ones.
        fitting = int((began + limit - end) / max(end - before, 1e-9)) if done > part else len(places)
        if fitting * part < len(places):
            places = np.linspace(places[0], 1.0, max(fitting, 0) * part)
    return (chains.run([one[:0] for one in betas], seed, states, True) if descent else states), done


def _mixed(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0] >> 1)


def _start(initial_states: Any, qubos: Sequence[Qubo], num_reads: int | None) -> list[np.ndarray]:
    if len(qubos) != 1:
        raise ValueError("Option `initial_states` goes with a single problem, not with a batch.")
    return [initial_bits(initial_states, qubos[0].labels, qubos[0].vartype, num_reads)]


def _sample_set(model: Any, qubo: Qubo, bits: np.ndarray) -> Any:
    """Samples in the order of the model's variables, with the model's own energies."""
    samples = (bits if qubo.vartype == BINARY else 2 * bits - 1).astype(np.int8), list(qubo.labels)
    return dimod.SampleSet.from_samples(samples, qubo.vartype, energy=model.energies(samples), sort_labels=False)
