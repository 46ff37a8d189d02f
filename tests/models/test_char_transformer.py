"""The character transformer against a plain NumPy forward pass, its replaceable layers, its text."""

import hashlib
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qjaxsim.datasets.text import load_text, windows
from qjaxsim.models.disentangler.char_transformer import CharTransformer, generate, next_character_metrics

MODEL = CharTransformer(11, context=6, width=8, n_blocks=2, n_heads=2)


@pytest.fixture(scope="module")
def params():
    """Nothing at its initial zero or one, so that every number counts."""
    start = MODEL.init(jax.random.key(4), np.float64)
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf) + 0.3 * rng.normal(size=leaf.shape)), start)


@pytest.fixture(scope="module")
def tokens():
    return np.random.default_rng(1).integers(0, 11, (3, 5)).astype(np.int32)


class Dense:
    """An operator that is a matrix."""

    def __init__(self, weight):
        self.weight = weight

    def apply(self, x):
        return x @ self.weight.T


def by_hand(params, text):
    """Logits of one text in loops, as the layers are described in books."""
    p = jax.tree.map(np.asarray, params)

    def norm(layer, row):
        return (row - row.mean()) / np.sqrt(row.var() + 1e-5) * layer["gain"] + layer["bias"]

    def gelu(v):
        return 0.5 * v * (1 + np.tanh(np.sqrt(2 / np.pi) * (v + 0.044715 * v**3)))

    stream = [p["characters"][c] + p["positions"][i] for i, c in enumerate(text)]
    for number in range(MODEL.n_blocks):
        block = p[f"block{number}"]
        inner = [norm(block["norm"], row) for row in stream]
        q, k, v = ([block[n]["weight"] @ r + block[n]["bias"] for r in inner] for n in ("query", "key", "value"))
        size = MODEL.width // MODEL.n_heads
        for i in range(len(text)):
            heads = []
            for h in range(MODEL.n_heads):
                part = slice(h * size, (h + 1) * size)
                scores = np.array([q[i][part] @ k[j][part] / math.sqrt(size) for j in range(i + 1)])
                weights = np.exp(scores - scores.max())
                heads.append(sum(w * v[j][part] for j, w in enumerate(weights / weights.sum())))
            stream[i] = stream[i] + block["output"]["weight"] @ np.concatenate(heads) + block["output"]["bias"]
        for i, row in enumerate(stream):
            wide = gelu(block["up"]["weight"] @ norm(block["norm2"], row) + block["up"]["bias"])
            stream[i] = row + block["down"]["weight"] @ wide + block["down"]["bias"]
    return np.array([p["predict"]["weight"] @ norm(p["last_norm"], row) + p["predict"]["bias"] for row in stream])


def test_logits_are_those_of_a_loop(params, tokens):
    found = jax.jit(MODEL.outputs)(params, tokens)
    for text, logits in zip(tokens, found, strict=True):
        np.testing.assert_allclose(logits, by_hand(params, text), atol=1e-12)


def test_later_characters_do_not_reach_back(params, tokens):
    other = tokens.copy()
    other[:, 3:] = (other[:, 3:] + 1) % 11
    before, after = MODEL.outputs(params, tokens), MODEL.outputs(params, other)
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    assert (before[:, 3:] != after[:, 3:]).any()


def test_names_shapes_and_number_of_parameters(params):
    assert MODEL.linear_names[:6] == tuple(f"block0.{n}" for n in ("query", "key", "value", "output", "up", "down"))
    for name in MODEL.linear_names:
        assert MODEL.weight(params, name).shape == MODEL.shape_of(name)
    assert MODEL.shape_of("block1.up") == (32, 8) and MODEL.shape_of("block1.down") == (8, 32)
    # Twelve squares of the width and thirteen vectors a block (nine of biases, four of norms); GPT-2's count.
    d = 8
    expected = 2 * (12 * d**2 + 13 * d) + 2 * 11 * d + 11 + 6 * d + 2 * d
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == expected
    assert {leaf.dtype for leaf in jax.tree.leaves(MODEL.init(jax.random.key(0), np.float32))} == {np.dtype("float32")}


def test_an_operator_replaces_a_weight_and_leaves_the_bias(params, tokens):
    rng = np.random.default_rng(5)
    new = {name: jnp.asarray(rng.normal(size=MODEL.shape_of(name))) for name in ("block0.key", "block1.down")}
    through_operators = MODEL.outputs(params, tokens, {name: Dense(weight) for name, weight in new.items()})
    through_weights = MODEL.outputs(MODEL.with_weights(params, new), tokens)
    np.testing.assert_allclose(through_operators, through_weights, atol=1e-12)
    assert np.abs(through_operators - MODEL.outputs(params, tokens)).max() > 1e-2
    # Exchanging weights leaves the original alone.
    assert not np.allclose(MODEL.weight(params, "block0.key"), new["block0.key"])


def test_inputs_of_layers(params, tokens):
    seen = jax.jit(MODEL.inputs_of)(params, tokens)
    assert set(seen) == set(MODEL.linear_names)
    assert all(seen[name].shape == (15, MODEL.shape_of(name)[1]) for name in seen)
    # The first layer sees the normalised sum of character and position.
    row = np.asarray(params["characters"][tokens[1, 2]] + params["positions"][2])
    expected = (row - row.mean()) / np.sqrt(row.var() + 1e-5)
    expected = expected * params["block0"]["norm"]["gain"] + params["block0"]["norm"]["bias"]
    np.testing.assert_allclose(seen["block0.query"][5 + 2], expected, atol=1e-12)


def test_metrics_of_known_cases():
    targets = np.array([[0, 1], [2, 2]])
    even = next_character_metrics(jnp.zeros((2, 2, 4)), targets)
    assert float(even["loss"]) == pytest.approx(math.log(4)) and float(even["accuracy"]) == 0.25
    sure = jnp.asarray(50.0 * np.eye(4)[np.array([[0, 1], [2, 3]])])
    found = next_character_metrics(sure, targets)
    assert float(found["loss"]) == pytest.approx(50 / 4) and float(found["accuracy"]) == 0.75


def test_losses_keep_their_slopes_where_a_character_is_all_but_certain():
    logits = jnp.array([[[20.0, 0.0, 0.0]]], jnp.float32)
    loss, slopes = jax.value_and_grad(lambda z: next_character_metrics(z, np.array([[0]]))["loss"])(logits)
    share = 1 / (math.exp(20) + 2)
    np.testing.assert_allclose(loss, -math.log1p(-2 * share), rtol=1e-5)
    np.testing.assert_allclose(slopes[0, 0], [-2 * share, share, share], rtol=1e-5)


def test_generation_takes_the_likeliest_and_slides_its_window(params, key):
    drawn = generate(MODEL, params, [3, 1], 9, key, temperature=0.0)
    assert len(drawn) == 11 and drawn[:2].tolist() == [3, 1]
    for end in range(2, 11):
        seen = drawn[max(0, end - MODEL.context) : end]
        assert drawn[end] == by_hand(params, seen)[-1].argmax()
    hot = [generate(MODEL, params, [3], 30, jax.random.key(seed), temperature=5.0) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(hot[0], hot[1])
    assert (hot[0] != hot[2]).any()


def test_refusals(params, tokens, key):
    with pytest.raises(ValueError, match="`n_heads` must divide `width`, 8, but is 3"):
        CharTransformer(5, width=8, n_heads=3)
    with pytest.raises(ValueError, match="`n_blocks` must be an integer of at least 1, but is 0"):
        CharTransformer(5, n_blocks=0)
    with pytest.raises(ValueError, match="`operators` must name linear .*, block0.query, .* but has 'block2.query'"):
        MODEL.outputs(params, tokens, {"block2.query": Dense(np.eye(8))})
    with pytest.raises(ValueError, match="`name` must name linear maps .*, but has 'predict'"):
        MODEL.weight(params, "predict")
    with pytest.raises(ValueError, match=r"shape \(8, 8\) for 'block0.key', but it has shape \(8, 4\)"):
        MODEL.with_weights(params, {"block0.key": np.ones((8, 4))})
    with pytest.raises(ValueError, match=r"`tokens` must have shape \(batch, 1..6\), but has shape \(1, 7\)"):
        MODEL.outputs(params, np.zeros((1, 7), np.int32))
    with pytest.raises(ValueError, match="`prompt` must hold at least one character"):
        generate(MODEL, params, [], 1, key)
    with pytest.raises(ValueError, match="`temperature` must not be negative, but is -1"):
        generate(MODEL, params, [1], 1, key, temperature=-1.0)


# --- text ------------------------------------------------------------------------------------------------------------


def test_the_reference_of_python_is_split_without_repeats():
    text = load_text()
    whole = text.decode(np.concatenate([text.train, text.validation, text.test]))
    assert len(text.train) == pytest.approx(0.8 * len(whole), abs=1)
    assert len(text.validation) == pytest.approx(len(text.test), abs=1)
    paragraphs = [" ".join(part.split()) for part in whole.split("\n\n")]
    assert len(set(paragraphs)) == len(paragraphs) > 1000
    assert text.read > len(whole) > 200_000 and "repeated paragraphs dropped" in text.source
    assert text.characters == "".join(sorted(set(whole))) and len(text.characters) > 80
    np.testing.assert_array_equal(text.encode(whole[:500]), text.train[:500])


def test_a_file_as_text(tmp_path):
    content = "one two\n\none  two\n\n" + "\n\n".join(f"line {i}" for i in range(40))
    (tmp_path / "t.txt").write_text(content, encoding="utf-8")
    text = load_text(tmp_path / "t.txt")
    assert text.sha256 == hashlib.sha256(content.encode()).hexdigest() and text.read == len(content)
    assert text.source == "t.txt, 1 repeated paragraphs dropped"
    with pytest.raises(ValueError, match="`words` must hold characters of the text, but 'z' is none"):
        text.encode("zone")
    (tmp_path / "marked.txt").write_text(content, encoding="utf-8-sig")
    marked = load_text(tmp_path / "marked.txt")
    assert marked.characters == text.characters and marked.sha256 == text.sha256
    (tmp_path / "short.txt").write_text("abc")
    with pytest.raises(ValueError, match="at least 100 characters, but has 3"):
        load_text(tmp_path / "short.txt")
    (tmp_path / "latin.txt").write_bytes("é".encode("latin-1") * 200)
    with pytest.raises(ValueError, match="must be a text in UTF-8, but .*latin.txt is not .*; save it"):
        load_text(tmp_path / "latin.txt")


def test_windows_follow_each_other_and_targets_are_one_later():
    codes = np.arange(23)
    x, y = windows(codes, 5)
    assert x.shape == y.shape == (4, 5) and x.dtype == np.int32
    np.testing.assert_array_equal(x.ravel(), codes[:20])
    np.testing.assert_array_equal(y, x + 1)
    with pytest.raises(ValueError, match="`context` must be less than the length .* but is 23"):
        windows(codes, 23)
    for context in (0, -1, 2.0):
        with pytest.raises(ValueError, match=f"`context` must be a positive integer, but is {context}"):
            windows(codes, context)
