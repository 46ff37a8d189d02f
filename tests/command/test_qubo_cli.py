"""`qjaxsim qubo solve`."""

import json

import dimod
import numpy as np
import pytest

from qjaxsim.command.main import main
from qjaxsim.command.qubo import energy_histogram
from tests.cases import qubo_file


@pytest.fixture
def problem(tmp_path):
    return qubo_file(tmp_path)


@pytest.mark.parametrize("sampler", ["jax", "exact", "mock"])
def test_prints_lowest_energy_state_and_histogram(problem, sampler, capsys):
    more = [] if sampler == "exact" else ["--seed", "1", "--reads", "20"]
    out = problem.with_suffix(".json")
    assert main(["qubo", "solve", str(problem), "--sampler", sampler, "--out", str(out), *more]) == 0
    text = capsys.readouterr().out
    assert "problem.coo: 3 variables (BINARY), 2 couplings" in text
    assert "lowest energy  -2," in text
    assert "state          1 of 3 at 1: 1" in text
    assert f"s with {sampler}" in text and "#" in text
    assert ("broken chains" in text) == (sampler == "mock")
    found = dimod.SampleSet.from_serializable(json.loads(out.read_text()))
    np.testing.assert_allclose(found.first.energy, -2.0)


def test_an_embedding_of_labels_of_several_parts_is_written(tmp_path):
    bqm = dimod.BQM({(0, 0): 1.0, (0, 1): -2.0}, {((0, 0), (0, 1)): 1.5}, 0.0, "BINARY")
    (tmp_path / "a.json").write_text(json.dumps(bqm.to_serializable()))
    words = ["qubo", "solve", str(tmp_path / "a.json"), "--sampler", "mock", "--out", str(tmp_path / "out.json")]
    assert main([*words, "--seed", "1", "--option", "return_embedding=true"]) == 0
    found = dimod.SampleSet.from_serializable(json.loads((tmp_path / "out.json").read_text()))
    assert found.first.energy == -2 and found.first.sample == {(0, 0): 0, (0, 1): 1}
    embedding = {tuple(label): chain for label, chain in found.info["embedding_context"]["embedding"]}
    assert embedding.keys() == set(bqm.variables) and all(map(len, embedding.values()))


def test_options_reach_the_sampler(problem, capsys):
    words = ["qubo", "solve", str(problem), "--sampler", "sa", "--reads", "3", "--sweeps", "5", "--seed", "2"]
    assert main([*words, "--option", "beta_range=[0.1,2.0]", "--option", "beta_schedule_type=linear"]) == 0
    assert "of 3" in capsys.readouterr().out


def test_options_by_name_take_the_place_of_defaults(problem, capsys):
    words = ["qubo", "solve", str(problem)]
    assert main([*words, "--option", "num_reads=10", "--option", "seed=4"]) == 0
    assert "of 10" in capsys.readouterr().out
    assert main([*words, "--seed", "4", "--time-limit", "60"]) == 0
    text = capsys.readouterr().out
    assert "of 64" in text and "temperatures   inverse, " in text


def test_formats_and_maximisation(tmp_path, capsys):
    path = tmp_path / "graph.dat"
    path.write_text("3 2\n1 2 1\n2 3 2\n")
    assert main(["qubo", "solve", str(path), "--format", "gset", "--sampler", "exact"]) == 0
    assert "lowest energy  -3," in capsys.readouterr().out
    (tmp_path / "a.qubo").write_text("p qubo 0 2 2 1\n0 0 3\n1 1 1\n0 1 -2\n")
    assert main(["qubo", "solve", str(tmp_path / "a.qubo"), "--maximise", "--sampler", "exact"]) == 0
    assert "lowest energy  -3," in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--option", "num_raeds=2"], "has no option `num_raeds` (did you mean 'num_reads'?)"),
        (["--reads", "10", "--option", "num_reads=500"], "Options --reads 10 and --option num_reads=500 say the same"),
        (["--seed", "1", "--option", "seed=4"], "Options --seed 1 and --option seed=4 say the same; give one"),
        (["--option", "seed=1", "--option", "seed=4"], "must give each name once, but 'seed' comes twice"),
        (["--reads", "100000000000"], "must be at most 2147483647, but is 100000000000"),
        (["--vartype", "SPIN"], "the file is over BINARY variables, but --vartype is SPIN"),
        (["--format", "xml"], "Option --format must be one of bqm"),
        (["--number", "2"], "Option --number must be left out"),
        (["--sampler", "steepest", "--time-limit", "1"], "Option --time-limit must be left out for sampler 'steepest'"),
        (["--option", "sweeps=30"], "must name an option of the sampler, but is 'sweeps=30'; give --sweeps 30."),
        (["--option", "oops"], "Option --option must be NAME=VALUE, but is 'oops'"),
        (["--vartype", "QUTRIT"], "Option --vartype must be BINARY or SPIN, but is 'QUTRIT'"),
        (["--sampler", "best"], "Option --sampler must be one of jax"),
        (["--seed", "-3"], "Option --seed must be an integer in 0..2147483647, but is -3"),
    ],
)
def test_bad_input_is_one_line(problem, words, message, capsys):
    assert main(["qubo", "solve", str(problem), *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert main(["qubo", "solve", str(problem.with_name("none.coo"))]) == 2


def test_histograms_count_every_sample():
    few = energy_histogram(np.array([-1.0 + 1e-13, 2.0, -1.0]), np.array([1, 4, 2]), 1e-12)
    assert few == [("-1", 3), ("2", 4)]
    many = energy_histogram(np.linspace(0.0, 12.0, 60), np.ones(60, int), 1e-12)
    assert len(many) == 12 and sum(height for _, height in many) == 60 and many[0] == ("0 .. 1", 5)


@pytest.mark.parametrize(
    ("offset", "first", "second", "levels"),
    [
        (1e6, 1e-3, 5e-4, {"1000000": 1, "1000000.0005": 1, "1000000.001": 1, "1000000.0015": 1}),
        (0.0, -1e-12, -2e-12, {"-3e-12": 1, "-2e-12": 1, "-1e-12": 1, "0": 1}),
        (0.1, -0.2, 0.2, {"-0.1": 1, "0.1": 2, "0.3": 1}),
        (1e3, 0.0, 0.0, {"1000": 4}),
    ],
)
def test_energies_of_any_size_are_told_apart_and_equal_ones_are_not(offset, first, second, levels, tmp_path, capsys):
    file = tmp_path / "problem.coo"
    file.write_text(f"# offset={offset}\n0 0 {first}\n1 1 {second}\n")
    assert main(["qubo", "solve", str(file), "--sampler", "exact"]) == 0
    head, _, bars = capsys.readouterr().out.partition("energies\n")
    assert {label: int(height) for label, height, _ in map(str.split, bars.splitlines())} == levels
    lowest, height = next(iter(levels.items()))
    assert f"lowest energy  {lowest}, found in {height} of 4" in head
