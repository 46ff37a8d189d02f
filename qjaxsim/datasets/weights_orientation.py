"""Whether a layer in a file of weights is (out, in) or (in, out).

A bias is as long as the output, which settles it for a matrix that is not square. Else a name may, if all that use it
write the same way: "kernel" is Flax's, "weight" torch's. GPT-2's names do not: its Conv1D and the Linear of its
descendants (nanoGPT, GPTBigCode) call (in, out) and (out, in) alike. There shapes decide, of the layer or of another of
those names in the file, which one program wrote; or nothing does.
"""

from collections.abc import Mapping

ORIENTATIONS = ("infer", "out-in", "in-out")
# Names that stand for both, and how many times longer than its input a layer's output is, where that is known.
_AMBIGUOUS: dict[str, int | None] = {"c_attn": 3, "c_fc": 4, "c_proj": None, "q_attn": None}

Shapes = Mapping[str, tuple[int, ...]]


def orientation_of(name: str, shapes: Shapes, asked: str, file: str) -> tuple[str, str]:
    """The orientation of an array and where it is known from.

    Args:
        name: of the array.
        shapes: of all arrays of the file.
        asked: one of `ORIENTATIONS`.
        file: its name, for the message.

    Raises:
        ValueError: if it is to be inferred and cannot.
    """
    if asked != "infer":
        return asked, "as asked for"
    layer, last = _parts(name)
    if (known := _from_bias(name, shapes)) is not None:
        return known
    if last == "kernel":
        return "in-out", "named kernel, as Flax does"
    if last == "weight" and layer not in _AMBIGUOUS:
        return "out-in", "named weight, as torch's Linear does"
    reason = "its name does not"
    if last == "weight":
        if (known := _from_output(name, shapes) or _from_others(name, shapes)) is not None:
            return known
        reason = f"{layer} stands for both, and no shape in the file tells"
    rows, columns = shapes[name][-2:]
    place = name if name == file else f"{name} of {file}"
    raise ValueError(
        f"Argument `orientation` must say whether {place}, {rows} x {columns}, is (out, in) or (in, out), since "
        f"{reason}; pass out-in (torch's Linear) or in-out (Flax's Dense, GPT-2's Conv1D)."
    )


def _parts(name: str) -> tuple[str, str]:
    """Name of the layer without what it is in, and of the array in it."""
    above, _, last = name.replace("/", ".").rpartition(".")
    return above.rpartition(".")[2], last


def require_stack(name: str, shapes: Shapes) -> None:
    """Refuse an array of three axes that is one layer: a convolution, or heads with an axis of their own.

    Args:
        name: the array's.
        shapes: of all arrays in the file.

    Raises:
        ValueError: if its bias is not one row for each layer of a stack.
    """
    shape, bias = shapes[name], _bias_of(name, shapes)
    if len(shape) == 3 and bias is not None and (len(bias) != 2 or bias[0] != shape[0] or bias[1] not in shape[1:]):
        raise ValueError(
            f"Argument `key` must name a matrix or a stack of matrices, but {name} of shape {shape} with a bias of "
            f"shape {bias} is one layer, such as a convolution; reshape it first."
        )


def _bias_of(name: str, shapes: Shapes) -> tuple[int, ...] | None:
    return shapes.get(f"{name[: len(name) - len(_parts(name)[1])]}bias")


def _from_bias(name: str, shapes: Shapes) -> tuple[str, str] | None:
    rows, columns = shapes[name][-2:]
    bias = _bias_of(name, shapes)
    if rows == columns or bias is None or bias[-1:] not in ((rows,), (columns,)):
        return None
    return "out-in" if bias[-1] == rows else "in-out", f"its bias has {bias[-1]} numbers"


def _from_output(name: str, shapes: Shapes) -> tuple[str, str] | None:
    """From an output that is a known multiple of the input."""
    rows, columns = shapes[name][-2:]
    layer, _ = _parts(name)
    times = _AMBIGUOUS[layer]
    if times is None or times * min(rows, columns) != max(rows, columns):
        return None
    return "out-in" if rows > columns else "in-out", f"{layer} makes {times} times as many numbers as it is given"


def _from_others(name: str, shapes: Shapes) -> tuple[str, str] | None:
    """From other layers of GPT-2's names in the file, if those that tell agree."""
    found: dict[str, str] = {}
    for other, shape in shapes.items():
        layer, last = _parts(other)
        if other == name or last != "weight" or layer not in _AMBIGUOUS or len(shape) < 2:
            continue
        if (known := _from_bias(other, shapes) or _from_output(other, shapes)) is not None:
            found.setdefault(known[0], other)
    if len(found) != 1:
        return None
    ((orientation, other),) = found.items()
    return orientation, f"as {other} beside it, whose shape tells"
