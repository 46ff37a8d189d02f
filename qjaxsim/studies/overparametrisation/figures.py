"""Figures of the study `overparametrisation`: ranks, and shares of starts that succeed, against angles and steps."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from qjaxsim_data import load

from qjaxsim.common.words import counted
from qjaxsim.report import style
from qjaxsim.report.figure import ReportFigure, written
from qjaxsim.report.row import Row
from qjaxsim.studies.overparametrisation.cell import RANKS, TRAINING
from qjaxsim.studies.overparametrisation.published import NAME, ring_and_open
from qjaxsim.studies.overparametrisation.settings import ADAM, FAST, NATURAL, OPEN

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Arrays of a cell.
Arrays = Mapping[str, np.ndarray]

_RANKS = (
    "See where the rank stops growing. Rank of the quantum Fisher information against the number of angles. Solid: "
    "the rank, up to all angles on the grey diagonal; dashed: from a random product state, which has none of the "
    "symmetries; dash-dotted, open chain: with the first X counted in the derivative of the ZZ, as in the public "
    "code; dotted: dimension of the dynamical Lie algebra; cross: published rank."
)
_SHARES = (
    "See whether all starts succeed once the rank saturates. Share of the starts that end below the threshold, "
    "against angles over those at which the rank saturates (vertical line). Solid: Adam as published; dashed: "
    "natural gradient, dotted: fast; crosses: published, 50 starts."
)
_STEPS = (
    "Share of the starts below the threshold against steps of Adam, the larger the number of angles the darker, for "
    "the largest problem of each kind. A threshold in angles moves with the steps that training is given."
)
_POSSIBLE = (-0.05, 1.05)  # of shares, so that none at all and all of them look otherwise
_LINES = {ADAM: "-", FAST: ":", NATURAL: "--"}


def write_figures(rows: Sequence[Row], arrays: Sequence[Arrays], folder: str | Path) -> list[ReportFigure]:
    """The figures, written as PNG into `folder`.

    Args:
        rows: table of the study.
        arrays: of the cell of each row.
        folder: where ranks.png, shares.png and steps.png go.
    """
    made = (
        ("ranks", by_rank(rows, arrays), "Ranks", _RANKS),
        ("shares", by_angles(rows), "Trainings that succeed", _SHARES),
        ("steps", by_steps(rows, arrays), "Trainings that succeed by steps", _STEPS),
    )
    return [written(figure, Path(folder) / f"{name}.png", title, caption) for name, figure, title, caption in made]


def by_rank(rows: Sequence[Row], arrays: Sequence[Arrays]) -> "Figure":
    """Ranks against angles, a panel a kind of problem."""
    ranks = [(row, own) for row, own in zip(rows, arrays, strict=True) if row["part"] == RANKS]
    names = list(dict.fromkeys(row["problem"] for row, _ in ranks))
    figure = style.new_figure(3.8 * len(names), 3.6)
    for name, axes in zip(names, np.atleast_1d(figure.subplots(1, len(names))), strict=True):
        here = [(row, own) for row, own in ranks if row["problem"] == name]
        for (row, own), colour in zip(here, style.colours(len(here)), strict=True):
            _rank_lines(axes, row, own, colour)
        most = max(row["angles_most"] for row, _ in here)
        axes.plot([0, most], [0, most], color=style.PALE, linewidth=1, zorder=0)
        axes.set_title(name, fontsize=style.SMALL + 2)
        axes.set_xlabel("angles")
        axes.set_ylim(bottom=0)
        axes.legend(title="qubits", fontsize=style.SMALL, title_fontsize=style.SMALL, frameon=False)
        style.tidy(axes)
    figure.axes[0].set_ylabel("rank")
    return figure


def _rank_lines(axes: "Axes", row: Row, own: Arrays, colour: str) -> None:
    for name, line in (("by_angles", "-"), ("elsewhere_by_angles", "--"), ("slip_by_angles", "-.")):
        if name in own:
            label = f"{row['qubits']}" if name == "by_angles" else None
            axes.plot(np.arange(1, len(own[name]) + 1), own[name], line, color=colour, linewidth=1.4, label=label)
    axes.axhline(row["algebra"], color=colour, linestyle=":", linewidth=1)
    theirs = ring_and_open("qfim_rank").get((row["problem"], row["qubits"]))
    if theirs is not None:
        axes.plot(row["angles_most"], theirs, "x", color=colour, markersize=7, clip_on=False)


def by_angles(rows: Sequence[Row]) -> "Figure":
    """Shares against angles over those that the rank needs, a panel a kind of problem."""
    ranks = [row for row in rows if row["part"] == RANKS]
    names = list(dict.fromkeys(row["problem"] for row in ranks))
    figure = style.new_figure(3.8 * len(names), 3.6)
    for name, axes in zip(names, np.atleast_1d(figure.subplots(1, len(names), sharey=True)), strict=True):
        here = [row for row in ranks if row["problem"] == name]
        for rank, colour in zip(here, style.colours(len(here)), strict=True):
            for optimiser, line in _LINES.items():
                own = _trained(rows, rank, optimiser)
                if own:
                    label = f"{counted(rank['qubits'], 'qubit')}, {optimiser}"
                    x = [row["angles"] / rank["angles_needed"] for row in own]
                    shares = [row["share"] for row in own]
                    axes.plot(x, shares, line, color=colour, marker="o", markersize=3.5, linewidth=1.4, label=label)
            _published_shares(axes, rank, colour)
        axes.axvline(1, color=style.INK, linewidth=0.8)
        axes.set_ylim(*_POSSIBLE)
        axes.set_title(name, fontsize=style.SMALL + 2)
        axes.set_xlabel("angles over those that the rank needs")
        axes.legend(fontsize=style.SMALL - 1, frameon=False, handlelength=3.5)
        style.tidy(axes)
    figure.axes[0].set_ylabel("share of starts that succeed")
    return figure


def _published_shares(axes: "Axes", rank: Row, colour: str) -> None:
    """Those within the range of ours."""
    theirs = [row for row in load(NAME)["ising_shares"] if (OPEN, row["qubits"]) == (rank["problem"], rank["qubits"])]
    shown = [row for row in theirs if 2 * row["layers"] <= rank["angles_most"]]
    x = [2 * row["layers"] / rank["angles_needed"] for row in shown]
    axes.plot(x, [row["share"] for row in shown], "x", color=colour, markersize=7)


def by_steps(rows: Sequence[Row], arrays: Sequence[Arrays]) -> "Figure":
    """Shares against steps of the largest problem of each kind, a line for each number of angles."""
    names = dict.fromkeys(row["problem"] for row in rows)
    largest = {name: max(_ranks(rows, name), key=lambda row: row["qubits"]) for name in names}
    cells = {id(row): own for row, own in zip(rows, arrays, strict=True)}
    figure = style.new_figure(3.8 * len(largest), 3.6)
    panels = np.atleast_1d(figure.subplots(1, len(largest), sharey=True))
    for (name, rank), axes in zip(largest.items(), panels, strict=True):
        own = _trained(rows, rank, ADAM)
        for number, row in enumerate(own):
            shade = 0.25 + 0.75 * (number + 1) / len(own)
            cell = cells[id(row)]
            label = f"{row['angles']}"
            axes.plot(np.maximum(cell["shown"], 1), cell["shares"], color=style.BLUE, alpha=shade, label=label)
        axes.set_xscale("log")
        axes.set_title(f"{name}, {counted(rank['qubits'], 'qubit')}", fontsize=style.SMALL + 2)
        axes.set_xlabel("steps of Adam")
        axes.set_ylim(*_POSSIBLE)
        axes.legend(title="angles", fontsize=style.SMALL, title_fontsize=style.SMALL, frameon=False)
        style.tidy(axes)
    figure.axes[0].set_ylabel("share of starts that succeed")
    return figure


def _ranks(rows: Sequence[Row], problem: str) -> list[Row]:
    return [row for row in rows if (row["part"], row["problem"]) == (RANKS, problem)]


def _trained(rows: Sequence[Row], rank: Row, optimiser: str) -> list[Row]:
    """Of a problem, by the number of angles."""
    own = [row for row in rows if row["part"] == TRAINING and row["optimiser"] == optimiser]
    own = [row for row in own if (row["problem"], row["qubits"]) == (rank["problem"], rank["qubits"])]
    return sorted(own, key=lambda row: row["angles"])
