"""Text formats of the field, by ending and by content, against energies written out by hand."""

import gzip
import itertools
import json
import re

import dimod
import numpy as np
import pytest
from qjaxsim_dimod import Qubo, read_problem
from scipy import sparse
from scipy.io import mmwrite

QBSOLV = "c remark\np qubo 0 4 2 2\n0 0 1.5\n2 2 -1\nc more\n0 2 -3\n2 3 2\n"
GRAPH = "3 3\n1 2 1\n2 3 -2\n1 3 4\n"
ORLIB = "2\n2 2\n1 1 5\n1 2 -3\n3 2\n1 3 2\n2 2 -1\n"


def states_of(n, low):
    return np.array(list(itertools.product((low, 1), repeat=n)))


def written(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content)
    return path


@pytest.mark.parametrize("name", ["a.qubo", "a.txt", "a"])
def test_qbsolv(tmp_path, name):
    path, x = written(tmp_path, name, QBSOLV), states_of(3, 0)
    problem = read_problem(path)
    expected = 1.5 * x[:, 0] - x[:, 1] - 3 * x[:, 0] * x[:, 1] + 2 * x[:, 1] * x[:, 2]
    assert problem.labels == (0, 2, 3) and problem.vartype == "BINARY"
    np.testing.assert_allclose(problem.energies(x), expected)
    np.testing.assert_allclose(read_problem(path, maximise=True).energies(x), -expected)


@pytest.mark.parametrize("name", ["G1", "a.rud", "a.mc", "a.gset", "a.txt", "pm1s_80.0"])
def test_max_cut_graphs(tmp_path, name):
    problem, s = read_problem(written(tmp_path, name, GRAPH)), states_of(3, -1)
    cut = sum(w * (s[:, i] != s[:, j]) for i, j, w in ((0, 1, 1), (1, 2, -2), (0, 2, 4)))
    assert problem.labels == (1, 2, 3) and problem.vartype == "SPIN"
    np.testing.assert_allclose(problem.energies(s), -cut)


@pytest.mark.parametrize("name", ["bqp.txt", "a.bqp", "bqp50"])
def test_or_library_counts_pairs_twice_and_is_maximised(tmp_path, name):
    path, x = written(tmp_path, name, ORLIB), states_of(3, 0)
    np.testing.assert_allclose(read_problem(path, number=2).energies(x), -(4 * x[:, 0] * x[:, 2] - x[:, 1]))
    assert read_problem(path, number=1).n == 2
    with pytest.raises(ValueError, match="the file holds 2 problems; choose one by `number`, 1 to 2"):
        read_problem(path)


def test_arrays_of_scipy_and_matrix_market(tmp_path):
    matrix = np.array([[1.0, 2.0, 0.0], [0.0, 0.0, -3.0], [0.5, 0.0, 0.0]])
    x = states_of(3, 0)
    expected = np.einsum("ri,ij,rj->r", x, matrix, x)
    for form in ("csr", "csc", "coo", "bsr"):
        sparse.save_npz(tmp_path / "a.npz", sparse.coo_array(matrix).asformat(form))
        np.testing.assert_allclose(read_problem(tmp_path / "a.npz").energies(x), expected)
    mmwrite(tmp_path / "a.mtx", sparse.coo_array(matrix))
    np.testing.assert_allclose(read_problem(tmp_path / "a.mtx").energies(x), expected)
    mmwrite(tmp_path / "c.mtx", matrix)
    np.testing.assert_allclose(read_problem(tmp_path / "c.mtx").energies(x), expected)
    both = matrix + matrix.T
    mmwrite(tmp_path / "b.mtx", sparse.coo_array(both), symmetry="symmetric")
    np.testing.assert_allclose(read_problem(tmp_path / "b.mtx").energies(x), 2 * expected)


def test_arrays_of_other_names_are_refused(tmp_path):
    for more in ({"h": [1.0]}, {"labels": ["a"], "offset": 1.0}):
        np.savez(tmp_path / "a.npz", quadratic=[[1.0]], **more)
        with pytest.raises(ValueError, match=rf"beside `quadratic`, but holds \['{next(iter(more))}'\]"):
            read_problem(tmp_path / "a.npz")


def test_json_keeps_labels_of_any_depth(tmp_path):
    bqm = dimod.BinaryQuadraticModel({"a": 1.0, (0, (1, "b")): 2.0}, {("a", (0, (1, "b"))): 3.0}, 0.5, "SPIN")
    path = written(tmp_path, "a.json", json.dumps(bqm.to_serializable()))
    assert read_problem(path).to_bqm() == bqm


@pytest.mark.parametrize("name", ["a.cqm", "a.bqm", "a"])
def test_files_of_dimod_s_other_models_are_named_with_the_way_out(tmp_path, name):
    constrained, discrete = dimod.ConstrainedQuadraticModel(), dimod.DiscreteQuadraticModel()
    constrained.set_objective(dimod.Binary("x") * dimod.Binary("y") - dimod.Binary("z"))
    discrete.add_variable(3)
    for model, way_out in (
        (constrained, "model"),
        (discrete, "dimod.ConstrainedQuadraticModel.from_discrete_quadratic_model(model)"),
        (dimod.Integer("i") + 1.0, "dimod.ConstrainedQuadraticModel.from_quadratic_model(model)"),
    ):
        with model.to_file() as content:
            (tmp_path / name).write_bytes(content.read())
        message = f"holds a dimod.{type(model).__name__}, read by its `from_file`; dimod.cqm_to_bqm({way_out}) makes"
        with pytest.raises(ValueError, match=re.escape(message)):
            read_problem(tmp_path / name)


def test_files_that_are_no_text_are_named(tmp_path):
    path = tmp_path / "a.gset"
    for text in (GRAPH.encode("utf-16"), "# für\n".encode("latin-1") + GRAPH.encode()):
        path.write_bytes(text)
        with pytest.raises(ValueError, match="cannot be read as gset: it is no text in UTF-8; save it as that"):
            read_problem(path)
    path.write_bytes(gzip.compress(GRAPH.encode()))
    with pytest.raises(ValueError, match="packed by gzip; unpack it first"):
        read_problem(path)


def test_lp_files(tmp_path):
    bqm = dimod.BQM({"a": 1.0, "b": -1.0}, {"ab": 2.0}, 1.5, "BINARY")
    text = dimod.lp.dumps(dimod.ConstrainedQuadraticModel.from_bqm(bqm))
    problem = read_problem(written(tmp_path, "a.lp", text))
    samples = [dict(zip("ab", bits, strict=True)) for bits in itertools.product((0, 1), repeat=2)]
    np.testing.assert_allclose(problem.energies(samples), bqm.energies(samples))
    constrained = text.replace("Subject To \n", "Subject To \n c0: a + b <= 1\n")
    with pytest.raises(ValueError, match="it has 1 constraint; make each a penalty with dimod.cqm_to_bqm"):
        read_problem(written(tmp_path, "b.lp", constrained))
    with pytest.raises(ValueError, match=r"all variables must be binary, but 'a' is .*dimod.cqm_to_bqm"):
        read_problem(written(tmp_path, "c.lp", text.replace("Binary\n a b", "General\n a b")))
    for mixed in (text, constrained):  # of which dimod's conversion makes nothing
        with pytest.raises(
            ValueError, match="its variable 'b' is real, for which there are no bits; name it in the sec"
        ):
            read_problem(written(tmp_path, "f.lp", mixed.replace("Binary\n a b", "Binary\n a")))
    for general, said in (
        (" a >= 1\n b <= 2", "its integer 'a' has the lower bound 1, and"),
        (" a <= 2", "be binary, but"),
    ):
        lower = text.replace("Bounds", "Bounds\n" + general).replace("Binary\n a b", "General\n a b")
        with pytest.raises(ValueError, match=said):
            read_problem(written(tmp_path, "g.lp", lower))
    idle = read_problem(written(tmp_path, "h.lp", text.replace("Binary\n a b", "Binary\n a b idle")))
    assert {*idle.labels} == {"a", "b", "idle"}
    np.testing.assert_allclose(idle.energies([one | {"idle": 1} for one in samples]), bqm.energies(samples))
    model = dimod.lp.loads(constrained.replace("Binary\n a b", "General\n a b"))
    assert dimod.cqm_to_bqm(model)[0].num_variables > 2  # the way out that is named
    for bound in ("0 <= a <= 1", "b <= 4", "a free"):
        bounded = read_problem(written(tmp_path, "d.lp", text.replace("Bounds", f"Bounds\n {bound}")))
        np.testing.assert_allclose(bounded.energies(samples), bqm.energies(samples))
    for bound, said in (("a = 1", "'a' are 1 and 1"), ("b <= 0", "'b' are 0 and 0"), ("a >= 0.5", "'a' are 0.5 and ")):
        with pytest.raises(ValueError, match=f"must leave a binary variable both values, but those of {said}"):
            read_problem(written(tmp_path, "e.lp", text.replace("Bounds", f"Bounds\n {bound}")))


@pytest.mark.parametrize(("word", "factor"), [("Minimise", 1), ("MIN", 1), ("maximise", -1), ("Maximum", -1)])
def test_objectives_of_lp_files_in_every_spelling(tmp_path, word, factor):
    text = f"\\ x y\n{word}\n 2e1 x - .5y + 3. e1\n + [ 3 x*y + x ^ 2 ] / 2 - 4\nBinary\n x y e1\nEnd\n"
    problem = read_problem(written(tmp_path, "a.lp", text))
    for x, y, e in itertools.product((0, 1), repeat=3):
        wanted = factor * (20 * x - y / 2 + 3 * e + 1.5 * x * y + x / 2 - 4)
        np.testing.assert_allclose(problem.energies([{"x": x, "y": y, "e1": e}]), [wanted])


def test_coordinates_keep_an_offset(tmp_path):
    path = written(tmp_path, "a.coo", "# vartype=SPIN, offset=42\n0 1 2\n1 0 1\n")
    np.testing.assert_allclose(read_problem(path).energies([[1, 1], [1, -1]]), [45, 39])
    assert read_problem(written(tmp_path, "b.coo", "# offset: -1.5e0\n0 0 1\n")).offset == -1.5


def test_a_format_by_name_goes_before_the_ending(tmp_path):
    path = written(tmp_path, "a.dat", GRAPH)
    assert read_problem(path, format="gset").n_couplings == 3
    with pytest.raises(ValueError, match=r"must end in one of .*; or name its format"):
        read_problem(path)
    with pytest.raises(ValueError, match="Argument `format` must be one of bqm, .* but is 'xml'"):
        read_problem(path, format="xml")


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("a.qubo", QBSOLV.replace("2 3 2\n", ""), {}, "says 2 nodes and 2 couplers, but it has 2 and 1; is it whole"),
        ("a.qubo", QBSOLV.replace("0 4", "0 3"), {}, "says 3 nodes at most, numbered from 0, but there is node 3"),
        ("a.qubo", "p qubo 0 4\n", {}, "must begin with `p qubo topology maxNodes nNodes nCouplers`"),
        ("a.qubo", QBSOLV, {"vartype": "SPIN"}, "the file is over BINARY variables, but `vartype` is SPIN"),
        ("a.mc", GRAPH[:-6], {}, "its size says 3 entries, but it has 2; is it whole"),
        ("a.mc", GRAPH + "1 2 1\n", {}, "line 5 is beyond the 3 edges"),
        ("a.mc", GRAPH.replace("2 3", "2 4"), {}, r"line 3 must name two of 1\.\.3, but is '2 4 -2'"),
        ("a.mc", GRAPH.replace("2 3", "2 2"), {}, "vertex 2 has an edge to itself"),
        ("a.mc", GRAPH, {"maximise": True}, "Argument `maximise` must be False"),
        ("a.lp", "Maximize\n o: x\nBinary\n x\nEnd\n", {"maximise": True}, "an LP file says itself what it is for"),
        ("a.mc", GRAPH, {"number": 1}, "Argument `number` must be left out"),
        ("a.mc", "99999999999 1\n1 2 1\n", {}, "line 1 must have a whole number below 1e9"),
        ("a.bqp", ORLIB, {"number": 3}, r"Argument `number` must be in 1\.\.2, the file's problems, but is 3"),
        ("a.bqp", ORLIB[:-7], {"number": 1}, "its size says 2 entries, but it has 1"),
        ("a.coo", "# vartype=SPIN\n0 1 1\n", {"vartype": "BINARY"}, "over SPIN variables, but `vartype` is BINARY"),
        ("a.coo", "# offset=much\n0 1 1\n", {}, "line 1 must say an offset as a number, but says 'much'"),
        ("a.coo", "# offset=1\n# offset=2\n0 1 1\n", {}, "line 2 says an offset a second time"),
        ("a.coo", "# offset=\n0 1 1\n", {}, "line 1 must say an offset as a number, but says ''"),
        ("a.coo", "# vartype=\n0 1 1\n", {}, "line 1 must say BINARY or SPIN as vartype, but says ''"),
        ("a.coo", "# vartype=SPIN\n# vartype=BINARY\n0 1 1\n", {}, "line 2 says BINARY as vartype, but a line before"),
        ("a.coo", "# offset=1_0\n0 1 1\n", {}, "line 1 must say an offset as a number, but says '1_0'"),
        ("a.mtx", "%%MatrixMarket matrix array real general\n1 1\n1_0\n", {}, "line 3 must say an entry as a number"),
        ("a.coo", "0 1 1_0\n", {}, 'line 1 must be "i j bias"'),
        ("a.mtx", "%%MatrixMarket matrix coordinate complex general\n1 1 1\n1 1 1 2\n", {}, "must be real"),
        ("a.mtx", "%%MatrixMarket matrix coordinate real general\n2 2 1\n3 1 1\n", {}, r"must be at 1\.\.2"),
        ("a.mtx", "%%MatrixMarket matrix array real general\n2 2\n1\n", {}, "say 4 entries, but it has 1"),
        ("a.bqm", "DIMODBQM\x02", {}, "the file ends early or is damaged"),
        ("a.lp", "Minimize\n o: [ 4 x * y ]\nBinary\n x y\nEnd\n", {}, "dimod's parser of LP files refuses it"),
        (
            "a.lp",
            "Minimize\n o: x - [ 4 x * y ] / 2\nBinary\n x y\nEnd\n",
            {},
            "`.*` or `\\+ \\[ ... \\] / 2`, their signs",
        ),
        ("a.lp", "Minimize\n o: 2 x y\nBinary\n x y\nEnd\n", {}, "no sign between 'x' and 'y'; a product stands in"),
        ("a.lp", "Minimize\n x\n 3 y\nBinary\n x y\nEnd\n", {}, "no sign between 'x' and '3'"),
        ("a.lp", "Minimize\n o: 2 3 x\nBinary\n x\nEnd\n", {}, "no sign between '2' and '3'"),
        ("a.lp", "Minimize\n o: x -\nst\nBinary\n x\nEnd\n", {}, "its objective ends in '-'; is it whole"),
    ],
)
def test_files_that_do_not_hold_together_are_refused(tmp_path, name, content, options, message):
    with pytest.raises(ValueError, match=message):
        read_problem(written(tmp_path, name, content), **options)


def test_binary_files_are_refused_in_a_sentence(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[1j, 2.0], [0.0, 1.0]]))
    with pytest.raises(ValueError, match="Argument `matrix` must be real, but is complex128"):
        read_problem(tmp_path / "a.npy")
    np.savez(tmp_path / "a.npz", matrix=np.eye(2), offset=1j)
    with pytest.raises(ValueError, match="Argument `offset` must be real"):
        read_problem(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", matrix=np.eye(2), vartype="SPIN")
    with pytest.raises(ValueError, match="over SPIN variables, but `vartype` is BINARY"):
        read_problem(tmp_path / "b.npz", "BINARY")
    for name in ("c.npy", "c.npz"):
        (tmp_path / name).write_bytes(b"1 2 3")
        with pytest.raises(ValueError, match=f"{name} cannot be read as np.: it holds no arrays of NumPy's$"):
            read_problem(tmp_path / name)
    np.savez(tmp_path / "c.npz", matrix=np.array([[None]]))
    with pytest.raises(ValueError, match="it holds Python objects; save numbers or text$"):
        read_problem(tmp_path / "c.npz")
    bqm = Qubo.from_matrix(np.eye(3)).to_bqm()
    with bqm.to_file() as content:
        whole = content.read()
    with pytest.raises(ValueError, match="over BINARY variables, but `vartype` is SPIN"):
        (tmp_path / "c.bqm").write_bytes(whole)
        read_problem(tmp_path / "c.bqm", "SPIN")
    for end in range(0, len(whole), 7):
        (tmp_path / "d.bqm").write_bytes(whole[:end])
        with pytest.raises(ValueError, match="does not begin|ends early or is damaged"):
            read_problem(tmp_path / "d.bqm")


def test_files_that_end_early_say_so(tmp_path):
    """Not in the words of the parser alone, wherever they end."""
    bqm = Qubo.from_matrix(np.triu(np.arange(9.0).reshape(3, 3))).to_bqm()
    np.savez_compressed(tmp_path / "whole.npz", matrix=np.triu(np.arange(9.0).reshape(3, 3)))
    contents = {"a.json": json.dumps(bqm.to_serializable()).encode(), "a.npz": (tmp_path / "whole.npz").read_bytes()}
    for name, whole in contents.items():
        for end in range(0, len(whole), 13):
            (tmp_path / name).write_bytes(whole[:end])
            with pytest.raises(ValueError, match=f"{name} cannot be read as .*: (the file ends early|it holds no arr)"):
                read_problem(tmp_path / name)
    stored = bqm.to_serializable()
    del stored["linear_biases"]
    (tmp_path / "a.json").write_text(json.dumps(stored))
    with pytest.raises(ValueError, match=r"the file lacks 'linear_biases', which to_serializable\(\) of a Binary"):
        read_problem(tmp_path / "a.json")
