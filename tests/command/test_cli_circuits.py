"""What commands on circuits read: observables as text, files of parameters, circuit files."""

import json
import pickle

import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.command.circuit_files import parse_observables, read_circuit, read_params


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (None, [qj.Z(0), qj.Z(1), qj.Z(2)]),
        (" ", [qj.Z(0), qj.Z(1), qj.Z(2)]),
        ("Z0,X2", [qj.Z(0), qj.X(2)]),
        ("X0 Y2", [qj.X(0) @ qj.Y(2)]),
        ("Y2X0", [qj.X(0) @ qj.Y(2)]),
        ("-Z1+.5*X0 X1 - 2e-1Y2", [-1 * qj.Z(1) + 0.5 * qj.X(0) @ qj.X(1) - 0.2 * qj.Y(2)]),
        ("XIZ", [qj.X(0) @ qj.Z(2)]),  # qubit 0 first
        ("0.5 YZI - III", [0.5 * qj.Y(0) @ qj.Z(1) - qj.I()]),
        ("1 + I - 0.25 Z0", [2 * qj.I() - 0.25 * qj.Z(0)]),
        ("Z0 + Z0", [2 * qj.Z(0)]),
    ],
)
def test_observables(text, wanted):
    assert parse_observables(text, 3) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Z0,,X1", "must look like"),
        ("Z0 + ", "but 'Z0 \\+' does not \\(from '\\+' on\\)"),
        ("A0", "must look like"),
        ("Z0 3", "must look like"),
        ("2 3 Z0", "must look like"),
        ("1.5.2 Z0", "must look like"),
        ("z0", "must look like"),
        ("Z0 XII", "must look like"),
        ("nan Z0", "must look like"),
        ("1e400 Z0", "must be finite"),
        ("X0 Y0", "must name each qubit once"),
        ("Z3", "acts on qubit 3, but the circuit has 3 qubits"),
        ("XX", "one for each of the circuit's 3 qubits, but 'XX' has 'XX'; name qubits as in Z0"),
        ("Z0 - Z0", "must have a term that does not vanish, but one is 'Z0 - Z0'"),
    ],
)
def test_wrong_observables(text, message):
    with pytest.raises(ValueError, match=message):
        parse_observables(text, 3)


@pytest.fixture
def circuit():
    w, a = qj.Parameter("w", (2, 2)), qj.Parameter("a")
    return qj.Circuit(2).rx(w[0, 0], 0).ry(w[1, 1] * a, 1)


def test_params_of_files(circuit, tmp_path):
    w, a = np.arange(4.0).reshape(2, 2), np.array([0.5, 1.5, 2])
    np.savez(tmp_path / "p.npz", w=w.astype(np.float32), a=a)
    (tmp_path / "p.json").write_text(json.dumps({"w": [[0, 1], [2, 3]], "a": [0.5, 1.5, 2]}))
    for name in ("p.npz", "p.json"):
        params = read_params(tmp_path / name, circuit, None)
        assert params["w"].dtype == params["a"].dtype == np.float64
        np.testing.assert_array_equal(params["w"], w)
        np.testing.assert_array_equal(params["a"], a)


def test_random_params(circuit):
    pytest.importorskip("qiskit")
    first, again, other = (read_params(None, circuit, seed) for seed in (4, 4, 5))
    assert {name: value.shape for name, value in first.items()} == {"w": (2, 2), "a": ()}
    for name, value in first.items():
        assert (np.abs(value) <= np.pi).all() and (value == again[name]).all() and (value != other[name]).all()


class Spoilt:
    """Would run code when unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.txt", "", r"must name an .npz or .json file, but is .*p.txt"),
        ("p.json", "{", r"must name a JSON file, but .*p.json' is none"),
        ("p.json", '{"w": [[1, 2], [3, 4]], "a": 0, "a": 1}', "p.json' is none: it has 'a' twice"),
        ("p.json", "[1, 2]", "must hold an object, name to array"),
        ("p.json", '{"w": [[1, 2], [3]], "a": 0}', "Parameter 'w' .* makes no array"),
        ("p.json", '{"w": [[1, 2], [3, NaN]], "a": 0}', "Parameter 'w' .* must hold finite real numbers"),
        ("p.json", '{"w": [[1, 2], [3, "4"]], "a": 0}', "Parameter 'w' .* must hold finite real numbers"),
        ("p.json", '{"w": [[1, 2], [3, 4]]}', r"`params` lacks \['a'\]"),
        ("p.json", '{"w": [1, 2], "a": 0}', r"'w' must have shape \(..., 2, 2\), but has shape \(2,\)"),
        ("p.npz", "no archive", "must name an .npz file of plain numbers, but .* cannot be read"),
    ],
)
def test_wrong_params(name, content, message, circuit, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_params(tmp_path / name, circuit, None)


def test_pickled_params_are_refused(circuit, tmp_path):
    np.savez(tmp_path / "p.npz", w=np.array([Spoilt()], dtype=object), a=0.0)
    with pytest.raises(ValueError, match=r"cannot be read: it holds Python objects; save numbers or text\.$"):
        read_params(tmp_path / "p.npz", circuit, None)


def test_files_of_another_kind_are_told_in_words_of_their_own(circuit, tmp_path):
    # NumPy's own would advise to load all that is no file of arrays unsafely, as a pickle.
    for content in (pickle.dumps({"w": 1.0}), b"w = 1.0"):
        (tmp_path / "p.npz").write_bytes(content)
        with pytest.raises(ValueError, match=r"p.npz' cannot be read: it holds no arrays of NumPy's\.$"):
            read_params(tmp_path / "p.npz", circuit, None)
    with (tmp_path / "one.npz").open("wb") as file:
        np.save(file, np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"one.npz' cannot be read: it holds one array without a name.*`numpy.savez`"):
        read_params(tmp_path / "one.npz", circuit, None)
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"must name a JSON file, but .*deep.json' is none"):
        read_params(tmp_path / "deep.json", circuit, None)


def test_absent_files(circuit, tmp_path):
    with pytest.raises(FileNotFoundError, match="--params must name a file, but '.*none.npz' is none"):
        read_params(tmp_path / "none.npz", circuit, None)
    with pytest.raises(FileNotFoundError, match="`file` must be a file, but '.*none.qasm' is none"):
        read_circuit(tmp_path / "none.qasm")
    with pytest.raises(ValueError, match=r"`file` must end in .qasm, .qasm3 or .qpy, but is '.*none.txt'"):
        read_circuit(tmp_path / "none.txt")
