"""Folders of published encoders of sentences: sizes, weights, tokens, and what is wrong with a folder."""

import json

import numpy as np
import pytest

from qjaxsim.datasets.encoder import open_encoder
from qjaxsim.datasets.text import sentences
from tests.encoders import small_arrays, write_encoder

SHAPES = {name: array.shape for name, array in small_arrays().items()}
CLS = {"word_embedding_dimension": 8, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}


def test_a_folder_is_read_as_it_is(tmp_path):
    found = open_encoder(write_encoder(tmp_path / "small"))
    assert found.name == "small" and found.pooling == "mean" and found.padding == 0 and len(found.sha256) == 64
    for name, array in found.arrays(SHAPES).items():
        np.testing.assert_array_equal(array, small_arrays()[name])
    again = open_encoder(write_encoder(tmp_path / "first", pooling=CLS, prefix="bert.", _name_or_path="a/b"))
    assert again.pooling == "first" and again.name == "a/b"
    np.testing.assert_array_equal(
        again.arrays(SHAPES)["embeddings.LayerNorm.bias"], small_arrays()["embeddings.LayerNorm.bias"]
    )


def split_weights(folder):
    """The folder with its weights in two files behind an index, as larger models are published."""
    from safetensors.numpy import load_file, save_file

    arrays = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    where = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(sorted(arrays))}
    for shard in set(where.values()):
        save_file({name: arrays[name] for name, file in where.items() if file == shard}, folder / shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}), encoding="utf-8")
    return folder


def test_weights_in_several_files(tmp_path):
    folder = split_weights(write_encoder(tmp_path / "small", prefix="bert."))
    found = open_encoder(folder)
    for name, array in found.arrays(SHAPES).items():
        np.testing.assert_array_equal(array, small_arrays()[name])
    other = split_weights(write_encoder(tmp_path / "other", prefix="bert.", arrays=small_arrays(seed=1)))
    assert len({open_encoder(each).sha256 for each in (folder, other)}) == 2 and len(found.sha256) == 64
    whole = write_encoder(tmp_path / "whole", arrays=small_arrays(seed=2))
    split_weights(whole)
    write_encoder(whole, arrays=small_arrays(seed=3))  # one file beside an index comes first, as for those who write it
    name = "embeddings.word_embeddings.weight"
    np.testing.assert_array_equal(open_encoder(whole).arrays({name: SHAPES[name]})[name], small_arrays(seed=3)[name])
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"`encoder` names the file model-00002-of-0+2.safetensors, which is not"
    ):
        open_encoder(folder)
    (folder / "model.safetensors.index.json").write_text("{}", encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"`encoder` must be a readable file .* model.safetensors.index.json is not: no"
    ):
        open_encoder(folder)


def test_tokens_are_cut_and_filled_up(tmp_path):
    found = open_encoder(write_encoder(tmp_path / "small", pad_token_id=1)).tokens(
        ["one fourteen .", "one two three four five", "", "seven"], 6
    )
    assert found.dtype == np.int32
    # [CLS] 2, [SEP] 3; what is not known is 1, which this folder fills up with, too.
    assert found.tolist() == [[2, 4, 7, 9, 10, 3], [2, 4, 5, 6, 7, 3], [2, 3, 1, 1, 1, 1], [2, 1, 3, 1, 1, 1]]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "roberta"}, "must be a folder of a BERT encoder .model_type 'bert'., but .* says 'roberta'"),
        ({"hidden_act": "relu"}, "hidden_act 'gelu'.*says 'relu'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type 'absolute'"),
        ({"hidden_size": "8"}, "must hold the sizes in config.json, but hidden_size is no integer"),
    ],
)
def test_encoders_of_another_kind(tmp_path, config, message):
    with pytest.raises(ValueError, match=f"`encoder` .*{message}"):
        open_encoder(write_encoder(tmp_path, **config))


def test_files_that_are_missing_or_broken(tmp_path):
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        folder = write_encoder(tmp_path / f"without-{name}")
        (folder / name).unlink()
        with pytest.raises(FileNotFoundError, match=f"`encoder` must be a folder with .* but there is no {name} in"):
            open_encoder(folder)
    for name, words in (("config.json", "Expecting"), ("tokenizer.json", ".")):
        folder = write_encoder(tmp_path / f"broken-{name}")
        (folder / name).write_text("{", encoding="utf-8")
        with pytest.raises(ValueError, match=f"`encoder` must hold readable files, but {name} is not: .*{words}"):
            open_encoder(folder)
    folder = write_encoder(tmp_path / "list")
    (folder / "config.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(ValueError, match="config.json is not: it is no object"):
        open_encoder(folder)
    folder = write_encoder(tmp_path / "weights")
    (folder / "model.safetensors").write_bytes(b"\x08" + 7 * b"\0" + b"nonsense")
    with pytest.raises(ValueError, match="`encoder` must be a readable file of arrays .* but model.safetensors is not"):
        open_encoder(folder).arrays(SHAPES)


def test_weights_that_do_not_fit_their_config(tmp_path):
    folder = open_encoder(write_encoder(tmp_path / "wide", intermediate_size=32))
    with pytest.raises(ValueError, match=r"weights as its config.json says, but encoder.*\(16, 8\), not \(32, 8\)"):
        folder.arrays(SHAPES | {"encoder.layer.0.intermediate.dense.weight": (32, 8)})
    arrays = small_arrays()
    del arrays["encoder.layer.1.output.dense.bias"]
    short = open_encoder(write_encoder(tmp_path / "short", arrays=arrays))
    with pytest.raises(ValueError, match=r"must hold the array encoder.layer.1.output.dense.bias, but does not"):
        short.arrays(SHAPES)
    arrays = small_arrays() | {"embeddings.LayerNorm.bias": np.full(8, np.nan, np.float32)}
    with pytest.raises(ValueError, match="Array embeddings.LayerNorm.bias must hold finite numbers"):
        open_encoder(write_encoder(tmp_path / "nan", arrays=arrays)).arrays(SHAPES)


@pytest.mark.parametrize(
    ("pooling", "chosen"),
    [({"pooling_mode_max_tokens": True}, "max"), (CLS | {"pooling_mode_mean_tokens": True}, "cls.*mean"), ({}, "")],
)
def test_poolings_that_are_not_known(tmp_path, pooling, chosen):
    with pytest.raises(ValueError, match=rf"the mean of its tokens or the first one, but .* says \[.*{chosen}"):
        open_encoder(write_encoder(tmp_path, pooling=pooling))


def test_sentences_are_prose():
    text = "A Heading\n\nIt is a cat, not\n  a dog!  And why is it so?\n\n>>> x = f(1, 2)\n\nOne two three four no end"
    assert sentences(text) == ["It is a cat, not a dog!", "And why is it so?", "One two three four no end"]
    assert sentences(text, words=6) == ["It is a cat, not a dog!", "One two three four no end"]
    assert sentences("") == []
