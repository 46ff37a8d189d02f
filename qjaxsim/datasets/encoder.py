"""A published encoder of sentences from its folder: sizes, weights and tokens, without pickle; NumPy only.

The folder is as Hugging Face and Sentence Transformers write it: `config.json`, `model.safetensors`, or its
`model.safetensors.index.json` beside the files that it names, `tokenizer.json` and, where there is one,
`1_Pooling/config.json`.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qjaxsim.common.checks import as_path
from qjaxsim.common.extras import require
from qjaxsim.datasets.weights import INDEX_ENDING, files_of, load_arrays

WEIGHTS, CONFIG, TOKENIZER, POOLING = "model.safetensors", "config.json", "tokenizer.json", "1_Pooling/config.json"
# Of weights in several files.
_INDEX = f"model{INDEX_ENDING}"
# What of config.json must be so, and what an encoder without the entry has.
_KIND: dict[str, tuple[Any, Any]] = {
    "model_type": ("bert", None),
    "hidden_act": ("gelu", "gelu"),
    "position_embedding_type": ("absolute", "absolute"),
    "type_vocab_size": (2, 2),
}
_SIZES = (
    "vocab_size", "max_position_embeddings", "hidden_size", "intermediate_size", "num_hidden_layers",
    "num_attention_heads",
)  # fmt: skip
# Some files call everything "bert." and so on.
_PREFIX = "bert."


@dataclass(frozen=True, eq=False)
class EncoderFolder:
    """What a folder says of its encoder.

    Attributes:
        name: of the folder, or of the model as its card has it.
        config: what `config.json` holds.
        pooling: "mean" or "first".
        sha256: of the file of weights, or of several files and their names.
        path: the folder.
    """

    name: str
    config: Mapping[str, Any]
    pooling: str
    sha256: str
    path: Path

    def arrays(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
        """Parameters, float32.

        Args:
            shapes: name -> shape of what is wanted.

        Raises:
            ValueError: if one is missing, or has another shape.
        """
        with _of_the_encoder():
            found = load_arrays(_weights(self.path), shapes, _PREFIX)
        for name, shape in shapes.items():
            if found[name].shape != shape:
                raise ValueError(
                    f"Argument `encoder` must hold weights as its {CONFIG} says, but {name} is {found[name].shape}, "
                    f"not {shape}."
                )
        return found

    def tokens(self, sentences: Sequence[str], length: int) -> np.ndarray:
        """Tokens of sentences, (sentences, length) int32, cut or filled up to that length.

        Args:
            sentences: any strings.
            length: with the marks at beginning and end.
        """
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self.path / TOKENIZER))
        tokenizer.enable_truncation(length)
        tokenizer.no_padding()
        rows = [entry.ids for entry in tokenizer.encode_batch(list(sentences))]
        found = np.full((len(rows), length), self.padding, np.int32)
        for row, ids in zip(found, rows, strict=True):
            row[: len(ids)] = ids
        return found

    @property
    def padding(self) -> int:
        """Token that fills up."""
        return int(self.config.get("pad_token_id") or 0)


def open_encoder(path: str | Path) -> EncoderFolder:
    """The encoder of a folder; weights are read later.

    Args:
        path: with `config.json`, `model.safetensors`, or the index of several files, and `tokenizer.json`.

    Raises:
        FileNotFoundError: naming the file that is not there.
        ValueError: for a model of another kind than BERT, or files that cannot be read.
        qjaxsim.common.extras.MissingExtraError: without safetensors or tokenizers.
    """
    path = as_path("path", path)
    for name in (CONFIG, _weights(path).name, TOKENIZER):
        if not (path / name).is_file():
            raise FileNotFoundError(
                f"Argument `encoder` must be a folder with {CONFIG}, {WEIGHTS} and {TOKENIZER}, but there is no {name} "
                f"in {path}."
            )
    for package in ("safetensors", "tokenizers"):
        require(package, f"Reading an encoder needs the package {package}", "encoder")
    config = _json(path / CONFIG)
    for name, (wanted, otherwise) in _KIND.items():
        if (given := config.get(name, otherwise)) != wanted:
            raise ValueError(
                f"Argument `encoder` must be a folder of a BERT encoder ({name} {wanted!r}), but {CONFIG} says "
                f"{given!r}."
            )
    if missing := [name for name in _SIZES if not isinstance(config.get(name), int)]:
        raise ValueError(f"Argument `encoder` must hold the sizes in {CONFIG}, but {missing[0]} is no integer there.")
    _require_tokenizer(path / TOKENIZER)
    name = str(config.get("_name_or_path") or path.name)
    return EncoderFolder(name, config, _pooling(path / POOLING), _sha256(_weights(path)), path)


def _weights(folder: Path) -> Path:
    """The one file of weights, which comes first where there is an index too, as for those who write them."""
    index = folder / _INDEX
    return index if index.is_file() and not (folder / WEIGHTS).is_file() else folder / WEIGHTS


def _sha256(weights: Path) -> str:
    with _of_the_encoder():
        parts = files_of(weights)
    digests = []
    for part in parts:
        with part.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    if len(parts) == 1:
        return digests[0]
    named = "".join(f"{part.name} {digest}\n" for part, digest in zip(parts, digests, strict=True))
    return hashlib.sha256(named.encode()).hexdigest()


@contextmanager
def _of_the_encoder() -> Iterator[None]:
    """Errors about the weights in the words of this module's argument."""
    try:
        yield
    except (FileNotFoundError, ValueError) as error:
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
        raise kind(str(error).replace("`path`", "`encoder`")) from error


def _require_tokenizer(path: Path) -> None:
    from tokenizers import Tokenizer

    try:
        Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises nothing narrower
        raise _unreadable(path, error) from error


def _pooling(path: Path) -> str:
    """How token vectors become a sentence's; the mean where a folder does not say."""
    if not path.is_file():
        return "mean"
    chosen = [name for name, on in _json(path).items() if name.startswith("pooling_mode_") and on]
    known = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "first"}
    if len(chosen) != 1 or chosen[0] not in known:
        raise ValueError(
            f"Argument `encoder` must take the mean of its tokens or the first one, but {POOLING} says {chosen}."
        )
    return known[chosen[0]]


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise _unreadable(path, error) from error
    if not isinstance(found, dict):
        raise _unreadable(path, "it is no object")
    return found


def _unreadable(path: Path, reason: Any) -> ValueError:
    return ValueError(f"Argument `encoder` must hold readable files, but {path.name} is not: {reason}.")
