"""Figures of the attention study: accuracies, curves, energies and time, maps over images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qjaxsim.report import style
from qjaxsim.report.figure import ReportFigure, written
from qjaxsim.report.row import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Arrays = Mapping[str, np.ndarray]

_ACCURACY = (
    "See whether annealed attention does as well as weighted sums and as the controls. First panel: test accuracy "
    "after the last epoch; points are seeds, bars their mean, controls in grey. Second panel: test accuracy along "
    "the training, means over seeds; sudden falls are of interest."
)
_ENERGY = (
    "See whether annealing finds the lowest energies, and what its time is spent on. First panel: mean energy above "
    "the lowest known on problems of the trained models, by solver, logarithmic; a bar at the left end found the "
    "lowest each time. Second panel: where the time of a forward pass goes, milliseconds an image."
)
_MAPS = (
    "See where on the image each kind looks. Test images; drawn over each how many heads select a patch (annealed "
    "kinds and controls) or how much attention it receives from all patches (weighted sums); each map is scaled to "
    "its own largest value."
)


def write_attention_figures(rows: Sequence[Row], arrays: Sequence[Arrays], folder: str | Path) -> list[ReportFigure]:
    """The figures for which there are data, written as PNG into `folder`.

    Args:
        rows: table of the study.
        arrays: arrays of each row: history_test_accuracy, images, weights.
        folder: where accuracy.png, energies.png and maps.png go.
    """
    folder = Path(folder)
    made = [("accuracy", accuracies(rows, arrays), "Accuracy", _ACCURACY)]
    if any(row.get("gap_anneal") is not None for row in rows):
        made.append(("energies", energies_and_time(rows), "Energies and time", _ENERGY))
    if shown := [i for i, row in enumerate(rows) if row["attention"] != "none" and row["seed"] == rows[0]["seed"]]:
        figure = maps([rows[i] for i in shown], [arrays[i] for i in shown])
        made.append(("maps", figure, "Where attention goes", _MAPS))
    return [written(figure, folder / f"{name}.png", title, caption) for name, figure, title, caption in made]


def accuracies(rows: Sequence[Row], arrays: Sequence[Arrays]) -> "Figure":
    """Final accuracies by kind, and their course."""
    kinds = _kinds(rows)
    figure = style.new_figure(11, 0.32 * len(kinds) + 2.2)
    left, right = figure.subplots(1, 2)
    for place, kind in enumerate(kinds):
        values = [row["test_accuracy"] for row in rows if row["attention"] == kind]
        # Marks, not bars: the axis need not begin at 0.
        mean = float(np.mean(values))
        left.plot([mean, mean], [place - 0.3, place + 0.3], color=_colour(kind), linewidth=3)
        left.plot(values, [place] * len(values), "o", color=style.INK, markersize=3)
        curves = np.array(
            [a["history_test_accuracy"] for r, a in zip(rows, arrays, strict=True) if r["attention"] == kind]
        )
        right.plot(
            curves.mean(0), color=_colour(kind), linestyle=_LINES[place % len(_LINES)], label=kind, linewidth=1.3
        )
    left.set_yticks(range(len(kinds)), kinds)
    left.invert_yaxis()
    left.set_xlabel("test accuracy (dots: seeds, line: mean)")
    right.set_xlabel("epoch")
    right.set_ylabel("test accuracy")
    right.legend(fontsize=style.SMALL, ncols=2, frameon=False)
    for axes in (left, right):
        style.tidy(axes)
    return figure


def energies_and_time(rows: Sequence[Row]) -> "Figure":
    """Energy gaps of solvers, and the split of time."""
    figure = style.new_figure(11, 3.4)
    left, right = figure.subplots(1, 2)
    solved = [row for row in rows if row.get("gap_anneal") is not None]
    solvers = ("anneal", "round", "greedy", "tabu")
    present = [name for name in solvers if any(row.get(f"gap_{name}") is not None for row in solved)]
    scale = max(float(np.mean([row["energy_scale"] for row in solved])), 1e-12)
    kinds = _kinds(solved)
    for offset, kind in enumerate(kinds):
        for place, name in enumerate(present):
            gaps = [
                row[f"gap_{name}"] for row in solved if row["attention"] == kind and row.get(f"gap_{name}") is not None
            ]
            if gaps:
                where = place + (offset - (len(kinds) - 1) / 2) * 0.25
                left.barh(where, max(float(np.mean(gaps)), 1e-6 * scale), height=0.22, color=style.COLOURS[offset],
                          label=kind if place == 0 else None)  # fmt: skip
    left.set_xscale("log")
    left.set_yticks(range(len(present)), [{"round": "anneal, 8 bits"}.get(name, name) for name in present])
    left.invert_yaxis()
    left.set_xlabel("mean energy above the lowest known")
    left.legend(fontsize=style.SMALL, frameon=False, title="trained with", title_fontsize=style.SMALL)
    everyone = _kinds(rows)
    below = np.zeros(len(everyone))
    for name, colour in (("ms_build", style.GREEN), ("ms_sample", style.VERMILION), ("ms_rest", style.PALE)):
        values = np.array([_mean(rows, kind, name) for kind in everyone])
        right.barh(range(len(everyone)), values, left=below, color=colour, label=name.removeprefix("ms_"), height=0.7)
        below += values
    right.set_yticks(range(len(everyone)), everyone)
    right.invert_yaxis()
    right.set_xlabel("milliseconds an image")
    right.legend(fontsize=style.SMALL, frameon=False)
    for axes in (left, right):
        style.tidy(axes)
    return figure


def maps(rows: Sequence[Row], arrays: Sequence[Arrays]) -> "Figure":
    """Images, and a map for each kind below."""
    images = arrays[0]["images"]
    figure = style.new_figure(1.15 * len(images) + 1.2, 1.05 * (len(rows) + 1))
    grid = figure.subplots(len(rows) + 1, len(images), squeeze=False)
    for column, image in enumerate(images):
        grid[0][column].imshow(image.squeeze(), cmap="gray", vmin=0, vmax=1)
        for line, one in enumerate(arrays, start=1):
            weights = one["weights"][column].sum(0)
            side = round(np.sqrt(weights.size))
            largest = float(weights.max())
            # The map over the image, pale so that both show.
            box = (0, 1, 0, 1)
            grid[line][column].imshow(image.squeeze(), cmap="gray", vmin=0, vmax=1, extent=box)
            grid[line][column].imshow(
                weights.reshape(side, side), cmap="magma", vmin=0, vmax=largest or 1, extent=box, alpha=0.7
            )
    for line, name in enumerate(["image", *(row["attention"] for row in rows)]):
        grid[line][0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=style.SMALL)
        for axes in grid[line]:
            axes.set_xticks([])
            axes.set_yticks([])
    return figure


_LINES = ("-", "--", "-.", ":")
_COLOURED = {
    "qama-v2": style.BLUE, "qama-v1": style.SKY, "greedy": style.PURPLE, "hard": style.GREEN, "circuit": style.ORANGE,
    "boltzmann": style.INK, "softmax": style.VERMILION,
}  # fmt: skip


def _colour(kind: str) -> str:
    return _COLOURED.get(kind, style.GREY)


def _kinds(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["attention"] for row in rows))


def _mean(rows: Sequence[Row], kind: str, name: str) -> float:
    values: list[Any] = [row[name] for row in rows if row["attention"] == kind and row.get(name) is not None]
    return float(np.mean(values)) if values else 0.0
