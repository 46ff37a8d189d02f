"""Own data from CSV and npz files: what is read, and every refusal."""

import re

import numpy as np
import pytest

from qjaxsim.datasets.table import load_table

TEXT = "petal,sepal,kind\n1.5,2,rose\n3,4e-1,lily\n5,6,rose\n"


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "flowers.csv"
    path.write_text("\ufeff" + TEXT + "\n", encoding="utf-8")
    return path


def test_classes_and_values(table):
    found = load_table(table, "kind")
    np.testing.assert_array_equal(found.x, [[1.5, 2], [3, 0.4], [5, 6]])
    assert found.y.tolist() == [1, 0, 1] and found.classes == ("lily", "rose") and found.y.dtype == np.int32
    values = load_table(table, "petal", ["sepal"])
    assert values.y.tolist() == [1.5, 3, 5] and values.classes is None and values.names == ("sepal",)


def test_integers_are_classes_from_zero_on(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,y\n1,10\n2,-3\n3,10\n")
    found = load_table(path, "y")
    assert found.y.tolist() == [1, 0, 1] and found.classes == ("-3", "10")


@pytest.mark.parametrize(
    ("labels", "wholes"),
    [
        (["20230102", "20230101"], [20230102, 20230101]),
        (["9007199254740993", "9007199254740992"], [9007199254740993, 9007199254740992]),
        (["1e6", "2.0"], [1000000, 2]),
    ],
)
def test_whole_numbers_of_any_length_are_classes_of_their_own(labels, wholes, tmp_path):
    (tmp_path / "t.csv").write_text("a,y\n" + "".join(f"{i},{label}\n" for i, label in enumerate(labels)))
    found = load_table(tmp_path / "t.csv", "y")
    assert found.classes == tuple(map(str, sorted(wholes))) and found.y.tolist() == [1, 0]
    np.savez(tmp_path / "t.npz", a=[0, 1], y=wholes)
    again = load_table(tmp_path / "t.npz", "y")
    assert again.classes == found.classes and again.y.tolist() == [1, 0]


def test_quoted_cells_are_what_they_hold(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('"a, b", "kind"\n1,x\n"2", "x"\n3, "y, ""z"""\n4,"two\nlines"\n')
    found = load_table(path, "kind")
    assert found.names == ("a, b",) and found.x.ravel().tolist() == [1, 2, 3, 4]
    assert found.classes == ("two\nlines", "x", 'y, "z"') and found.y.tolist() == [1, 1, 2, 0]


def test_text_among_integers_and_words_among_text_are_classes(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,digit,degree\n1,7,none\n2,B,mild\n3,7,none\n")
    assert load_table(path, "digit", ["a"]).classes == ("7", "B")
    assert load_table(path, "degree", ["a"]).y.tolist() == [1, 0, 1]
    path.write_text("a,place\n1,1_0\n2,10\n3,1_0\n")
    assert load_table(path, "place").classes == ("10", "1_0")
    with pytest.raises(ValueError, match="must hold finite numbers in column 'place', but line 2 of t.csv has '1_0'"):
        load_table(path, "a")


def test_endings_in_capitals(table):
    assert load_table(table.rename(table.with_suffix(".CSV")), "kind").classes == ("lily", "rose")


def test_npz(tmp_path):
    path = tmp_path / "t.npz"
    x, y = np.arange(6.0).reshape(3, 2), np.array(["b", "a", "b"])
    np.savez(path, x=x, y=y, z=np.array([0.5, 1, 2]))
    found = load_table(path, "y")
    np.testing.assert_array_equal(found.x, np.column_stack([x, [0.5, 1, 2]]))
    assert found.names == ("x0", "x1", "z") and found.classes == ("a", "b")
    assert load_table(path, "y", ["x1"]).x.tolist() == [[1.0], [3.0], [5.0]]
    np.savez(path, x=x, y=y.astype("S"))
    assert load_table(path, "y").classes == ("a", "b")


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (
            TEXT,
            {"label": "kid"},
            "`label` must name columns of t.csv, petal, sepal, kind, but is 'kid' (did you mean 'kind'?)",
        ),
        (TEXT, {"features": ["x"]}, "`features` must name columns of t.csv, petal, sepal, kind, but is 'x'"),
        (TEXT, {"features": "petal"}, "`features` must be a list of names, but is the text 'petal'"),
        (TEXT, {"features": ["kind"]}, "`features` must leave out the label, but holds 'kind'"),
        ("kind\na\n", {}, "must have a column beside the label 'kind', but t.csv has none"),
        (TEXT.replace("5,6", "5,"), {}, "finite numbers in column 'sepal', but line 4 of t.csv has ''"),
        (TEXT.replace("5,6", "5,nan"), {}, "but line 4 of t.csv has 'nan'; mend it or leave the column out"),
        (
            TEXT.replace("5,6,", "5,"),
            {},
            "must have 3 cells in each line, as its header, line 1, has, but line 4 of t.csv has 2",
        ),
        (TEXT.replace("lily", ""), {}, "must have a label in each line, but line 3 of t.csv has none in column 'kind'"),
        ("a,kind\n", {}, "must have a header and a line below it, but t.csv has 1"),
        ("a;b;kind\n0,5;2;x\n", {}, "with commas between cells, but t.csv has ';' in its header; write it again"),
        ("a\tkind\n0.5\tx\n", {}, r"with commas between cells, but t.csv has '\t' in its header"),
        ("a,a,kind\n1,2,3\n", {}, "header of different names, but t.csv has ['a', 'a', 'kind']"),
        (TEXT, {"features": ["petal", "petal"]}, "`features` must name each column once, but holds 'petal' twice"),
        ("\n# exported\na,kind\n1,0\n", {}, "must have 1 cell in each line, as its header, line 2, has, but line 3"),
        ("a,kind\n\n1,0\n\nx,1\n", {}, "finite numbers in column 'a', but line 5 of t.csv has 'x'"),
        (
            "a,kind\n\n1,0\n\n2\n",
            {},
            "must have 2 cells in each line, as its header, line 1, has, but line 5 of t.csv has 1",
        ),
        ("a,kind\n1,0\n2,nan\n3,1\n", {}, "a label in each line, but line 3 of t.csv has 'nan' in column 'kind'; mend"),
        ("a,kind\n1,0\n2,1\n3,NA\n", {}, "a label in each line, but line 4 of t.csv has 'NA' in column 'kind'"),
        ("a,kind\n1,0.5\n2,other\n", {}, "a label in each line, but line 3 of t.csv has 'other' in column 'kind'"),
        ("a,kind\n1,rose\n2,NaN\n", {}, "a label in each line, but line 3 of t.csv has 'NaN' in column 'kind'"),
        ('a,kind\n1,x\n2,"y\n3,x\n4,y\n', {}, "quotes are closed before the next comma, but those of line 3 of t.csv"),
        ('a,kind\n1,"x\n2,"y"\n', {}, "quotes are closed before the next comma, but those of line 2 of t.csv are not"),
        (",a,kind\n0,1,x\n1,2,y\n", {}, "column 1 of t.csv has none; name it, or write the table without its index"),
        ("a,kind,\n1,x,\n2,y,\n", {}, "a name for each column in its header, but column 3 of t.csv has none"),
    ],
)
def test_refusals_of_csv(tmp_path, text, options, message):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(message)):
        load_table(path, **{"label": "kind", **options})


def test_other_refusals(tmp_path):
    (tmp_path / "t.txt").write_text(TEXT)
    with pytest.raises(ValueError, match="`data` must name a .csv or .npz file, but is"):
        load_table(tmp_path / "t.txt", "kind")
    with pytest.raises(FileNotFoundError, match="`data` must name a file, but"):
        load_table(tmp_path / "none.csv", "kind")
    (tmp_path / "t.csv").write_bytes(b"a,b\n\xff\xfe,1\n")
    with pytest.raises(ValueError, match="CSV file in UTF-8, but t.csv is none .*; save it as"):
        load_table(tmp_path / "t.csv", "b")
    np.savez(tmp_path / "t.npz", x=np.zeros((3, 2)), y=np.zeros(4))
    with pytest.raises(ValueError, match=r"arrays \(N, F\) and \(N,\) of one N, at least 1, but t.npz holds"):
        load_table(tmp_path / "t.npz", "y")


KIND = np.array([0, 1, 1])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((3, 2, 2)), "kind": KIND, "index": np.arange(3.0)}, "(N, F) and (N,) of one N, at least 1"),
        ({"x": np.zeros((3, 2)), "kind": KIND, "version": np.array(1)}, "(N, F) and (N,) of one N, at least 1"),
        ({"x": np.zeros((3, 2)), "x0": np.zeros(3), "kind": KIND}, "different names, but t.npz has 'x0' twice"),
        ({"x0": np.zeros(3), "x": np.zeros((3, 2)), "kind": KIND}, "different names, but t.npz has 'x0' twice"),
        ({"x": np.zeros((3, 2)), "kind": np.array([0.5, np.nan, 1])}, "but row 1 of t.npz has 'nan' in column 'kind'"),
        (
            {"x": np.array([1, 2 + 1j, 3]), "kind": KIND},
            "finite numbers in column 'x', but row 0 of t.npz has '(1+0j)'",
        ),
        ({"x": np.zeros(3), "kind": KIND + 1j}, "a label in each line, but row 0 of t.npz has '1j' in column 'kind'"),
        ({"x": np.zeros(3), "kind": KIND.astype(object)}, "'kind' of t.npz holds Python objects; save text by"),
    ],
)
def test_refusals_of_npz(tmp_path, arrays, message):
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(ValueError, match=re.escape(message)):
        load_table(tmp_path / "t.npz", "kind")


def test_half_a_file(tmp_path):
    path = tmp_path / "t.npz"
    np.savez(path, x=np.zeros(30), kind=np.arange(30))
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(ValueError, match=r"a whole file that `numpy.savez` wrote, but t.npz cannot be read") as error:
        load_table(path, "kind")
    assert "delete" not in str(error.value)
