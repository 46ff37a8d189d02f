"""Loading one matrix: formats, dtypes, orientation, stacks, and every refusal."""

import json
import zipfile

import ml_dtypes
import numpy as np
import pytest

from qjaxsim.datasets.weights import load_matrix

safetensors_numpy = pytest.importorskip("safetensors.numpy", reason="needs safetensors")


@pytest.fixture
def matrix():
    return np.random.default_rng(3).normal(size=(6, 4)).astype(np.float32)


def written(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_npy_keeps_its_precision_and_turns_in_out(tmp_path, matrix):
    np.save(tmp_path / "w.npy", matrix.astype(np.float64))
    found = load_matrix(tmp_path / "w.npy", orientation="in-out")
    assert found.matrix.dtype == np.float64 and found.orientation == "in-out" and found.reason == "as asked for"
    np.testing.assert_array_equal(found.matrix, matrix.T)
    assert load_matrix(tmp_path / "w.npy", orientation="out-in").matrix.shape == (6, 4)


@pytest.mark.parametrize(
    ("names", "key", "orientation", "reason"),
    [
        (("a.weight",), None, "out-in", "torch"),
        (("a.kernel",), None, "in-out", "Flax"),
        (("params/Dense_0/kernel",), None, "in-out", "Flax"),
        # A bias of six is of the output, whatever the name.
        (("a.kernel", "a.bias6"), "a.kernel", "out-in", "its bias has 6 numbers"),
        (("h.c_fc.weight", "h.c_fc.bias6"), "h.c_fc.weight", "out-in", "its bias has 6 numbers"),
        (("a.weight", "a.bias4"), "a.weight", "in-out", "its bias has 4 numbers"),
        (("a.weight", "a.bias5"), "a.weight", "out-in", "torch"),
    ],
)
def test_orientation_is_inferred_and_said(tmp_path, matrix, names, key, orientation, reason):
    arrays = {n.rstrip("456"): np.zeros(int(n[-1]), np.float32) if n[-1] in "456" else matrix for n in names}
    safetensors_numpy.save_file(arrays, tmp_path / "w.safetensors")
    found = load_matrix(tmp_path / "w.safetensors", key=key)
    assert found.orientation == orientation and reason in found.reason
    np.testing.assert_array_equal(found.matrix, matrix if orientation == "out-in" else matrix.T)


def saved(path, **shapes):
    rng = np.random.default_rng(5)
    arrays = {name.replace("__", "."): rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    safetensors_numpy.save_file(arrays, path)
    return path


def test_names_of_gpt2_decide_nothing_alone(tmp_path):
    """nanoGPT's Linear and GPT-2's Conv1D have the same names and the other orientation."""
    torch = saved(tmp_path / "nano.safetensors", h__attn__c_attn__weight=(12, 4), h__attn__c_proj__weight=(4, 4))
    conv = saved(tmp_path / "gpt2.safetensors", h__attn__c_attn__weight=(4, 12), h__attn__c_proj__weight=(4, 4))
    for path, orientation in ((torch, "out-in"), (conv, "in-out")):
        found = load_matrix(path, key="h.attn.c_attn.weight")
        assert found.matrix.shape == (12, 4) and found.orientation == orientation
        assert found.reason == "c_attn makes 3 times as many numbers as it is given"
        square = load_matrix(path, key="h.attn.c_proj.weight")
        assert square.orientation == orientation and "as h.attn.c_attn.weight beside it" in square.reason
    alone = saved(tmp_path / "alone.safetensors", h__attn__c_proj__weight=(4, 4))
    odd = saved(tmp_path / "odd.safetensors", h__mlp__c_fc__weight=(6, 4))
    both = saved(
        tmp_path / "both.safetensors", a__c_attn__weight=(12, 4), b__c_attn__weight=(4, 12), b__c_proj__weight=(4, 4)
    )
    for path, key in ((alone, None), (odd, None), (both, "b.c_proj.weight")):
        with pytest.raises(ValueError, match="stands for both, and no shape in the file tells; pass out-in"):
            load_matrix(path, key=key)


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2"])
def test_fp8_weights_are_read_unless_their_scales_stand_apart(tmp_path, matrix, name):
    dtype = getattr(ml_dtypes, name)
    kinds = {"float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2"}
    small = matrix.astype(dtype)
    other = np.arange(3, dtype=np.float32)

    def write(path, **names):
        header, blob = {}, b""
        for key, (kind, array) in names.items():
            raw = array.tobytes()
            place = [len(blob), len(blob) + len(raw)]
            header[key.replace("__", ".")] = {"dtype": kind, "shape": list(array.shape), "data_offsets": place}
            blob += raw
        head = json.dumps(header).encode()
        path.write_bytes(len(head).to_bytes(8, "little") + head + blob)
        return path

    path = write(tmp_path / "a.safetensors", x__bias=("F32", other), x__weight=(kinds[name], small))
    np.testing.assert_array_equal(load_matrix(path).matrix, small.astype(np.float32))
    path = write(tmp_path / "b.safetensors", x__weight=(kinds[name], small), x__weight_scale_inv=("F32", other))
    with pytest.raises(ValueError, match="to be multiplied by x.weight_scale_inv; multiply and save it as float32"):
        load_matrix(path)


def test_a_file_without_a_matrix(tmp_path):
    np.save(tmp_path / "line.npy", np.ones(5))
    with pytest.raises(ValueError, match=r"`path` must hold a matrix, or a stack of them, but line.npy has none"):
        load_matrix(tmp_path / "line.npy")
    with pytest.raises(ValueError, match=r"is 'a.wieght' \(did you mean 'a.weight'\?\)"):
        load_matrix(written(tmp_path / "w.npz", **{"a.weight": np.ones((2, 3))}), key="a.wieght")


@pytest.mark.parametrize("dtype", [">f8", np.longdouble])
def test_doubles_of_other_machines_keep_their_digits(tmp_path, dtype):
    numbers = np.random.default_rng(4).normal(size=(6, 4))
    np.save(tmp_path / "w.npy", numbers.astype(dtype))
    found = load_matrix(tmp_path / "w.npy", orientation="out-in").matrix
    assert found.dtype == np.float64 and found.dtype.isnative
    np.testing.assert_array_equal(found, numbers)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_safetensors_of_every_float(tmp_path, matrix, dtype):
    safetensors_numpy.save_file({"x.weight": matrix.astype(dtype)}, tmp_path / "w.safetensors")
    found = load_matrix(tmp_path / "w.safetensors").matrix
    assert found.dtype == (np.float64 if dtype is np.float64 else np.float32)
    np.testing.assert_array_equal(found, matrix.astype(dtype).astype(found.dtype))


def test_a_layer_of_a_stack(tmp_path, matrix):
    stack = np.stack([matrix, 2 * matrix])
    path = written(tmp_path / "w.npz", **{"blocks.kernel": stack, "blocks.bias": np.zeros((2, 4))})
    found = load_matrix(path, key="blocks.kernel", index=1)
    assert found.name == "blocks.kernel[1]" and found.orientation == "in-out"
    np.testing.assert_array_equal(found.matrix, 2 * matrix.T)
    for index in (None, 2, -1, True):
        with pytest.raises(ValueError, match=r"must choose one of the 2 layers stacked in blocks.kernel \(0..1\)"):
            load_matrix(path, key="blocks.kernel", index=index)
    # A convolution (out, in, width), attention's heads (in, heads, size) and (heads, size, out) as Flax has them.
    for shape, bias in (((2, 3, 5), (2,)), ((4, 2, 3), (2, 3)), ((2, 3, 4), (4,))):
        one = written(tmp_path / "one.npz", **{"a.kernel": np.ones(shape), "a.bias": np.ones(bias)})
        with pytest.raises(ValueError, match=r"a.kernel of shape .* with a bias of shape .* is one layer"):
            load_matrix(one, key="a.kernel", index=0)


def test_shards_are_found_through_their_index(tmp_path, matrix):
    safetensors_numpy.save_file({"a.weight": matrix}, tmp_path / "one.safetensors")
    safetensors_numpy.save_file({"b.weight": 3 * matrix}, tmp_path / "two.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    where = {"a.weight": "one.safetensors", "b.weight": "two.safetensors"}
    index.write_text(json.dumps({"weight_map": where}))
    np.testing.assert_array_equal(load_matrix(index, key="b.weight").matrix, 3 * matrix)
    both = {"a.weight": -matrix, "b.weight": 3 * matrix}  # one that the index says is in the other file, too
    safetensors_numpy.save_file(both, tmp_path / "two.safetensors")
    np.testing.assert_array_equal(load_matrix(index, key="a.weight").matrix, matrix)
    for wrong, message in (("one.safetensors", "one.safetensors holds b.weight, which is not there"), (3, "but has 3")):
        index.write_text(json.dumps({"weight_map": {**where, "b.weight": wrong}}))
        with pytest.raises(ValueError, match=message):
            load_matrix(index, key="a.weight")
    index.write_text(json.dumps({"weight_map": where}))
    (tmp_path / "two.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"names the file two.safetensors, which is not beside"):
        load_matrix(index, key="a.weight")
    index.write_text("{}")
    with pytest.raises(ValueError, match="no weight_map"):
        load_matrix(index)


def test_refusals_of_files(tmp_path, matrix):
    with pytest.raises(FileNotFoundError, match="`path` must be a file of weights"):
        load_matrix(tmp_path / "none.npy")
    (tmp_path / "w.bin").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"must end in .npy, .npz, .safetensors .*pickled objects"):
        load_matrix(tmp_path / "w.bin")
    for name in ("w.npy", "w.npz", "w.safetensors"):
        (tmp_path / name).write_bytes(b"not an array of anything at all")
        # NumPy's own words would advise to load it unsafely.
        said = "" if name.endswith(".safetensors") else f", but {name} is not: it holds no arrays of NumPy's"
        with pytest.raises(ValueError, match=f"readable file of arrays without pickle{said}"):
            load_matrix(tmp_path / name)
        (tmp_path / name).write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
        with pytest.raises(ValueError, match=f"{name} is not: it is a pointer of Git LFS, .* by `git lfs pull`"):
            load_matrix(tmp_path / name)
    np.save(tmp_path / "objects.npy", np.array([[None]]), allow_pickle=True)
    with pytest.raises(ValueError, match="objects.npy is not: it holds Python objects; save"):
        load_matrix(tmp_path / "objects.npy")
    written(tmp_path / "objects.npz", **{"a.weight": np.array([[None]])})
    with pytest.raises(ValueError, match=r"without pickle, but objects.npz is not: a.weight: it holds Python objects"):
        load_matrix(tmp_path / "objects.npz")
    for member, message in (("archive/data.pkl", "save a file of torch as safetensors"), ("a.npy", "a.npy: the magic")):
        with zipfile.ZipFile(tmp_path / "zip.npz", "w") as archive:
            archive.writestr(member, b"what torch writes")
        with pytest.raises(ValueError, match=f"without pickle, but zip.npz is not: .*{message}"):
            load_matrix(tmp_path / "zip.npz")
    np.save(tmp_path / "single.npy", matrix)
    (tmp_path / "single.npy").rename(tmp_path / "single.npz")
    with pytest.raises(ValueError, match="single array; name it .npy"):
        load_matrix(tmp_path / "single.npz")


def test_refusals_of_arrays(tmp_path, matrix):
    path = written(tmp_path / "w.npz", **{"a.weight": matrix, "b.weight": matrix, "bias": np.zeros(3)})
    with pytest.raises(ValueError, match=r"`key` must name one .*\(a.weight 6x4, b.weight 6x4\), but is not given"):
        load_matrix(path)
    with pytest.raises(ValueError, match=r"a.weight 6x4, b.weight 6x4, bias 3\), but is 'c'"):
        load_matrix(path, key="c")
    with pytest.raises(ValueError, match="`index` chooses a layer of a stack, but a.weight is one matrix"):
        load_matrix(path, key="a.weight", index=0)
    with pytest.raises(ValueError, match="must be one of .*'infer', 'out-in', 'in-out'.*'rows'"):
        load_matrix(path, key="a.weight", orientation="rows")
    np.save(tmp_path / "w.npy", matrix)
    with pytest.raises(ValueError, match=r"whether w.npy, 6 x 4, is \(out, in\) or \(in, out\)"):
        load_matrix(tmp_path / "w.npy")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((2, 2), np.int8), r"real floats, but holds int8"),
        (np.ones((2, 2), np.complex64), r"real floats, but holds complex64"),
        (np.full((2, 2), np.nan), r"4 of 4 are NaN or infinite"),
        (np.full((2, 2), 1e30, np.float32), r"square float32 can hold, but has not; rescale it"),
        (np.ones((0, 2)), r"must not be empty"),
        (np.ones(3), r"has shape \(3,\)"),
        (np.ones((1, 2, 3, 4)), r"has shape \(1, 2, 3, 4\)"),
        (np.ones((2, 2), ml_dtypes.bfloat16), r"raw 2-byte records"),
    ],
)
def test_refusals_of_contents(tmp_path, array, message):
    path = written(tmp_path / "w.npz", **{"array": array})
    with pytest.raises(ValueError, match=message):
        load_matrix(path, key="array")
