"""D-Wave's machines, and the stand-in that needs no account: one embedding, used again for every problem alike."""

import itertools
from typing import Any

import dimod

from qjaxsim.common.checks import shown
from qjaxsim.common.extras import missing_extra
from qjaxsim_dimod.options import LARGEST_SEED, check_chain_break_method, check_switch, checked_strength
from qjaxsim_dimod.states import bits_of, offset_alone

_TOKEN = (
    "set DWAVE_API_TOKEN, or run `dwave config create` (or `dwave auth login`) once; --sampler mock needs no account"
)


# Graphs of machines whose dense problems minorminer knows to place.
_FAMILIES = ("chimera", "pegasus", "zephyr")


class FixedEmbeddingSampler(dimod.Sampler):
    """A structured sampler (a D-Wave machine, its mock, a `dimod.StructureComposite`) below a fixed embedding.

    The embedding is found once for a set of variables and pairs, and used again for all problems that have the same
    ones, such as the batch of an attention layer.

    >>> import dimod
    >>> from qjaxsim_dimod import make_sampler
    >>> sampler = make_sampler("mock", seed=0, topology_type="chimera", topology_shape=[2, 2, 4])
    >>> triangle = dimod.BinaryQuadraticModel.from_ising({}, {(0, 1): 1.0, (1, 2): 1.0, (0, 2): 1.0})
    >>> [float(sampler.sample(triangle).first.energy) for _ in range(2)], sampler.embeddings  # two spins stay equal
    ([-1.0, -1.0], 1)
    """

    def __init__(self, child: Any, seed: int | None = None) -> None:
        """Wrap `child`; `seed` is for the search of embeddings of sparse problems.

        Raises:
            TypeError: for a sampler without a graph, which needs no embedding.
        """
        if not hasattr(child, "to_networkx_graph"):
            raise TypeError(
                "Argument `child` must be a structured sampler, such as D-Wave's or a dimod.StructureComposite, but is "
                f"{shown(child)} ({type(child).__name__})."
            )
        self.child = child
        self._seed = seed
        self._composites: dict[Any, Any] = {}

    @property
    def parameters(self) -> dict[str, list[str]]:
        """Options of the child, and those of the embedding (chain_strength and kin)."""
        own = ("chain_strength", "chain_break_method", "chain_break_fraction", "return_embedding")
        return {**{name: ["child"] for name in self.child.parameters}, **{name: [] for name in own}}

    @property
    def properties(self) -> dict[str, Any]:
        """The child's properties."""
        return {"child_properties": dict(self.child.properties)}

    @property
    def embeddings(self) -> int:
        """How many embeddings have been found so far."""
        return len(self._composites)

    def sample(self, bqm: Any, **options: Any) -> Any:
        """A `dimod.SampleSet` with `chain_break_fraction`, and the embedding if `return_embedding=True`.

        `initial_state` may be an array in the order of the model's variables, too.

        Raises:
            ValueError: if the problem does not fit the machine, saying the largest dense one that does; for options of
                the embedding that are none.
        """
        if not bqm.num_variables:  # as composites hand on that have fixed all
            return offset_alone(bqm, options.get("num_reads"))
        return self._composite(bqm).sample(bqm, **_checked(options, bqm))

    def _composite(self, bqm: Any) -> Any:
        from dwave.system import FixedEmbeddingComposite

        variables = tuple(bqm.variables)
        pairs = frozenset(frozenset(pair) for pair in bqm.quadratic)
        if (variables, pairs) not in self._composites:
            embedding = self._embed(variables, [tuple(pair) for pair in bqm.quadratic])
            self._composites[variables, pairs] = FixedEmbeddingComposite(self.child, embedding)
        return self._composites[variables, pairs]

    def _embed(self, variables: tuple[Any, ...], pairs: list[tuple[Any, Any]]) -> dict[Any, tuple[int, ...]]:
        from minorminer import busclique, find_embedding

        target = self.child.to_networkx_graph()
        n = len(variables)
        known = target.graph.get("family") in _FAMILIES
        found: dict[Any, Any] = {}
        if known and 4 * len(pairs) >= n * (n - 1):
            found = busclique.find_clique_embedding(list(variables), target)
        if not found:
            # Pairs of a variable with itself tell minorminer of those without others.
            source = pairs + [(v, v) for v in variables]
            found = find_embedding(source, target, random_seed=self._seed, timeout=60)
        if not found:
            largest = len(busclique.busgraph_cache(target).largest_clique()) if known else None
            raise ValueError(
                f"A problem of {n} variables and {len(pairs)} pairs does not fit this machine of {len(target)} qubits"
                + (f"; its largest dense problem has {largest} variables" if known else "")
                + ". Take a smaller one, or a classical sampler."
            )
        return {variable: tuple(chain) for variable, chain in found.items()}


def _checked(options: dict[str, Any], bqm: Any) -> dict[str, Any]:
    """Options that the embedding takes part in, which fail in its depths or are taken for others."""
    labels, found = list(bqm.variables), dict(options)
    found["chain_strength"] = checked_strength(options.get("chain_strength"), labels)
    check_chain_break_method(options.get("chain_break_method"))
    for name in ("chain_break_fraction", "return_embedding"):
        if options.get(name) is not None:
            found[name] = check_switch(name, options[name])
    if options.get("initial_state") is not None:
        bits = bits_of("initial_state", options["initial_state"], labels, bqm.vartype.name, "Option", "1")
        if len(bits) != 1:
            raise ValueError(f"Option `initial_state` must be one state, but holds {len(bits)}.")
        values = bits[0] if bqm.vartype is dimod.BINARY else 2 * bits[0] - 1
        found["initial_state"] = dict(zip(labels, values.tolist(), strict=True))
    return found


def dwave_sampler(seed: int | None = None, **construction: Any) -> FixedEmbeddingSampler:
    """A D-Wave machine below a fixed embedding.

    Args:
        seed: for the search of embeddings.
        **construction: of `dwave.system.DWaveSampler`, such as solver, region, profile.

    Raises:
        ImportError: if dwave-system is missing, naming the extra.
        PermissionError: without a token; says how to set one.
        ConnectionError: if D-Wave's service cannot be reached or has no such solver.
    """
    try:
        from dwave.cloud.exceptions import SolverAuthenticationError, SolverError
        from dwave.system import DWaveSampler
    except ImportError as error:
        raise _missing(error) from error
    try:
        return FixedEmbeddingSampler(DWaveSampler(**construction), seed)
    except SolverAuthenticationError:
        # The cause is cut off: a vendor's message may quote what it was given.
        raise PermissionError(f"D-Wave refused the token; {_TOKEN}.") from None
    except ValueError as error:
        if "token" not in str(error).lower():
            raise
        raise PermissionError(f"D-Wave needs an API token, but none was found; {_TOKEN}.") from None
    except SolverError as error:
        raise ConnectionError(
            f"D-Wave has no solver to use: {type(error).__name__}; check region and solver."
        ) from None
    except OSError as error:
        raise ConnectionError(f"D-Wave's service did not answer ({type(error).__name__}); check the network.") from None


def mock_sampler(seed: int | None = None, **construction: Any) -> FixedEmbeddingSampler:
    """D-Wave's offline stand-in below a fixed embedding: it tests plumbing, not physics.

    Its answers come from steepest descent.

    Args:
        seed: of the embedding and the first descent; later ones have one more each.
        **construction: of `MockDWaveSampler`, such as topology_type ("chimera", "pegasus", "zephyr").
    """
    try:
        from dwave.samplers import SteepestDescentSampler
        from dwave.system.testing import MockDWaveSampler
    except ImportError as error:
        raise _missing(error) from error
    if seed is not None:
        seeds = itertools.count(seed)

        class InTurn(SteepestDescentSampler):
            """Steepest descent that has a seed of its own in every call."""

            def sample(self, bqm: Any, **options: Any) -> Any:
                return super().sample(bqm, **{"seed": next(seeds) % (LARGEST_SEED + 1), **options})

        construction = {"substitute_sampler": InTurn(), "substitute_kwargs": {}, **construction}
    return FixedEmbeddingSampler(MockDWaveSampler(parameter_warnings=False, **construction), seed)


def _missing(error: ImportError) -> ImportError:
    return missing_extra(f"D-Wave samplers need dwave-system, but {error.name or 'it'} is missing", "dwave", error.name)
