"""A small encoder of sentences written as published ones are, and what it makes of a sentence by NumPy."""

import json
import math

import numpy as np
import pytest

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "one", "two", "three", "four", "five", "##teen", ".")
CONFIG = {
    "model_type": "bert", "hidden_act": "gelu", "vocab_size": len(WORDS), "max_position_embeddings": 12,
    "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "pad_token_id": 0,
    "layer_norm_eps": 1e-6,
}  # fmt: skip


def small_arrays(seed=0):
    """Weights of a model of two blocks, nothing at its usual beginning, as the files call them."""
    rng = np.random.default_rng(seed)
    width, wide = CONFIG["hidden_size"], CONFIG["intermediate_size"]
    shapes = {"embeddings.word_embeddings.weight": (len(WORDS), width), "embeddings.LayerNorm.weight": (width,),
              "embeddings.position_embeddings.weight": (12, width), "embeddings.LayerNorm.bias": (width,),
              "embeddings.token_type_embeddings.weight": (2, width)}  # fmt: skip
    for number in range(2):
        maps = dict.fromkeys(("attention.self.query", "attention.self.key", "attention.self.value",
                              "attention.output.dense"), (width, width))  # fmt: skip
        maps |= {"intermediate.dense": (wide, width), "output.dense": (width, wide)}
        for name, shape in maps.items():
            shapes[f"encoder.layer.{number}.{name}.weight"] = shape
            shapes[f"encoder.layer.{number}.{name}.bias"] = shape[:1]
        for name in ("attention.output", "output"):
            for part in ("weight", "bias"):
                shapes[f"encoder.layer.{number}.{name}.LayerNorm.{part}"] = (width,)
    arrays = {name: 0.5 * rng.normal(size=shape) for name, shape in shapes.items()}
    return {name: (array + name.endswith("Norm.weight")).astype(np.float32) for name, array in arrays.items()}


def write_encoder(folder, *, arrays=None, pooling=None, prefix="", **config):
    """The folder, with entries of its config changed."""
    save_file = pytest.importorskip("safetensors.numpy", reason="needs the encoder extra").save_file
    tokenizers = pytest.importorskip("tokenizers", reason="needs the encoder extra")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | config), encoding="utf-8")
    arrays = small_arrays() if arrays is None else arrays
    save_file({prefix + name: array for name, array in arrays.items()}, folder / "model.safetensors")
    made = tokenizers.Tokenizer(
        tokenizers.models.WordPiece({word: code for code, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.save(str(folder / "tokenizer.json"))
    if pooling is not None:
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling), encoding="utf-8")
    return folder


def by_hand(arrays, tokens, pooling="mean"):
    """The vector of one sentence without padding, double precision, in loops, as the layers are described."""
    a = {name: np.asarray(array, np.float64) for name, array in arrays.items()}

    def norm(name, row):
        return (row - row.mean()) / np.sqrt(row.var() + 1e-6) * a[f"{name}.weight"] + a[f"{name}.bias"]

    def linear(name, row):
        return a[f"{name}.weight"] @ row + a[f"{name}.bias"]

    def gelu(row):
        return np.array([v * (1 + math.erf(v / math.sqrt(2))) / 2 for v in row])

    words, positions, types = (a[f"embeddings.{n}_embeddings.weight"] for n in ("word", "position", "token_type"))
    rows = [norm("embeddings.LayerNorm", words[t] + positions[i] + types[0]) for i, t in enumerate(tokens)]
    for number in range(2):
        at = f"encoder.layer.{number}"
        q, k, v = ([linear(f"{at}.attention.self.{n}", r) for r in rows] for n in ("query", "key", "value"))
        mixed = []
        for i in range(len(rows)):
            heads = []
            for part in (slice(0, 4), slice(4, 8)):
                scores = np.array([q[i][part] @ key[part] / 2 for key in k])
                weights = np.exp(scores) / np.exp(scores).sum()
                heads.append(sum(w * value[part] for w, value in zip(weights, v, strict=True)))
            mixed.append(linear(f"{at}.attention.output.dense", np.concatenate(heads)))
        rows = [norm(f"{at}.attention.output.LayerNorm", r + m) for r, m in zip(rows, mixed, strict=True)]
        inner = [linear(f"{at}.output.dense", gelu(linear(f"{at}.intermediate.dense", r))) for r in rows]
        rows = [norm(f"{at}.output.LayerNorm", r + m) for r, m in zip(rows, inner, strict=True)]
    whole = rows[0] if pooling == "first" else np.mean(rows, axis=0)
    return whole / np.linalg.norm(whole)
