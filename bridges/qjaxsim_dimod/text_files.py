"""Problems in text: coordinates, qbsolv, Max-Cut graphs, OR-Library."""

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from qjaxsim_dimod.qubo import BINARY, SPIN, Qubo

_HEADER = re.compile(r"#.*?vartype\s*[:=]\s*(\w*)", re.IGNORECASE)
_OFFSET = re.compile(r"#.*?offset\s*[:=]\s*(\S*)", re.IGNORECASE)
# Signs, numbers and names of an LP file, and the words that end its objective.
_LP_SIGNS, _DIGITS = "+-*/^:[]<>=", "0123456789."
_LP_WORD = re.compile(r"[-+*/^:\[\]<>=]|(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[^-\s+*/^:\[\]<>=]+", re.IGNORECASE)
_LP_SECTION = re.compile(r"subject|such|st|s\.t\.|bounds?|bin|binary|binaries|gen|generals?|semi|end", re.IGNORECASE)
Lines = list[tuple[int, list[str]]]


def numbered(text: str, remarks: str) -> Lines:
    """Words of each line with its number, without empty lines and those that start with one of `remarks`."""
    lines = ((number, line.split()) for number, line in enumerate(text.splitlines(), start=1))
    return [(number, words) for number, words in lines if words and not any(map(words[0].startswith, remarks))]


def kind_of(text: str) -> str:
    """The format that a text's first lines speak for: "qbsolv", "mtx", "lp", "gset", "bqp", else "coo"."""
    if text.startswith("%%MatrixMarket"):
        return "mtx"
    first = text.lstrip("\\ \t\r\n").split(None, 1)[:1]
    if first and first[0].lower() in (
        "minimize",
        "minimise",
        "minimum",
        "min",
        "maximize",
        "maximise",
        "maximum",
        "max",
    ):
        return "lp"
    lines = numbered(text, "#")
    words = [words for _, words in lines if words[0] != "c"]
    if words and words[0][0] == "p":
        return "qbsolv"
    sizes = [len(each) for each in words[:2]]
    if sizes[:1] == [2]:
        return "gset"
    return "bqp" if sizes == [1, 2] else "coo"


def require_signs(text: str) -> None:
    """Refuse an LP file whose objective has terms without a sign between them, which dimod's parser adds up.

    Raises:
        ValueError: naming the two, as "x y", or a sign at the end.
    """
    words = _LP_WORD.findall(re.sub(r"\\.*", "", text))[1:]
    objective = list(itertools.takewhile(lambda word: not _LP_SECTION.fullmatch(word), words))
    for first, second in itertools.pairwise(objective):
        if not {first[0], second[0]} & set(_LP_SIGNS) and (second[0] in _DIGITS or first[0] not in _DIGITS):
            raise ValueError(
                f"its objective has no sign between {first!r} and {second!r}; a product stands in brackets, as in "
                "`[ 2 x * y ] / 2`."
            )
    if objective and objective[-1] in "+-":
        raise ValueError(f"its objective ends in {objective[-1]!r}; is it whole?")


def coordinates(text: str, vartype: str | None) -> Qubo:
    """Lines "i j bias", with i = j for linear terms; "# vartype=SPIN" and "# offset=1.5" say so."""
    said, offset = None, None
    for number, line in enumerate(text.splitlines(), start=1):
        if found := _HEADER.match(line.strip()):
            said = _said(number, found.group(1).upper(), said)
        if found := _OFFSET.match(line.strip()):
            if offset is not None:
                raise ValueError(f"line {number} says an offset a second time.")
            offset = _number(number, found.group(1).rstrip(",;"), "an offset")
    kind = agreed(said, vartype)
    entries = [_entry(number, words) for number, words in numbered(text, "#")]
    return _problem(entries, sorted({index for i, j, _ in entries for index in (i, j)}), offset or 0.0, kind)


def _said(number: int, kind: str, before: str | None) -> str:
    """The kind of variables that a line says, where another has not said something else."""
    if kind not in (BINARY, SPIN):
        raise ValueError(f"line {number} must say BINARY or SPIN as vartype, but says {kind!r}.")
    if before not in (None, kind):
        raise ValueError(f"line {number} says {kind} as vartype, but a line before it {before}.")
    return kind


def qbsolv(text: str, vartype: str | None) -> Qubo:
    """D-Wave's qbsolv: `p qubo topology maxNodes nNodes nCouplers`, nodes as "i i bias", couplers as "i j bias"."""
    kind = agreed(BINARY, vartype)
    lines = [(number, words) for number, words in numbered(text, "#") if words[0] != "c"]
    if not lines or lines[0][1][:2] != ["p", "qubo"] or len(lines[0][1]) != 6:
        raise ValueError("a qbsolv file must begin with `p qubo topology maxNodes nNodes nCouplers` after its remarks.")
    most, n_nodes, n_couplers = (_count(lines[0][0], word) for word in lines[0][1][3:])
    entries = [_entry(number, words) for number, words in lines[1:]]
    nodes = [i for i, j, _ in entries if i == j]
    if len(nodes) != n_nodes or len(entries) - len(nodes) != n_couplers:
        raise ValueError(
            f"its first line says {n_nodes} nodes and {n_couplers} couplers, but it has {len(nodes)} and "
            f"{len(entries) - len(nodes)}; is it whole?"
        )
    labels = sorted({index for i, j, _ in entries for index in (i, j)})
    if labels and labels[-1] >= most:
        raise ValueError(f"its first line says {most} nodes at most, numbered from 0, but there is node {labels[-1]}.")
    return _problem(entries, labels, 0.0, kind)


def max_cut(text: str, vartype: str | None) -> Qubo:
    """Gset and Biq Mac's `.mc`: "n m", then m edges "i j weight" from 1; energies over spins are minus the cut."""
    kind = agreed(SPIN, vartype)
    lines = iter(numbered(text, "#"))
    n, edges = _graph(lines, weightless=True)
    if rest := next(lines, None):
        raise ValueError(f"line {rest[0]} is beyond the {len(edges)} edges that the first line says.")
    if loop := next((i for i, j, _ in edges if i == j), None):
        raise ValueError(f"vertex {loop} has an edge to itself, which no cut has; is it of another format (`format`)?")
    halves = [(i, j, weight / 2) for i, j, weight in edges]
    return _problem(halves, range(1, n + 1), -sum(weight for _, _, weight in halves), kind)


def or_library(text: str, vartype: str | None, number: int | None = None) -> Qubo:
    """OR-Library's bqp: problems to maximise, "n m" and m lines "i j q" each, pairs counted twice; minus that."""
    kind = agreed(BINARY, vartype)
    lines = iter(numbered(text, "#"))
    line, words = next(lines, (1, []))
    if len(words) != 1:
        raise ValueError("an OR-Library file must begin with the number of its problems.")
    found = [_graph(lines, weightless=False) for _ in range(_count(line, words[0]))]
    if rest := next(lines, None):
        raise ValueError(f"line {rest[0]} is beyond the {len(found)} problems that the first line says.")
    if number is None and len(found) != 1:
        raise ValueError(f"the file holds {len(found)} problems; choose one by `number`, 1 to {len(found)}.")
    if number is not None and not 1 <= number <= len(found):
        raise ValueError(f"Argument `number` must be in 1..{len(found)}, the file's problems, but is {number}.")
    n, entries = found[(number or 1) - 1]
    return _problem([(i, j, -q * (1 + (i != j))) for i, j, q in entries], range(1, n + 1), 0.0, kind)


def matrix_market(text: str, vartype: str | None) -> Qubo:
    """A real square matrix of Matrix Market, v^T M v, so that a symmetric one counts every pair twice.

    SciPy's reader ends the process on some damaged files.
    """
    header = text.split("\n", 1)[0].lower().split()
    if len(header) != 5 or header[:2] != ["%%matrixmarket", "matrix"] or header[2] not in ("coordinate", "array"):
        raise ValueError("it must begin with `%%MatrixMarket matrix coordinate` or `array`, its field and symmetry.")
    form, field, symmetry = header[2:]
    if field not in ("real", "integer", "double", "pattern") or symmetry not in ("general", "symmetric"):
        raise ValueError(f"its matrix must be real, and general or symmetric, but is {field} {symmetry}.")
    lines = numbered(text, "%")
    number, sizes = lines[0] if lines else (1, [])
    if len(sizes) != (3 if form == "coordinate" else 2) or sizes[0] != sizes[1]:
        raise ValueError(f"line {number} must give the sizes of a square matrix, but is {' '.join(sizes)[:60]!r}.")
    n, body = _count(number, sizes[0]), lines[1:]
    if form == "coordinate":
        expected = _count(number, sizes[2])
    else:
        expected = n * (n + 1) // 2 if symmetry == "symmetric" else n * n
    if len(body) != expected:
        raise ValueError(f"its sizes say {expected} entries, but it has {len(body)}; is it whole?")
    if form == "coordinate":
        entries = [_entry(line, [*words, "1"] if field == "pattern" else words) for line, words in body]
    else:
        places = ((i, j) for j in range(1, n + 1) for i in range(j if symmetry == "symmetric" else 1, n + 1))
        entries = [
            (i, j, _number(line, words[0], "an entry")) for (i, j), (line, words) in zip(places, body, strict=True)
        ]
    if outside := next((entry for entry in entries if not all(1 <= index <= n for index in entry[:2])), None):
        raise ValueError(f"its entries must be at 1..{n}, but one is at {outside[:2]}.")
    twice = 2 if symmetry == "symmetric" else 1
    rows = np.array([i for i, _, _ in entries], int) - 1
    columns = np.array([j for _, j, _ in entries], int) - 1
    values = np.array([value * (twice if i != j else 1) for i, j, value in entries], float)
    return Qubo.from_matrix(sparse.coo_array((values, (rows, columns)), shape=(n, n)), vartype=vartype or BINARY)


def agreed(said: str | None, asked: str | None) -> str:
    """The kind of variables by a file and by who reads it.

    Raises:
        ValueError: if they differ.
    """
    if said is not None and asked is not None and said != asked:
        raise ValueError(
            f"the file is over {said} variables, but `vartype` is {asked}; leave it out, or convert after."
        )
    return said or asked or BINARY


def _graph(lines: Iterator[tuple[int, list[str]]], weightless: bool) -> tuple[int, list[tuple[int, int, float]]]:
    number, words = next(lines, (0, []))
    if len(words) != 2:
        raise ValueError(f'a line "n m" must come before its m entries, but line {number} is {" ".join(words)[:60]!r}.')
    n, m = (_count(number, word) for word in words)
    entries: list[tuple[int, int, float]] = []
    for _ in range(m):
        number, words = next(lines, (0, []))
        if not words:
            raise ValueError(f"its size says {m} entries, but it has {len(entries)}; is it whole?")
        entries.append(_entry(number, [*words, "1"] if weightless and len(words) == 2 else words))
        if not all(1 <= index <= n for index in entries[-1][:2]):
            raise ValueError(f"line {number} must name two of 1..{n}, but is {' '.join(words)[:60]!r}.")
    return n, entries


def _entry(number: int, words: Sequence[str]) -> tuple[int, int, float]:
    try:
        i, j, bias = words
        if not any("_" in word for word in words) and int(i) >= 0 and int(j) >= 0:
            return int(i), int(j), float(bias)
    except ValueError:
        pass
    raise ValueError(f'line {number} must be "i j bias" with whole numbers i and j, but is {" ".join(words)[:60]!r}.')


def _count(number: int, word: str) -> int:
    if not word.isascii() or not word.isdigit() or len(word) > 9:
        raise ValueError(f"line {number} must have a whole number below 1e9 where {word[:20]!r} is.")
    return int(word)


def _number(number: int, word: str, what: str) -> float:
    try:
        if "_" not in word:  # which Python would leave out
            return float(word)
    except ValueError:
        pass
    raise ValueError(f"line {number} must say {what} as a number, but says {word[:20]!r}.")


def _problem(entries: Sequence[tuple[int, int, float]], labels: Sequence[int], offset: float, vartype: str) -> Qubo:
    """The sum of the entries, (i, j) and (j, i) being one pair."""
    place = {label: position for position, label in enumerate(labels)}
    rows = np.array([place[i] for i, _, _ in entries], int)
    columns = np.array([place[j] for _, j, _ in entries], int)
    values = np.array([bias for _, _, bias in entries], float)
    own = rows == columns
    linear = np.zeros(len(labels))
    np.add.at(linear, rows[own], values[own])
    places: Any = (np.minimum(rows, columns)[~own], np.maximum(rows, columns)[~own])
    quadratic = sparse.coo_array((values[~own], places), shape=(len(labels), len(labels)))
    return Qubo(linear, quadratic, offset, tuple(labels), vartype)
