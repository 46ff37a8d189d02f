"""Random quadratic problems through every sampler and both forms of ours, and through files, whole and damaged."""

import io
import itertools
import json
import math
from fractions import Fraction

import dimod
import hypothesis
import hypothesis.strategies as st
import numpy as np
from qjaxsim_dimod import Qubo, read_problem, solve
from scipy import sparse
from scipy.io import mmwrite

# One size, padded with variables that touch nothing, shares the compiled chains.
SIZE = 8
LABELS = ("z", 3, ("a", 1), "b", 0, (2,), "a", 7)


@st.composite
def models(draw):
    """Problems of eight variables, any of them without a bias, at scales from 1e-40 to 1e300."""
    vartype = draw(st.sampled_from(["BINARY", "SPIN"]))
    number = draw(
        st.sampled_from(
            [
                st.integers(-3, 3).map(float),
                st.floats(-1, 1).map(lambda value: round(value, 3)),
                st.sampled_from([-1.0, 1.0, 0.1, -0.1, 0.0]),
                st.tuples(st.sampled_from([-1.0, 1.0, 0.3]), st.integers(-20, 20)).map(lambda a: a[0] * 10.0 ** a[1]),
            ]
        )
    )
    scale = draw(st.sampled_from([1.0, 1.0, 1e-40, 1e300 * 1e-22, 1e8]))
    order = draw(st.permutations(range(SIZE)))
    bqm = dimod.BinaryQuadraticModel(vartype)
    for place in order:
        bqm.add_variable(LABELS[place], draw(number) * scale if draw(st.booleans()) else 0.0)
    pairs = draw(st.lists(st.sampled_from(list(itertools.combinations(LABELS, 2))), max_size=20, unique=True))
    for u, v in pairs:
        bqm.add_quadratic(u, v, draw(number) * scale)
    bqm.offset = draw(number) * scale
    return bqm


def exact_energy(bqm, sample):
    terms = [Fraction(float(bqm.offset))]
    terms += [Fraction(float(bias)) * int(sample[v]) for v, bias in bqm.linear.items()]
    terms += [Fraction(float(bias)) * int(sample[u]) * int(sample[v]) for (u, v), bias in bqm.quadratic.items()]
    return sum(terms)


def size_of(bqm):
    return math.fsum(abs(b) for b in [*bqm.linear.values(), *bqm.quadratic.values(), bqm.offset])


@hypothesis.given(models(), st.sampled_from(["dense", "sparse"]), st.integers(0, 2**31 - 1))
def test_both_forms_end_in_exact_minima_with_exact_energies(bqm, form, seed):
    found = solve(bqm, "jax", form=form, num_reads=4, num_sweeps=10, seed=seed)
    assert list(found.variables) == list(bqm.variables)
    np.testing.assert_array_equal(found.record.energy, bqm.energies(found))
    low = 0 if bqm.vartype is dimod.BINARY else -1
    for sample in found.samples(sorted_by=None):
        sample = dict(sample)
        energy = exact_energy(bqm, sample)
        for v in bqm.variables:
            assert exact_energy(bqm, {**sample, v: low if sample[v] == 1 else 1}) >= energy
    again = solve(bqm, "jax", form=form, initial_states=found, num_sweeps=0, descent=False)
    np.testing.assert_array_equal(again.record.sample, found.record.sample)


@hypothesis.given(models(), st.integers(0, 2**31 - 1))
def test_every_sampler_against_all_states(bqm, seed):
    exact = solve(bqm, "exact")
    tolerance = 1e-12 * size_of(bqm)
    states = np.array(list(itertools.product((0 if bqm.vartype is dimod.BINARY else -1, 1), repeat=SIZE)))
    lowest = bqm.energies((states, list(bqm.variables))).min()
    np.testing.assert_allclose(exact.first.energy, lowest, atol=tolerance, rtol=0)
    for name in ("jax", "sa", "steepest", "tabu", "path-integral", "random"):
        more = {"timeout": 5} if name == "tabu" else {}
        found = solve(bqm, name, num_reads=4, seed=seed, **more)
        assert list(found.variables) == list(bqm.variables)
        np.testing.assert_allclose(bqm.energies(found), found.record.energy, atol=tolerance, rtol=0)
        assert (found.record.energy >= lowest - tolerance).all()


# --- files -----------------------------------------------------------------------------------------------------------


def contents(bqm):
    """A model's files, by name, with the energies' factor and shift."""
    plain = bqm.relabel_variables({v: i for i, v in enumerate(bqm.variables)}, inplace=False)
    qubo = Qubo.from_bqm(plain)
    pairs = qubo.pairs.tocoo()
    entries = [(i, i, float(h)) for i, h in enumerate(qubo.linear)]
    entries += [(int(j), int(i), float(b)) for i, j, b in zip(*pairs.coords, pairs.data, strict=True)]
    lines = "".join(f"{i} {j} {bias!r}\n" for i, j, bias in entries)
    with plain.to_file() as file:
        yield "a.bqm", file.read()
    yield "a.json", json.dumps(plain.to_serializable()).encode()
    yield "a.coo", f"# vartype={qubo.vartype}\n# offset={qubo.offset!r}\n{lines}".encode()
    memory = io.BytesIO()
    np.savez(memory, linear=qubo.linear, quadratic=qubo.quadratic, offset=qubo.offset, vartype=qubo.vartype)
    yield "a.npz", memory.getvalue()
    if qubo.vartype == "BINARY":
        matrix = sparse.coo_array(qubo.pairs + sparse.diags_array(qubo.linear))
        memory = io.BytesIO()
        sparse.save_npz(memory, matrix)
        yield "s.npz", memory.getvalue()
        memory = io.BytesIO()
        mmwrite(memory, matrix, precision=17)
        yield "a.mtx", memory.getvalue()
        head = f"p qubo 0 {SIZE} {SIZE} {qubo.n_couplings}\n"
        yield "a.qubo", f"c remark\n{head}{lines}".encode()


OFFSETLESS = ("s.npz", "a.mtx", "a.qubo")


@hypothesis.given(models())
def test_files_give_back_what_was_written(tmp_path_factory, bqm):
    folder = tmp_path_factory.getbasetemp()
    low = 0 if bqm.vartype is dimod.BINARY else -1
    states = np.array(list(itertools.product((low, 1), repeat=SIZE)))
    expected = Qubo.from_bqm(bqm).energies(states)
    for name, content in contents(bqm):
        path = folder / name
        path.write_bytes(content)
        read = read_problem(path)
        shift = bqm.offset if name in OFFSETLESS else 0.0
        assert read.vartype == bqm.vartype.name
        np.testing.assert_allclose(read.energies(states) + shift, expected, atol=1e-12 * size_of(bqm), rtol=0)


@hypothesis.given(models(), st.data())
def test_damaged_files_are_read_or_refused_in_a_sentence(tmp_path_factory, bqm, data):
    for name, content in contents(bqm):
        damaged = bytearray(content)
        for _ in range(data.draw(st.integers(1, 4))):
            place = data.draw(st.integers(0, len(damaged)))
            kind = data.draw(st.sampled_from(["cut", "change", "insert", "remove"]))
            if kind == "cut":
                del damaged[place:]
            elif kind == "insert":
                damaged[place:place] = data.draw(st.binary(min_size=1, max_size=3))
            elif place < len(damaged):
                damaged[place : place + 1] = data.draw(st.binary(min_size=1, max_size=1)) if kind == "change" else b""
        path = tmp_path_factory.getbasetemp() / f"damaged-{name}"
        path.write_bytes(bytes(damaged))
        try:
            assert read_problem(path).n >= 1
        except ValueError as error:
            assert str(path) in str(error) and "\n" not in str(error)
