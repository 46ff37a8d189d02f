"""Exact descents, default temperatures, warm starts, the sparse form, what `solve` takes and refuses."""

import itertools
import re
from fractions import Fraction

import dimod
import numpy as np
import pytest
from qjaxsim_dimod import Qubo, annealer, solve, solve_batch
from qjaxsim_dimod.temperatures import default_schedule
from scipy import sparse

from qjaxsim.annealing import sparse as annealing_sparse
from tests.cases import mostly_slow


def lowering_flips(bqm, found):
    """Flips that lower the energy of a sample, over all samples, in rational arithmetic."""
    count = 0
    for sample in found.samples(sorted_by=None):
        for v in bqm.variables:
            field = Fraction(float(bqm.linear[v]))
            field += sum(Fraction(float(bias)) * int(sample[u]) for u, bias in bqm.iter_neighborhood(v))
            step = -2 * int(sample[v]) if bqm.vartype is dimod.SPIN else 1 - 2 * int(sample[v])
            count += step * field < 0
    return count


@pytest.mark.parametrize("form", ["dense", "sparse"])
@pytest.mark.parametrize("ratio", mostly_slow([1e7, 1e8, 1e9, 1e16, 1e200], keep=[0, 4]))
def test_one_large_bias_hides_no_small_one(form, ratio):
    bqm = dimod.BQM({"pin": ratio, **{i: (-1.0) ** i for i in range(20)}}, {}, 0.0, "SPIN")
    found = solve(bqm, "jax", num_reads=16, seed=1, form=form)
    assert lowering_flips(bqm, found) == 0
    samples = found.record.sample[:, 1:]
    np.testing.assert_array_equal(samples @ np.array([(-1) ** i for i in range(20)]), -20)
    np.testing.assert_array_equal(found.record.energy, bqm.energies(found))


@pytest.mark.parametrize("vartype", mostly_slow(["BINARY", "SPIN"], keep=1))
@pytest.mark.parametrize("form", ["dense", "sparse"])
@pytest.mark.parametrize("descend_only", mostly_slow([True, False], keep=1))
def test_no_read_ends_above_a_single_flip_minimum(vartype, form, descend_only):
    rng = np.random.default_rng(3)
    for scale in (0, 1, 9, 17):
        biases = rng.choice([-0.3, -0.1, 0.1, 0.2, 1.0], (12, 12)) * 10.0 ** rng.integers(0, scale + 1, (12, 12))
        bqm = Qubo.from_matrix(np.triu(biases), vartype=vartype).to_bqm()
        found = solve(bqm, "jax", num_reads=8, seed=2, form=form, num_sweeps=0 if descend_only else 20)
        assert lowering_flips(bqm, found) == 0
        np.testing.assert_array_equal(found.record.energy, bqm.energies(found))


@pytest.mark.parametrize("n", [16, 20])
def test_a_sum_of_powers_of_two_is_met(n):
    target, weights = int(0.637 * 2**n), 2.0 ** np.arange(n)
    pairs = np.triu(2 * np.outer(weights, weights), 1)
    qubo = Qubo(weights**2 - 2 * target * weights, pairs, float(target) ** 2)
    assert solve(qubo, "jax", num_reads=64, seed=1).first.energy == 0


def spin_glass(n=200):
    rng = np.random.default_rng(0)
    return np.triu(rng.normal(size=(n, n)) / np.sqrt(n), 1)


@pytest.mark.parametrize("field", [1e3, 1e8, 1e-6])
def test_temperatures_do_not_follow_one_variable(field):
    couplings = spin_glass()
    plain = default_schedule(Qubo(np.zeros(200), couplings, vartype="SPIN"), 50)
    linear = np.zeros(201)
    linear[-1] = field
    outlier = Qubo(linear, np.pad(couplings, ((0, 1), (0, 1))), vartype="SPIN")
    np.testing.assert_allclose(default_schedule(outlier, 50), plain, rtol=1e-12)
    # Inverses of the smallest doubles overflow.
    assert np.isfinite(default_schedule(Qubo(np.array([5e-324, -1e-310, 1e-308]), np.zeros((3, 3))), 50)).all()


def test_a_spin_glass_with_an_outlier_is_solved_as_without():
    linear = np.zeros(201)
    linear[-1] = 1e3
    qubo = Qubo(linear, np.pad(spin_glass(), ((0, 1), (0, 1))), 1e3, vartype="SPIN")
    found = solve(qubo, "jax", num_reads=64, num_sweeps=200, seed=1)
    # Steepest descent's mean is -132.4, a schedule that follows the outlier -134.9, one that does not -146.
    assert found.record.energy.mean() < -145


# --- warm starts -----------------------------------------------------------------------------------------------------


def unordered_model(vartype="SPIN"):
    return dimod.BQM({"z": 1.0, "y": -2.0, "x": 0.5, "w": 3.0}, {"zy": 1.0, "xw": 2.0, "zw": -0.7}, 0.25, vartype)


@pytest.mark.parametrize("vartype", ["BINARY", "SPIN"])
def test_warm_starts_match_labels_whatever_their_form(vartype):
    bqm = unordered_model(vartype)
    first = solve(bqm, "jax", seed=1, num_reads=6, num_sweeps=0, descent=False)
    assert list(first.variables) == ["z", "y", "x", "w"]
    still = {"num_sweeps": 0, "descent": False}
    rows = list(first.record.sample[:, ::-1])
    for given in (
        first,
        first.record.sample,
        (np.array(rows), ["w", "x", "y", "z"]),
        [dict(sample) for sample in first.samples(sorted_by=None)],
        dimod.SampleSet.from_samples_bqm(first, bqm, sort_labels=True),
        first.change_vartype("SPIN" if vartype == "BINARY" else "BINARY", inplace=False),
    ):
        np.testing.assert_array_equal(
            solve(bqm, "jax", initial_states=given, **still).record.energy, first.record.energy
        )
    for best in (dict(first.first.sample), first.first):
        one = solve(bqm, "jax", initial_states=best, **still)
        np.testing.assert_array_equal(one.record.energy, [first.first.energy])


@pytest.mark.parametrize("sampler", ["sa", "steepest", "tabu", "path-integral", "random", "exact", "mock"])
def test_every_sampler_s_columns_are_in_the_model_s_order(sampler):
    for bqm in (unordered_model(), unordered_model().binary):  # a model, and a view of one
        found = solve(bqm, sampler, **({} if sampler == "exact" else {"seed": 1, "num_reads": 3}))
        assert list(found.variables) == ["z", "y", "x", "w"] and found.vartype is bqm.vartype
        np.testing.assert_allclose(bqm.energies((found.record.sample, "zyxw")), found.record.energy, atol=1e-12)


def test_other_samplers_take_arrays_in_the_model_s_order():
    bqm = unordered_model()
    start = solve(bqm, "random", seed=1, num_reads=5)
    found = solve(bqm, "sa", initial_states=start.record.sample, num_reads=5, num_sweeps=0, seed=1)
    np.testing.assert_allclose(found.record.energy, start.record.energy, atol=1e-12)


def test_a_row_with_its_labels_is_no_two_rows():
    three = dimod.BQM({2: 1.0, 1: -2.0, 0: 4.0}, {}, 0.0, "BINARY")
    qubo, pairs = Qubo.from_bqm(three), Qubo([1.0, 2.0], np.zeros((2, 2)), labels=[(0, 1), (0, 0)])
    np.testing.assert_array_equal(qubo.energies(([1, 0, 0], [0, 1, 2])), [4.0])
    np.testing.assert_array_equal(qubo.energies((np.array([0, 0, 1]), np.array([0, 1, 2]))), [1.0])
    np.testing.assert_array_equal(pairs.energies(([1, 0], [(0, 0), (0, 1)])), [2.0])
    two = Qubo([1.0, 2.0], np.zeros((2, 2)), labels=[1, 0])
    np.testing.assert_array_equal(two.energies([[1, 0], [0, 1]]), [1.0, 2.0])
    np.testing.assert_array_equal(two.energies(([1, 1], [0, 0])), [3.0, 0.0])
    with pytest.raises(ValueError, match="`samples` may be two states, or one with its labels; give a dict, or an ar"):
        two.energies(([1, 0], [0, 1]))


def test_energies_match_labels():
    bqm = unordered_model()
    samples = solve(bqm, "sa", num_reads=4, seed=1)
    np.testing.assert_allclose(Qubo.from_bqm(bqm).energies(samples), samples.record.energy)
    other = {"SPIN": "BINARY", "BINARY": "SPIN"}[bqm.vartype.name]
    changed = samples.change_vartype(other, inplace=False)
    np.testing.assert_allclose(Qubo.from_bqm(bqm).energies(changed), samples.record.energy)
    with pytest.raises(ValueError, match="Argument `samples` must name the problem's 4 variables, but lacks 'z'"):
        Qubo.from_bqm(bqm).energies({"y": 1, "x": 1, "w": 1})
    with pytest.raises(ValueError, match="Option `initial_states` .* has 'v', which the problem has not"):
        solve(bqm, "jax", initial_states={"z": 1, "y": 1, "x": 1, "w": 1, "v": 1})


# --- the sparse form -------------------------------------------------------------------------------------------------


def sparse_model(n, degree, seed=0, labels=None):
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(n, size=(2, n * degree // 2))
    keep = rows != columns
    values = rng.choice([-1.0, 1.0], keep.sum())
    return dimod.BQM.from_numpy_vectors(np.zeros(n), (rows[keep], columns[keep], values), 0.0, "SPIN")


def test_colours_part_neighbours_and_layouts_hold_every_coupling():
    rng = np.random.default_rng(1)
    dense = np.triu(rng.normal(size=(300, 300)) * (rng.random((300, 300)) < 0.05), 1)
    dense[0, 1:] = rng.normal(size=299)  # a hub
    matrix = sparse.csr_array(dense + dense.T)
    colour = annealing_sparse.colours(matrix)
    assert colour.min() == 0 and (colour[matrix.tocoo().coords[0]] != colour[matrix.tocoo().coords[1]]).all()
    problem = annealing_sparse.sparse_problem(matrix, rng.normal(size=300), np.float64)
    assert len(problem.blocks) == 2
    found = np.zeros((len(problem.linear),) * 2)
    for blocks in problem.blocks:
        size = blocks.neighbours.shape[2]
        for b in range(len(blocks.pointers) - 1):
            for c, s in itertools.product(range(blocks.pointers[b], blocks.pointers[b + 1]), range(size)):
                row = blocks.first + b * size + s
                np.add.at(found[row], blocks.neighbours[c, :, s], blocks.couplings[c, :, s])
    np.testing.assert_array_equal(found[np.ix_(problem.positions, problem.positions)], matrix.toarray())


def test_the_sparse_chain_has_boltzmann_s_law():
    rng = np.random.default_rng(4)
    couplings, fields = np.triu(rng.normal(size=(5, 5)), 1), rng.normal(size=5)
    states = np.array(list(itertools.product((-1, 1), repeat=5)))
    qubo, reads, beta = Qubo(fields, couplings, vartype="SPIN"), 10_000, 0.4
    weights = np.exp(-beta * qubo.energies(states))
    law = weights / weights.sum()
    drawn = solve(
        qubo, "jax", form="sparse", seed=1, num_reads=reads, beta_schedule=np.full(30, beta), descent=False
    ).record.sample  # fmt: skip
    counts = np.bincount((drawn + 1) // 2 @ (2 ** np.arange(4, -1, -1)), minlength=32)
    # 31 degrees of freedom: mean 31, standard deviation 7.9.
    assert ((counts - reads * law) ** 2 / (reads * law)).sum() < 31 + 5 * np.sqrt(62)


def test_forms_find_the_same_minimum_and_are_chosen_by_density():
    rng = np.random.default_rng(5)
    qubo = Qubo.from_matrix(np.triu(rng.normal(size=(14, 14))), labels=[f"v{i}" for i in range(14)])
    states = np.array(list(itertools.product((0, 1), repeat=14)))
    for form in ("dense", "sparse"):
        found = solve(qubo, "jax", form=form, num_reads=20, seed=1)
        np.testing.assert_allclose(found.first.energy, qubo.energies(states).min())
        assert found.info["form"] == form
    with pytest.raises(ValueError, match="Option `form` must be one of auto, dense, sparse, but is 'thin'"):
        solve(qubo, "jax", form="thin")
    few = solve_batch([sparse_model(300, 4), qubo], "jax", num_reads=2, num_sweeps=2, seed=1)
    assert [one.info["form"] for one in few] == ["sparse", "dense"]


def test_large_sparse_problems_are_never_dense(monkeypatch):
    bqm = sparse_model(20_000, 4)
    # A dense matrix of doubles would be 3.2 GB.
    monkeypatch.setattr("qjaxsim.common.memory.available_bytes", lambda: 10**9)
    monkeypatch.setattr(sparse.csr_array, "toarray", None)
    for sampler, options in (("sa", {"num_sweeps": 2}), ("jax", {"num_sweeps": 2}), ("steepest", {})):
        found = solve(bqm, sampler, num_reads=2, seed=1, **options)
        np.testing.assert_allclose(bqm.energies(found), found.record.energy)


def test_models_reach_samplers_untouched():
    class Recorder(dimod.ExactSolver):
        def sample(self, bqm, **options):
            self.seen = bqm
            return super().sample(bqm, **options)

    recorder, bqm = Recorder(), unordered_model()
    solve(bqm, recorder)
    assert recorder.seen is bqm


@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_problems_of_a_batch_have_random_numbers_of_their_own(form):
    bqm = sparse_model(400, 4)
    found = solve_batch([bqm] * 3, "jax", form=form, num_reads=2, num_sweeps=0, descent=False, seed=1)
    for one, other in itertools.combinations(found, 2):
        equal = (one.record.sample == other.record.sample).mean()
        assert abs(equal - 0.5) < 5 * 0.5 / np.sqrt(800)
    alone = solve(bqm, "jax", form=form, num_reads=2, num_sweeps=0, descent=False, seed=1)
    np.testing.assert_array_equal(alone.record.sample, found[0].record.sample)


def test_a_time_limit_is_that_of_the_whole_batch(monkeypatch):
    limits = []

    def run(chains, betas, seed, start, descent, limit):
        limits.append(limit)
        return [np.zeros((2, 400), np.int8) for _ in betas], 0

    monkeypatch.setattr(annealer, "_run", run)
    solve_batch([sparse_model(400, 4)] * 4, "jax", form="sparse", num_reads=2, descent=False, time_limit=100.0)
    # Nothing was used up, so that each has an equal share of the whole with those after it.
    np.testing.assert_allclose(limits, [25, 100 / 3, 50, 100], rtol=0.1)


def test_models_in_single_precision_have_energies_in_double():
    single = dimod.BQM({"a": 1e8, "b": 1.0}, {"ab": 0.25}, 3.0, "BINARY", dtype=np.float32)
    for sampler in ("sa", "steepest", "jax", "mock"):
        found = solve(single, sampler, num_reads=4, seed=1)
        values = found.record.sample[:, [list(found.variables).index(v) for v in "ab"]].astype(float)
        wanted = 1e8 * values[:, 0] + values[:, 1] + 0.25 * values.prod(1) + 3
        np.testing.assert_array_equal(found.record.energy, wanted)


# --- what `solve` takes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["jax", "exact"])
def test_plain_problems_are_taken(sampler):
    matrix = np.array([[1.0, -3.0], [0.0, 1.5]])
    options = {"num_reads": 8, "seed": 1} if sampler == "jax" else {}
    for problem, lowest in (
        ({("a", "a"): 1.0, ("b", "b"): 1.5, ("a", "b"): -3.0}, -0.5),
        (matrix, -0.5),
        (sparse.csr_array(matrix), -0.5),
        (sparse.coo_matrix(matrix), -0.5),
        (sparse.dok_matrix(matrix), -0.5),
        (sparse.dok_array(matrix), -0.5),
        (({"a": 1.0, "b": 0.5}, {("a", "b"): -3.0}), -4.5),
        (([1.0, 0.5], {(0, 1): -3.0}), -4.5),
        (([1.0, 0.5], np.triu(matrix, 1)), -4.5),
    ):
        np.testing.assert_allclose(solve(problem, sampler, **options).first.energy, lowest)


def test_other_models_are_refused_with_their_conversion():
    x, y = dimod.Binaries(["x", "y"])
    cqm = dimod.ConstrainedQuadraticModel()
    cqm.set_objective(x * y)
    dqm = dimod.DiscreteQuadraticModel()
    dqm.add_variable(3)
    integer = dimod.Integer("i") * x
    for problem, message in (
        (cqm, "is a ConstrainedQuadraticModel; dimod.cqm_to_bqm"),
        (dqm, "is a DiscreteQuadraticModel; dimod.cqm_to_bqm"),
        (integer, "is a QuadraticModel; dimod.cqm_to_bqm"),
        (dimod.BinaryPolynomial({"abc": 1.0}, "SPIN"), "is a BinaryPolynomial; dimod.make_quadratic"),
        ({("a", "b", "c"): 1.0}, r"pairs \(i, j\) as keys, but has \('a', 'b', 'c'\); dimod.make_quadratic"),
        ({"a": 1.0}, r"Argument `problem` must have pairs \(i, j\) as keys"),
        (({"a": 1.0}, {("a", "b"): 1.0}, 0.5), r"or a square matrix, but is .* \(tuple\)"),
        ("a b", r"Argument `problem` must be a Qubo, .* or a square matrix, but is 'a b' \(str\)"),
        (None, r"Argument `problem` must be a Qubo, .* but is None \(NoneType\)"),
        ({1.0, 2.0}, r"or a square matrix, but is .* \(set\)"),
        ((None, {(0, 1): 1.0}), r"`h` must be a dict {i: bias} or a list of biases, but is None \(NoneType\)"),
        (({0: 1.0}, None), r"`J` must be a dict {\(i, j\): bias} or a square matrix, but is None \(NoneType\)"),
        (({0: 1.0}, [1.0]), r"`J` must be a dict {\(i, j\): bias} or a square matrix, but is \[1\.0\] \(list\)"),
    ):
        for sampler in ("jax", "sa"):
            with pytest.raises(TypeError, match=message):
                solve(problem, sampler)


def test_the_conversion_that_is_named_works_with_spins_and_integers():
    x, s, i = dimod.Binary("x"), dimod.Spin("s"), dimod.Integer("i", upper_bound=3)
    constrained = dimod.ConstrainedQuadraticModel()
    constrained.set_objective(s * x - x)
    constrained.add_constraint(s + 2 * x <= 1, label="c")
    discrete = dimod.DiscreteQuadraticModel()
    discrete.set_linear(discrete.add_variable(3), [3, 1, 2])
    for model, lowest in ((constrained, -2.0), (x * s + i, -1.0), (x * i - i, -3.0), (discrete, 1.0)):
        with pytest.raises(TypeError) as caught:
            solve(model, "jax")
        way_out = re.search(r"; (dimod\.cqm_to_bqm\(.*\)) makes", str(caught.value)).group(1)
        converted, _ = eval(way_out, {"dimod": dimod, "model": model})  # noqa: S307
        np.testing.assert_allclose(solve(converted, "exact").first.energy, lowest)
    i, j, y = dimod.Integer("i", lower_bound=-1, upper_bound=2), dimod.Integer("j", upper_bound=2), dimod.Binary("y")
    lower, product, soft = (dimod.ConstrainedQuadraticModel() for _ in range(3))
    lower.set_objective(i * x)
    product.add_constraint(x * y + x <= 1, label="p")
    soft.set_objective(-x)
    soft.add_constraint(x + j <= 0, label="q", weight=0.5)
    for model, message in (
        (lower, "its integer 'i' has the lower bound -1, and dimod.cqm_to_bqm takes 0 alone: put -1 plus an integer"),
        (i + x, "its integer 'i' has the lower bound -1"),
        (product, "its constraint 'p' is quadratic, and dimod.cqm_to_bqm takes linear ones alone: put a variable in"),
        (soft, "its constraint 'q' is soft, and dimod.cqm_to_bqm would make it a hard one: put its penalty into the"),
    ):
        with pytest.raises(TypeError, match=message):
            solve(model, "jax")
    for model in (dimod.Real("r") * 1.0 + x, dimod.ConstrainedQuadraticModel.from_quadratic_model(dimod.Real("r") + s)):
        with pytest.raises(TypeError, match="its variable 'r' is real, for which there are no bits"):
            solve(model, "jax")


def test_numbers_that_no_problem_has_are_refused():
    for problem, message in (
        (np.array([[1j]]), "Argument `problem` must be real, but is complex128"),
        (np.ones((2, 3)), r"or a square matrix, but is an array of shape \(2, 3\)"),
        ([1.0, 2.0], r"Argument `problem` must be a Qubo, .* but is an array of shape \(2,\)"),
        ({("a", "a"): 1j}, "must hold labels and real biases|must be real"),
        (np.array([["a"]]), "Argument `problem` must hold numbers, but has dtype <U1"),
        ([[1.0], [1.0, 2.0]], "Argument `problem` must be an array, but its rows differ in length"),
        (dimod.BQM({"a": 1e308}, {"ab": -1e308}, 0.0, "SPIN"), "Energies overflow: .* up to 1e.308 in size"),
    ):
        for sampler in ("jax", "sa"):
            with pytest.raises(ValueError, match=message):
                solve(problem, sampler)
    with pytest.raises(ValueError, match="overflows as BINARY: with spin biases up to 1e.308"):
        Qubo([1e308], [[0.0]], vartype="SPIN").to_binary()
    with pytest.raises(ValueError, match="Argument `offset` must be real, but is complex128"):
        Qubo([1.0], [[0.0]], 1j)
    for sampler in ("jax", "sa"):
        with pytest.raises(ValueError, match="Option `num_reads` must be at most 2147483647, but is 100000000000"):
            solve(unordered_model(), sampler, num_reads=100_000_000_000)


@pytest.mark.thorough
def test_info_has_temperatures_and_timings_and_a_time_limit_ends():
    bqm = sparse_model(400, 4)
    whole = solve(bqm, "jax", num_reads=2, num_sweeps=40, seed=1, beta_range=(0.1, 5.0))
    assert whole.info["sweeps"] == 40
    np.testing.assert_allclose(whole.info["beta_range"], [0.1, 5.0])
    assert set(whole.info["timing"]) == {"preprocessing_ns", "sampling_ns", "postprocessing_ns"}
    for sampler in ("jax", "sa", "tabu", "path-integral", "random"):
        found = solve(bqm, sampler, time_limit=0.05, seed=1, num_reads=2)
        np.testing.assert_allclose(bqm.energies(found), found.record.energy)
    cut = solve(bqm, "jax", time_limit=1e-6, num_sweeps=10**6, num_reads=2, seed=1)
    # A look at the clock after a twentieth of the schedule at the latest.
    assert cut.info["sweeps"] <= 50_000 and lowering_flips(bqm, cut) == 0
    unhurried = solve(bqm, "jax", time_limit=1e3, num_sweeps=40, num_reads=2, seed=1)
    assert unhurried.info["sweeps"] == 40
    with pytest.raises(
        ValueError, match="`time_limit` must be left out for sampler 'steepest', which cannot end early"
    ):
        solve(bqm, "steepest", time_limit=1.0)
    with pytest.raises(ValueError, match="Option `time_limit` must be a positive number of seconds, but is -1"):
        solve(bqm, "jax", time_limit=-1)
