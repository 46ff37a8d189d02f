"""What trained models of images share: preprocessing with channels, circuits of attention; no study is run."""

import jax
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.models.attention import AttentionSettings
from qjaxsim.models.attention_vit import VisionTransformer
from qjaxsim.studies.attention.trained import TrainedTransformer
from qjaxsim.studies.shared.examples import Examples
from qjaxsim.studies.shared.preprocessing import Preprocessing
from qjaxsim.studies.shared.trained import real_numbers


def transformer(kind, channels=1):
    """An untrained model of 4 x 4 images, as if it came out of a folder."""
    layer = AttentionSettings(kind=kind, n_heads=2)
    model = VisionTransformer(4, channels, 2, dim=8, hidden=8, n_classes=3, attention=layer)
    x, y = np.zeros((6, 4, 4, channels)), np.arange(6) % 3
    examples = Examples(x, y, x, y, 3, "made up", Preprocessing(4, 255, channels=channels))
    params = model.init(jax.random.key(3))
    return TrainedTransformer(key="x", seed=1, model=model, params=params, examples=examples, labels=(4, 5, 6))


def test_images_with_channels_are_scaled_and_keep_them():
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3))
    found = transformer("softmax", channels=3)
    np.testing.assert_allclose(found.prepare(images), images / 255, rtol=1e-6)
    logits = found.model.outputs(found.params, images / 255)
    np.testing.assert_array_equal(found.predict(images), np.array([4, 5, 6])[np.asarray(logits).argmax(axis=1)])
    with pytest.raises(ValueError, match=r"must have shape \(N, 4, 4, 3\), but has \(2, 4, 4\)"):
        found.predict(images[..., 0])


def test_grey_images_take_their_channel_or_leave_it_out():
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 1))
    found = transformer("softmax")
    assert found.prepare(images).shape == found.prepare(images[..., 0]).shape == (2, 4, 4, 1)
    with pytest.raises(ValueError, match=r"\(N, 4, 4\), with or without a last axis of 1, but has \(2, 4, 4, 3\)"):
        found.prepare(np.repeat(images, 3, axis=3))


def test_masks_and_imaginary_parts_are_not_dropped():
    found, images, tokens = transformer("softmax"), np.full((2, 4, 4), 9.0), np.ones((1, 2, 8))
    for call, name in (
        (lambda: found.predict(np.ma.array(images, mask=images > 3)), "images"),
        (lambda: found.attend(np.ma.array(tokens, mask=tokens > 0)), "tokens"),
        (lambda: real_numbers("x", np.ma.array([1, 2], mask=[0, 1])), "x"),
    ):
        with pytest.raises(TypeError, match=f"Argument `{name}` must be whole, but is a masked array; fill it"):
            call()
    with pytest.raises(ValueError, match="Argument `tokens` must hold real numbers, but is complex128"):
        found.attend(tokens + 1j)
    np.testing.assert_array_equal(real_numbers("x", [[1, 2]]), [[1, 2]])


def test_the_circuit_of_attention_gives_the_values_of_its_tokens():
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 4))
    found = transformer("circuit")
    circuit, params = found.circuits(images)["values"]
    assert params["inputs"].shape == (2 * 4, 4) and found.circuits()["values"].params.keys() == {"weights"}
    values = np.asarray(qj.expectation(circuit, [qj.Z(q) for q in range(4)])(params)).reshape(2, 4, 4)
    layer = {name: np.asarray(value) for name, value in found.params["block0"]["attention"].items()}
    values = (values @ layer["up"].T).reshape(2, 4, 2, 4).swapaxes(1, 2)
    tokens = np.asarray(found.model.first_tokens(found.params, found.prepare(images)))
    # Softmax attention of two heads over these values, in NumPy.
    q, k = ((tokens @ layer[name].T).reshape(2, 4, 2, 4).swapaxes(1, 2) for name in ("query", "key"))
    scores = np.exp(q @ k.swapaxes(2, 3) / 2)
    wanted = (scores / scores.sum(3, keepdims=True) @ values).swapaxes(1, 2).reshape(2, 4, 8)
    np.testing.assert_allclose(found.attend(tokens).output, wanted, rtol=1e-6, atol=1e-8)
    assert transformer("bottleneck").circuits(images) == {}
