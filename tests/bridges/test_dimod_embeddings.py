"""Embeddings of problems in a machine's graph: found once, with their options for each variable."""

import dimod
import numpy as np
import pytest
from qjaxsim_dimod import FixedEmbeddingSampler, Qubo, make_sampler, solve, solve_batch

from tests.bridges.test_dimod import problem_of


def test_one_embedding_serves_a_batch():
    sampler = make_sampler("mock", seed=1, topology_type="pegasus")
    assert isinstance(sampler, FixedEmbeddingSampler)
    dimod.testing.assert_sampler_api(sampler)
    found = solve_batch([problem_of(6, i) for i in range(3)], sampler, num_reads=5, return_embedding=True)
    assert sampler.embeddings == 1
    first, second = (one.info["embedding_context"]["embedding"] for one in found[:2])
    assert first == second and len(first) == 6
    assert "chain_break_fraction" in found[0].record.dtype.names
    sparse = Qubo(np.ones(20), np.diag(np.ones(19), 1))
    assert solve(sparse, "mock", seed=0, num_reads=5).first.energy == 0
    solve(sparse, sampler)
    assert sampler.embeddings == 2


def test_an_embedding_is_found_in_a_graph_of_no_machine():
    """A square with a diagonal, around which a square without one closes."""
    edges = [(0, 1), (1, 2), (2, 3), (3, 0), (0, 2)]
    sampler = FixedEmbeddingSampler(dimod.StructureComposite(dimod.ExactSolver(), range(4), edges), seed=0)
    ring = dimod.BQM({}, {"ab": 1.0, "bc": 1.0, "cd": 1.0, "ad": -1.0}, 0.0, "SPIN")
    assert solve(ring, sampler).first.energy == -2  # one of its four is left at odds
    with pytest.raises(ValueError, match="10 pairs does not fit this machine of 4 qubits. Take a smaller one"):
        solve(problem_of(5), sampler)


def test_strengths_and_first_states_reach_the_qubits_of_each_variable(monkeypatch):
    sampler, seen = make_sampler("mock", seed=1, topology_type="chimera", topology_shape=[2, 2, 4]), []
    sample = sampler.child.sample

    def recorded(bqm, **options):
        seen.append((bqm, options["initial_state"]))
        return sample(bqm, **options)

    monkeypatch.setattr(sampler.child, "sample", recorded)
    clique = dimod.BQM({}, {(i, j): 1.0 for i in (3, 1, 0, 2) for j in range(i)}, 0.0, "SPIN")
    assert list(clique.variables) != sorted(clique.variables)
    start, strengths = {3: 1, 0: -1, 1: -1, 2: 1}, {0: 2.0, 1: 3.0, 2: 4.0, 3: 5.0}
    for state in (start, [start[v] for v in clique.variables]):
        for strength in (strengths, lambda bqm, embedding: strengths):
            found = solve(clique, sampler, initial_state=state, chain_strength=strength, return_embedding=True)
            (embedded, first), embedding = seen.pop(), found.info["embedding_context"]["embedding"]
            for v, chain in embedding.items():
                assert {first[qubit] for qubit in chain} == {start[v]} and len(chain) > 1
                inside = [bias for (a, b), bias in embedded.quadratic.items() if {a, b} <= {*chain}]
                assert {*inside} == {-strengths[v]}


def test_what_is_no_sampler_is_refused():
    for wrong, shown in ((dimod.ExactCQMSolver(), "ExactCQMSolver"), (None, "NoneType"), (3, "int")):
        with pytest.raises(TypeError, match=rf"`sampler` must be a name or a sampler of quadratic .* \({shown}\)"):
            solve(problem_of(3), wrong)
    with pytest.raises(TypeError, match=r"`child` must be a structured sampler, .* \(ExactSolver\)"):
        FixedEmbeddingSampler(dimod.ExactSolver())
