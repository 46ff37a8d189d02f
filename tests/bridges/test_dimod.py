"""Problems to and from dimod, samplers by name, files; energies on every assignment."""

import importlib.util
import itertools
import json
import os
import sys
import threading

import dimod
import numpy as np
import pytest
from qjaxsim_dimod import (
    SAMPLERS,
    JaxAnnealer,
    Qubo,
    make_sampler,
    read_problem,
    sample_heads,
    solve,
    solve_batch,
)
from qjaxsim_dimod.chains import rounded

from qjaxsim import annealing
from tests.cases import assignments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"matrix": [[np.nan]]}, "Biases must be finite, but the linear one of variable 0 is nan"),
        ({"matrix": [[0.0, np.inf], [0.0, 0.0]]}, r"Biases must be finite, but that of the pair \(0, 1\) is inf"),
        ({"matrix": [[0.0]], "offset": np.inf}, "Argument `offset` must be finite, but is inf"),
        ({"matrix": np.zeros((0, 0))}, "at least one variable, but this one is empty"),
        ({"matrix": np.zeros((2, 3))}, r"Argument `matrix` must be square, but has shape \(2, 3\)"),
        ({"matrix": np.eye(2), "linear": [1.0]}, r"Argument `linear` must have shape \(2,\), but has shape \(1,\)"),
        ({"matrix": np.eye(2), "labels": ["a", "a"]}, "Argument `labels` must name the 2 variables, each once"),
        ({"matrix": np.ma.array(np.eye(2), mask=[[0, 1], [0, 0]])}, "Argument `matrix` must be whole, but has masked"),
        ({"matrix": np.eye(1), "linear": np.ma.array([1.0], mask=[1])}, "`linear` must be whole, but has masked"),
        ({"matrix": np.eye(2), "vartype": "TERNARY"}, "Argument `vartype` must be 'BINARY' or 'SPIN'"),
    ],
)
def test_bad_problems_get_one_clear_line(arguments, message):
    with pytest.raises(ValueError, match=message):
        Qubo.from_matrix(**arguments)


def test_more_bad_problems():
    with pytest.raises(ValueError, match="must be strictly upper triangular"):
        Qubo(np.zeros(2), np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"shapes \(n,\) and \(n, n\), but have \(2,\) and \(3, 3\)"):
        Qubo(np.zeros(2), np.zeros((3, 3)))
    with pytest.raises(ValueError, match="this one is empty"):
        Qubo.from_bqm(dimod.BinaryQuadraticModel("BINARY"))
    with pytest.raises(TypeError, match="Argument `bqm` must be a dimod.BinaryQuadraticModel, but is .* .dict."):
        Qubo.from_bqm({(0, 1): 1.0})
    with pytest.raises(ValueError, match="the linear one of variable 'a' is nan"):
        solve(dimod.BinaryQuadraticModel({"a": np.nan}, {}, "BINARY"), "sa")
    with pytest.raises(ValueError, match=r"Argument `samples` must have shape \(R, 2\)"):
        Qubo.from_matrix(np.eye(2)).energies([[1, 0, 1]])
    for vartype, values, said in (("SPIN", [0, 1], "-1"), ("BINARY", [-1, 1], "0"), ("SPIN", [0.5, np.nan], "-1")):
        with pytest.raises(ValueError, match=f"Argument `samples` must hold {said} and 1 only"):
            Qubo.from_matrix(np.eye(2), vartype=vartype).energies(values)
    with pytest.raises(ValueError, match="Argument `problem` must hold labels and real biases .int too large"):
        solve({(0, 1): 10**400})
    for one in (problem_of(3), {(0, 0): 1.0}, dimod.BinaryQuadraticModel("SPIN"), 3):
        with pytest.raises(TypeError, match=f"`problems` must be a list of problems, but is a {type(one).__name__}"):
            solve_batch(one)


def test_a_spin_s_pair_with_itself_is_an_offset_and_keeps_the_spin():
    for h, J, spins, least in (
        ({}, {(0, 0): 0.5}, {0}, 0.5),
        ({}, {("a", "a"): 0.5, (1, 2): 1.0}, {1, 2, "a"}, -0.5),
        ({0: 1.0}, {(0, 0): 0.5, (1, 1): 1.0}, {0, 1}, 0.5),
    ):
        found = solve((h, J), "exact")
        assert set(found.variables) == spins and found.first.energy == least


def test_structured_problems_give_labelled_sample_sets():
    rng = np.random.default_rng(5)
    c = rng.normal(size=(2, 2, 5, 5))
    problem = annealing.HeadsProblem((c + c.swapaxes(2, 3)) * (1 - np.eye(5)), rng.normal(size=(2, 2, 5)), 0.9)
    states = assignments(10)
    for i, found in enumerate(sample_heads(problem, num_reads=20, num_sweeps=30, seed=1)):
        qubo = Qubo.from_heads(problem, i)
        assert list(found.variables)[:2] == [(0, 0), (0, 1)]
        np.testing.assert_allclose(found.record.energy, qubo.to_bqm().energies(found), atol=1e-9)
        np.testing.assert_allclose(found.first.energy, qubo.energies(states).min(), atol=1e-9)


# --- samplers --------------------------------------------------------------------------------------------------------


def problem_of(n, seed=0, vartype="BINARY"):
    rng = np.random.default_rng(seed)
    labels = [f"v{i}" for i in range(n)]
    return Qubo.from_matrix(
        rng.normal(size=(n, n)), linear=rng.normal(size=n), offset=1.5, labels=labels, vartype=vartype
    )


def test_the_annealer_keeps_dimod_s_protocol():
    sampler = JaxAnnealer()
    dimod.testing.assert_sampler_api(sampler)
    bqm = problem_of(5, vartype="SPIN").to_bqm()
    found = sampler.sample(bqm, num_reads=3, num_sweeps=5, seed=1)
    dimod.testing.assert_sampleset_energies(found, bqm)
    dimod.testing.assert_response_energies(
        sampler.sample_qubo({("a", "b"): -1.0}, num_reads=2, num_sweeps=3, seed=1),
        dimod.BQM.from_qubo({("a", "b"): -1.0}),
    )
    ising = sampler.sample_ising({"a": 1.0}, {("a", "b"): -1.0}, num_reads=2, num_sweeps=3, seed=1)
    assert ising.first.sample == {"a": -1, "b": -1}
    with pytest.warns(dimod.exceptions.SamplerUnknownArgWarning):
        sampler.sample(bqm, num_reads=1, num_sweeps=1, seed=0, chain_strength=1.0)


def test_all_samplers_find_the_lowest_energy_and_return_sample_sets():
    qubo = problem_of(8)
    lowest = qubo.energies(assignments(8)).min()
    for name in SAMPLERS:
        if name == "dwave":
            continue
        seed = {} if name == "exact" else {"seed": 3}
        reads = {} if name == "exact" else {"num_reads": 400 if name == "random" else 40}
        found = solve(qubo, name, **seed, **reads)
        assert isinstance(found, dimod.SampleSet) and found.vartype is dimod.BINARY
        np.testing.assert_allclose(found.record.energy, qubo.to_bqm().energies(found), atol=1e-9)
        assert found.first.energy <= lowest + (1.5 if name == "random" else 1e-9)
        assert found.first.energy >= lowest - 1e-9


def test_equal_seeds_give_equal_samples():
    qubos = [problem_of(6, 1), problem_of(9, 2), problem_of(4, 3, "SPIN")]
    for name in ("jax", "sa", "mock"):
        first, second = (solve_batch(qubos, name, seed=5, num_reads=4) for _ in range(2))
        for one, other, qubo in zip(first, second, qubos, strict=True):
            np.testing.assert_array_equal(one.record.sample, other.record.sample)
            assert list(one.variables) == list(qubo.labels)
            assert one.vartype.name == qubo.vartype
            np.testing.assert_allclose(one.record.energy, qubo.to_bqm().energies(one), atol=1e-9)


def test_annealer_finds_the_minimum_of_16_variables_and_follows_its_options():
    qubo = problem_of(16, 4)
    lowest = qubo.energies(assignments(16)).min()
    found = solve(qubo, "jax", seed=0, num_reads=30)
    np.testing.assert_allclose(found.first.energy, lowest)
    best = [found.first.sample[label] for label in qubo.labels]
    stay = {"num_reads": 1, "seed": 0, "initial_states": [best]}
    cold = solve(qubo, "jax", num_sweeps=3, beta_range=(1e6, 1e6), **stay)
    np.testing.assert_allclose(cold.record.energy, [lowest])
    # Hot, with nothing after it, the chain leaves the minimum.
    hot = solve(qubo, "jax", beta_schedule=[1e-6, 1e-6, 1e-6], descent=False, **stay)
    assert hot.record.energy[0] > lowest + 1e-3
    np.testing.assert_allclose(solve(qubo, "jax", seed=0, num_reads=30, bits=8).first.energy, lowest, rtol=0.1)
    huge = Qubo(qubo.linear * 1e200, qubo.quadratic * 1e200)
    np.testing.assert_allclose(solve(huge, "jax", seed=0, num_reads=30).first.energy, (lowest - 1.5) * 1e200)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sa", {"num_sweep": 3}, r"Sampler 'sa' has no option `num_sweep` \(did you mean 'num_sweeps'\?\); its "),
        ("jax", {"num_read": 3}, r"Sampler 'jax' has no option `num_read` \(did you mean 'num_reads'\?\); its "),
        ("exact", {"num_reads": 3}, "Sampler 'exact' has no option `num_reads`; its options: none"),
        ("sa", {"seed": 2**31}, "Argument `seed` must be an integer in 0..2147483647, but is 2147483648"),
        ("jax", {"seed": -1}, "Argument `seed` must be an integer in 0..2147483647, but is -1"),
        ("jax", {"seed": 1.5}, "Argument `seed` must be an integer in 0..2147483647, but is 1.5"),
        ("exact", {"seed": 1}, "Argument `seed` must be left out for sampler 'exact'"),
        ("anneal", {}, "Argument `sampler` must be one of jax, neal, sa, .* but is 'anneal'"),
        ("sa", {"num_reads": 0}, "Option `num_reads` must be an integer of at least 1, but is 0"),
        ("jax", {"num_sweeps": -1}, "Option `num_sweeps` must be an integer of at least 0, but is -1"),
        ("jax", {"descent": "no"}, "Option `descent` must be True or False, but is 'no'"),
        ("jax", {"bits": 1}, "Option `bits` must be an integer of at least 2, but is 1"),
        ("jax", {"beta_range": (1.0, -1.0)}, "Option `beta_range` must be two positive numbers"),
        ("jax", {"beta_schedule": [np.nan]}, "Option `beta_schedule` must be a list of finite numbers"),
        ("jax", {"beta_schedule": [1.0, 2.0], "num_sweeps": 3}, "Option `num_sweeps` must be left out .* but is 3"),
        ("jax", {"beta_schedule": [1.0], "beta_range": (1, 2)}, "Option `beta_range` must be left out beside"),
        ("jax", {"initial_states": [[0, 1]]}, r"Option `initial_states` must have shape \(reads, 3\)"),
        ("jax", {"initial_states": [[0, 1, 2]]}, "Option `initial_states` must hold 0 and 1 only"),
        ("jax", {"initial_states": np.empty((0, 3))}, "Option `initial_states` must hold at least one state, but is e"),
        ("sa", {"initial_states": np.empty((0, 3))}, "Option `initial_states` must hold at least one state, but is e"),
        ("jax", {"bits": 54}, "Option `bits` must be at most 53, but is 54"),
        ("tabu", {"time_limit": 1.0, "timeout": 5}, "`time_limit` must be left out beside option `timeout`; give one"),
        ("mock", {"chain_strength": np.nan}, "Option `chain_strength` must be a number that .* but is nan"),
        ("mock", {"chain_strength": -1.0}, r"Option `chain_strength` must be a number that .* but is -1\.0"),
        ("mock", {"chain_strength": "2"}, "Option `chain_strength` must be a number that .* but is '2'"),
        ("mock", {"chain_strength": True}, "Option `chain_strength` must be a number that .* but is True"),
        ("mock", {"chain_strength": {"v0": 1.0, "v2": 1.0}}, "`chain_strength` must name the .* lacks 'v1'"),
        ("mock", {"chain_strength": lambda *_: np.inf}, "Option `chain_strength` must be a number that .* but is inf"),
        ("mock", {"chain_break_method": "discard"}, "Option `chain_break_method` must be a function, .* is 'discard'"),
        ("mock", {"chain_break_fraction": "no"}, "Option `chain_break_fraction` must be True or False, but is 'no'"),
        ("mock", {"return_embedding": 1}, "Option `return_embedding` must be True or False, but is 1"),
        ("mock", {"initial_state": {"v0": 1, "v2": 0}}, "`initial_state` must name the .* 3 variables, but lacks 'v1'"),
        ("mock", {"initial_state": [0, 1, 7]}, "Option `initial_state` must hold 0 and 1 only"),
        ("mock", {"initial_state": np.eye(3)}, "Option `initial_state` must be one state, but holds 3"),
    ],
)  # fmt: skip
def test_bad_options_get_one_clear_line(name, options, message):
    with pytest.raises(ValueError, match=message):
        solve(problem_of(3), name, **options)


@pytest.mark.parametrize("name", ["jax", "sa"])
def test_counts_are_numpy_s_integers_of_any_width(name):
    found = solve(problem_of(3), name, num_reads=np.int8(100), num_sweeps=np.uint8(2), seed=1)
    assert len(found) == 100


@pytest.mark.parametrize(
    ("bits", "h", "j", "rounded_h", "rounded_j"),
    [
        (3, [3.0, -0.4, 1.6, 0.2], [-0.6, 2.4], [3, 0, 2, 0], [-1, 2]),  # in steps of 3 / 3
        (4, [0.3, -0.8, 1.6, 0.2], [-3.5, 2.4], [0.5, -1, 1.5, 0], [-3.5, 2.5]),  # in steps of 3.5 / 7
    ],
)
def test_biases_are_rounded_to_fractions_of_the_largest(bits, h, j, rounded_h, rounded_j):
    model = dimod.BinaryQuadraticModel.from_ising(dict(enumerate(h)), {(0, 1): j[0], (3, 2): j[1]})
    found = rounded(Qubo.from_bqm(model), bits)
    places = [found.labels.index(variable) for variable in range(4)]
    np.testing.assert_allclose(found.linear[places], rounded_h, atol=1e-12)
    pairs = found.pairs.toarray() + found.pairs.toarray().T
    np.testing.assert_allclose([pairs[places[0], places[1]], pairs[places[3], places[2]]], rounded_j, atol=1e-12)


def test_a_wrong_number_of_bits_spoils_no_later_call():
    problem = annealing.HeadsProblem(np.zeros((1, 1, 2, 2)), np.array([[[1.0, -1.0]]]), 0.0)
    for wrong in (4.0, True, 1, 100):
        with pytest.raises(ValueError, match=f"Option `bits` must be .* but is {wrong}"):
            sample_heads(problem, bits=wrong)
    for bits in (np.int8(4), 53):
        assert sample_heads(problem, bits=bits)[0].first.energy == -1


def test_a_model_without_variables_has_its_offset():
    """As composites hand on that fix all of them."""
    empty = dimod.BQM({}, {}, 1.5, "SPIN")
    theirs = make_sampler("random").sample(empty, num_reads=3)
    embedded = make_sampler("mock", topology_type="chimera", topology_shape=[1, 1, 4]).sample(empty, num_reads=3)
    for found in (JaxAnnealer().sample(empty, num_reads=3, num_sweeps=2), embedded):
        assert found.record.sample.shape == theirs.record.sample.shape == (3, 0) and found.vartype is theirs.vartype
        assert found.record.energy.tolist() == theirs.record.energy.tolist() == [1.5] * 3


def test_problems_too_large_say_the_limit(monkeypatch):
    with pytest.raises(ValueError, match="at most 22 variables, but the problem has 23"):
        solve(problem_of(23), "exact")
    with pytest.raises(
        ValueError,
        match="18 variables and 153 pairs does not fit this machine of 128 qubits; its largest dense problem has 16",
    ):
        solve(problem_of(18), "mock", seed=0)
    with pytest.raises(TypeError, match=r"is the class RandomSampler; call it: RandomSampler\(\)"):
        solve({(0, 0): 1.0}, dimod.RandomSampler)
    with pytest.raises(ValueError, match="must hold at least one problem"):
        JaxAnnealer().sample_batch([])
    with pytest.raises(ValueError, match="goes with a single problem"):
        JaxAnnealer().sample_batch([problem_of(3), problem_of(3)], initial_states=[[0, 0, 0]])
    monkeypatch.setattr("qjaxsim.common.memory.available_bytes", lambda: 50)
    with pytest.raises(MemoryError, match="A dense matrix of 3 variables needs"):
        _ = Qubo.from_bqm(problem_of(3).to_bqm()).quadratic
    with pytest.raises(MemoryError, match="Annealing 16 reads and 200 sweeps of 3 variables needs"):
        solve(problem_of(3), "jax")
    with pytest.raises(MemoryError, match="Samples of 40 reads of 3 variables needs"):
        solve(problem_of(3), "sa", num_reads=40)


def test_no_token_is_said_without_a_network(monkeypatch, tmp_path):
    for name in ("DWAVE_API_TOKEN", "DWAVE_PROFILE", "DWAVE_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    empty = tmp_path / "dwave.conf"
    empty.write_text("[defaults]\n")
    monkeypatch.setenv("DWAVE_CONFIG_FILE", str(empty))
    with pytest.raises(PermissionError, match="D-Wave needs an API token, but none was found; set DWAVE_API_TOKEN"):
        solve(problem_of(3), "dwave")


def test_missing_packages_name_their_extra(monkeypatch):
    for name in ("dwave", "mock"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "dwave.system", None)
            patch.setitem(sys.modules, "dwave.system.testing", None)
            with pytest.raises(ImportError, match=r'need dwave-system, but .*"\.\[dwave\]" in a clone'):
                solve(problem_of(3), name)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install -e "\.\[dimod\]" in a clone'):
        importlib.reload(sys.modules["qjaxsim_dimod"])


# --- files -----------------------------------------------------------------------------------------------------------


def test_files_of_every_format(tmp_path):
    qubo = Qubo.from_matrix(problem_of(4).quadratic, linear=[1.0, -2.0, 3e-7, 0.5], offset=0.25, vartype="SPIN")
    bqm, states = qubo.to_bqm(), assignments(4, "SPIN")
    with bqm.to_file() as content:
        (tmp_path / "a.bqm").write_bytes(content.read())
    (tmp_path / "a.json").write_text(json.dumps(bqm.to_serializable()))
    np.savez(tmp_path / "a.npz", quadratic=qubo.quadratic, linear=qubo.linear, offset=0.25, vartype="SPIN")
    lines = ["# vartype=SPIN", *(f"{i} {i} {h!r}" for i, h in enumerate(qubo.linear.tolist()))]
    lines += [f"{j} {i} {qubo.quadratic[i, j]:.17e}" for i, j in itertools.combinations(range(4), 2)]
    (tmp_path / "a.coo").write_text("\n".join(lines))
    for name in ("a.bqm", "a.json", "a.npz", "a.coo"):
        read = read_problem(tmp_path / name)
        assert read.vartype == "SPIN"
        shift = 0.25 if name == "a.coo" else 0.0
        np.testing.assert_allclose(read.energies(states) + shift, qubo.energies(states), atol=1e-12)
    np.save(tmp_path / "a.npy", np.triu(np.ones((3, 3))))
    assert read_problem(tmp_path / "a.npy").energies([[1, 1, 1]]) == 6.0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xyz", "", "must end in one of .bqm"),
        ("a.coo", "0 1", 'line 1 must be "i j bias"'),
        ("a.coo", "# remark\n0 -1 2.0", 'line 2 must be "i j bias"'),
        ("a.coo", "0 1 nan", r"that of the pair \(0, 1\) is nan"),
        ("a.coo", "# nothing", "this one is empty"),
        ("a.json", "{}", "must hold to_serializable"),
        ("a.json", "{", "a.json"),
        ("a.npz", "damaged", "a.npz"),
        ("a.bqm", "damaged", "a.bqm"),
    ],
)
def test_bad_files_get_one_clear_line(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_problem(tmp_path / name)
    np.savez(tmp_path / "b.npz", other=np.eye(2))
    with pytest.raises(ValueError, match="must hold either `matrix` or `quadratic`"):
        read_problem(tmp_path / "b.npz")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_problem(tmp_path / "none.npz")
    with pytest.raises(ValueError, match="is a folder; name the file in it"):
        read_problem(tmp_path)


def test_a_problem_is_read_from_a_pipe(tmp_path):
    # What `qubo solve <(...)` and /dev/stdin give.
    os.mkfifo(tmp_path / "pipe")
    text = "p qubo 0 2 1 1\n0 0 -1\n0 1 3\n"
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=(text,))
    writer.start()
    found = read_problem(tmp_path / "pipe", format="qbsolv")
    writer.join()
    np.testing.assert_array_equal(found.energies([[1, 0], [1, 1]]), [-1.0, 2.0])
