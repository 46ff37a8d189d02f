"""Text for character models: the language reference that ships with Python, or a file; NumPy only.

Python's reference differs between its versions, so what was read is recorded by its SHA-256.
"""

import hashlib
import platform
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qjaxsim.common.checks import as_path, positive_integer

_VALIDATION, _TEST = 0.1, 0.1


@dataclass(frozen=True, eq=False)
class Text:
    """A text as character codes, split by position.

    Attributes:
        characters: the distinct characters in order; code c stands for `characters[c]`.
        train: codes of the first part, int32, shape (n,).
        validation: codes of the tenth after it.
        test: codes of the last tenth.
        sha256: of the UTF-8 bytes of what was read, before paragraphs that repeat were dropped.
        read: characters read.
        source: where the text is from and what was dropped.
    """

    characters: str
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    sha256: str
    read: int
    source: str

    def encode(self, words: str) -> np.ndarray:
        """Codes of some characters, int32, shape (len(words),).

        Raises:
            ValueError: naming a character that the text does not have.
        """
        strange = sorted(set(words) - set(self.characters))
        if strange:
            raise ValueError(
                f"Argument `words` must hold characters of the text, but {strange[0]!r} is none; leave it out."
            )
        return _codes(self.characters, words)

    def decode(self, codes: np.ndarray) -> str:
        """The characters of some codes."""
        return "".join(self.characters[code] for code in codes)


def load_text(path: str | Path | None = None) -> Text:
    """A text split into training, validation and test parts, by position at 80 and 90 %.

    Paragraphs that occur a second time are dropped first, white space aside: Python's reference repeats whole sections
    between topics (a fifth of it), which would put parts of the training text into the test.

    Args:
        path: a file in UTF-8, whose byte order mark is no character. Default: the language reference that ships with
            Python (`pydoc_data.topics`), its topics in an order drawn once, so that the test part is not the end of the
            alphabet.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not UTF-8, or too short to be split.
    """
    if path is None:
        sections, source = _reference(), f"pydoc_data.topics of Python {platform.python_version()}"
    else:
        path = as_path("path", path)
        if not path.is_file():
            raise FileNotFoundError(f"Argument `path` must be a text, but there is none at {path}.")
        try:
            sections = [path.read_text(encoding="utf-8-sig")]
        except UnicodeDecodeError as error:
            raise ValueError(
                f"Argument `path` must be a text in UTF-8, but {path} is not ({error.reason}); save it as that."
            ) from error
        source = path.name
    whole = "\n\n".join(sections)
    kept, dropped = _without_repeats(whole)
    if len(kept) < 100:
        raise ValueError(f"Argument `path` must hold a text of at least 100 characters, but has {len(kept)}.")
    characters = "".join(sorted(set(kept)))
    codes = _codes(characters, kept)
    ends = [round(share * len(codes)) for share in (1 - _VALIDATION - _TEST, 1 - _TEST)]
    train, validation, test = np.split(codes, ends)
    return Text(
        characters,
        train,
        validation,
        test,
        sha256=hashlib.sha256(whole.encode("utf-8")).hexdigest(),
        read=len(whole),
        source=f"{source}, {dropped} repeated paragraphs dropped",
    )


def windows(codes: np.ndarray, context: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets of a model that predicts the next character: windows side by side, the rest left out.

    Args:
        codes: codes of a text, (n,).
        context: characters of a window.

    Returns:
        Two int32 arrays (number of windows, context); targets are one character later.

    Raises:
        ValueError: if the text is shorter than a window and one character, or `context` is no positive integer.

    >>> windows(np.arange(7), 3)[1].tolist()
    [[1, 2, 3], [4, 5, 6]]
    """
    context = positive_integer("context", context)
    count = (len(codes) - 1) // context
    if count < 1:
        raise ValueError(
            f"Argument `context` must be less than the length of every part of the text, but is {context} and a part "
            f"has {len(codes)} characters; shorten it or take a longer text."
        )
    used = codes[: count * context + 1].astype(np.int32)
    return used[:-1].reshape(count, context), used[1:].reshape(count, context)


def sentences(text: str, *, words: int = 5) -> list[str]:
    r"""Sentences of a text in its order, white space as single blanks.

    They end at a full stop, question or exclamation mark before white space, and at empty lines.

    Args:
        text: any.
        words: shorter ones, counted in words of letters alone, are left out, as headings and code mostly are.

    >>> sentences("The first  one\nhas six words. Two words.\n\nA heading")
    ['The first one has six words.']
    """
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        for sentence in re.split(r"(?<=[.!?])\s+", " ".join(paragraph.split())):
            if len(re.findall(r"(?<!\S)[^\W\d_]+\W?(?!\S)", sentence)) >= words:
                found.append(sentence)
    return found


def _codes(characters: str, words: str) -> np.ndarray:
    code = {character: number for number, character in enumerate(characters)}
    return np.array([code[character] for character in words], np.int32)


def _reference() -> list[str]:
    from pydoc_data.topics import topics

    names = sorted(topics)
    return [topics[names[place]] for place in np.random.default_rng(0).permutation(len(names))]


def _without_repeats(text: str) -> tuple[str, int]:
    """The text without paragraphs that occurred before, and how many those were."""
    seen: set[str] = set()
    kept, dropped = [], 0
    for paragraph in text.split("\n\n"):
        key = " ".join(paragraph.split())
        if key in seen:
            dropped += 1
            continue
        seen.add(key)
        kept.append(paragraph)
    return "\n\n".join(kept), dropped
