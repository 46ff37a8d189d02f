"""Figures of the study `qrnn`, from its rows and arrays alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qjaxsim_data import load

from qjaxsim.report import style
from qjaxsim.report.figure import ReportFigure, written
from qjaxsim.report.row import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Arrays = Mapping[str, np.ndarray]
_CURVES = 12
# What the grids of topologies and of initialisations vary.
GRID_SETTINGS = ("workspace", "stages", "degree", "bias", "spread_theta", "spread_phi", "spread_rotation")


def write_figures(rows: Sequence[Row], arrays: Sequence[Arrays], folder: str | Path) -> list[ReportFigure]:
    """The figures for which there are data, written as PNG into `folder`.

    Args:
        rows: table.
        arrays: arrays of each row.
        folder: where curves.png, overhead.png, lengths.png, controls.png, optimizers.png, topology.png, initial.png,
            gradients.png, spectrum.png and drawn.png go.
    """
    folder = Path(folder)
    curves = [i for i, row in enumerate(rows) if row["experiment"] in ("training", "baselines", "hessian")]
    curves = [i for i in curves if "history_validation_loss" in arrays[i]][:_CURVES]
    quantum = [i for i in curves if rows[i]["network"] == "qrnn"]
    several = [row for row in rows if row["experiment"] in ("training", "baselines") and row["task"].startswith("dna")]
    chosen = {name: [row for row in rows if row["experiment"] == name] for name in ("optimizers", "gradients")}
    spectra = [i for i in range(len(rows)) if "eigenvalues" in arrays[i]]
    made: list[tuple[str, str, str, Figure]] = []
    if curves:
        made.append(("curves", "Validation loss", _CURVES_CAPTION, _curves(rows, arrays, curves, "validation_loss")))
    if quantum:
        made.append(
            ("overhead", "Postselection overhead", _OVERHEAD_CAPTION, _curves(rows, arrays, quantum, "overhead"))
        )
    if len({row["length"] for row in several}) > 1:
        made.append(("lengths", "Updates against length", _LENGTHS_CAPTION, _against_length(several, ("updates",))))
    if several:
        made.append(("controls", "The label leak", _CONTROLS_CAPTION, _controls(several)))
    if chosen["optimizers"]:
        made.append(("optimizers", "Optimisers", _OPTIMIZERS_CAPTION, _optimizers(chosen["optimizers"])))
    for name, title in (("topology", "Updates by topology"), ("initial", "Updates by initialisation")):
        if grid := [row for row in rows if row["experiment"] == name]:
            made.append((name, title, _MARGINALS_CAPTION, _marginals(grid)))
    if len({row["length"] for row in chosen["gradients"]}) > 1:
        figure = _against_length(chosen["gradients"], ("gradient_norm", "gradient_norm_early"))
        made.append(("gradients", "Gradient norms against length", _GRADIENTS_CAPTION, figure))
    if spectra:
        made.append(("spectrum", "Hessian spectrum", _SPECTRUM_CAPTION, _spectrum(rows, arrays, spectra)))
    if drawn := [cell["drawn"] for cell in arrays if "drawn" in cell]:
        made.append(("drawn", "Drawn images", _DRAWN_CAPTION, _drawn(drawn[0])))
    return [written(figure, folder / f"{name}.png", title, caption) for name, title, caption, figure in made]


_CURVES_CAPTION = (
    "See whether every seed comes down to the threshold, the dotted line. Published loss of a fresh batch every few "
    "updates, one line a seed; a stopped seed's line ends."
)
_OVERHEAD_CAPTION = (
    "See how much more a quantum computer would pay as training goes on. 1 / sqrt of the smallest probability of a "
    "target word that training projected on, within each block of updates: the least that amplitude amplification "
    "would cost for one word of one sequence."
)
_LENGTHS_CAPTION = (
    "See how fast the work grows with the length. Median updates to the threshold; open markers where not all seeds "
    "reached it (all updates then)."
)
_CONTROLS_CAPTION = (
    "See whether the network beats chance without its inputs. Accuracy of the last word: as published, with all "
    "inputs blanked, and with all words sampled. On dna the published evaluation does not need the input; dna-clean "
    "projects on 0 only. The dotted line is chance."
)
_OPTIMIZERS_CAPTION = (
    "See which optimiser comes lowest, and over how wide a range of rates. Median validation loss over seeds after "
    "all updates; crosses are published (500 updates, memorise)."
)
_MARGINALS_CAPTION = (
    "See which setting makes training long. Mean number of updates over the cells with that value that differ by "
    "nothing else, and over their seeds (those not done count in full); the line is the cells' median. Crosses: "
    "published means over 96 topologies (letters), published medians over all spreads (bias, xor)."
)
_DRAWN_CAPTION = (
    "See whether the two scans of each pair agree, as they do in real images. Images that the first seed draws, a "
    "line a digit: each word is sampled and fed back. Left of each pair the scan along rows, right the one along "
    "columns."
)
_GRADIENTS_CAPTION = (
    "See whether gradients vanish with the length. Norm of the gradient of the last word's loss at the start, median "
    "over seeds; in the second panel its part that goes back to the first half of the sequence, where the marked "
    "base is. A line that ends has reached 0 in single precision."
)
_SPECTRUM_CAPTION = (
    "See how few eigenvalues carry the curvature. Eigenvalues of the Hessian of the training loss at the end of "
    "training, by rank; negative ones open, those below 1e-18 drawn there."
)


def _label(row: Row) -> str:
    if row["network"] != "qrnn":
        return f"{row['task']} L {row['length']}, {row['network']}"
    return f"{row['task']} L {row['length']}, W {row['workspace']} S {row['stages']} d {row['degree']}"


def _curves(rows: Sequence[Row], arrays: Sequence[Arrays], chosen: Sequence[int], name: str) -> "Figure":
    columns = min(4, len(chosen))
    lines = -(-len(chosen) // columns)
    figure = style.new_figure(min(12.0, 3.0 * columns + 1.0), 2.4 * lines + 0.4)
    panels = figure.subplots(lines, columns, squeeze=False)
    for axes, i in zip(panels.flat, chosen, strict=False):
        cell = arrays[i]
        every = int(cell["every"])
        for seed, updates in enumerate(cell["updates"]):
            count = int(updates) // every
            values = cell["history_projection"] if name == "overhead" else cell[f"history_{name}"]
            values = 1 / np.sqrt(values) if name == "overhead" else np.maximum(values, 1e-7)
            axes.plot(every * np.arange(1, count + 1), values[:count, seed], color=style.BLUE, alpha=0.6, linewidth=1)
        if name == "validation_loss" and rows[i].get("threshold"):
            axes.axhline(rows[i]["threshold"], color=style.GREY, linestyle=":", linewidth=1)
        _finish(axes, _label(rows[i]), "updates", "loss" if name != "overhead" else "overhead")
    for axes in panels.flat[len(chosen) :]:
        axes.set_visible(False)
    return figure


def _finish(axes: "Axes", title: str, x: str, y: str) -> None:
    axes.set_yscale("log")
    axes.set_title(title, fontsize=style.SMALL + 1, loc="left")
    axes.set_xlabel(x, fontsize=style.SMALL + 1)
    axes.set_ylabel(y, fontsize=style.SMALL + 1)
    style.tidy(axes)


def _groups(rows: Sequence[Row]) -> dict[str, list[Row]]:
    out: dict[str, list[Row]] = {}
    for row in rows:
        out.setdefault(f"{row['task']}, {row['network']}", []).append(row)
    return {name: sorted(group, key=lambda row: float(row["length"])) for name, group in out.items()}


def _against_length(rows: Sequence[Row], names: Sequence[str]) -> "Figure":
    figure = style.new_figure(3.0 + 4.0 * len(names), 4.0)
    for axes, name in zip(figure.subplots(1, len(names), sharey=True, squeeze=False).flat, names, strict=True):
        for number, (label, group) in enumerate(_groups(rows).items()):
            colour, marker = style.COLOURS[number % 7], style.MARKERS[number % 7]
            lengths, values = [row["length"] for row in group], [row[name] or np.nan for row in group]
            axes.plot(lengths, values, color=colour, linewidth=1.2, label=label)
            for row in group:
                full = row.get("reached", 1) == 1
                axes.plot(
                    row["length"], row[name] or np.nan, marker, color=colour, fillstyle="full" if full else "none"
                )
        axes.set_xscale("log")
        _finish(axes, "", "words of a sequence", name.replace("_", " "))
        axes.legend(fontsize=style.SMALL, frameon=False)
    return figure


def _controls(rows: Sequence[Row]) -> "Figure":
    rows = [row for row in rows if row["network"] == "qrnn"]
    figure = style.new_figure(max(5.0, 1.1 * len(rows) + 1.5), 3.6)
    axes = figure.subplots()
    names = ("accuracy_sampled", "accuracy_blanked_inputs", "accuracy_all_sampled")
    place = np.arange(len(rows))
    for k, name in enumerate(names):
        heights = [row.get(name) or 0.0 for row in rows]
        axes.bar(place + 0.27 * (k - 1), heights, 0.25, color=style.COLOURS[k], label=name.replace("_", " "))
    axes.axhline(0.25, color=style.GREY, linestyle=":", linewidth=1)
    axes.set_xticks(place, [f"{row['task']}\nL {row['length']}" for row in rows])
    axes.set_ylabel("accuracy of the last word", fontsize=style.SMALL + 1)
    axes.legend(fontsize=style.SMALL, frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.15), ncols=3)
    style.tidy(axes)
    return figure


def _optimizers(rows: Sequence[Row]) -> "Figure":
    figure = style.new_figure(7.0, 4.0)
    axes = figure.subplots()
    for number, name in enumerate(dict.fromkeys(row["optimizer"] for row in rows)):
        group = sorted((row for row in rows if row["optimizer"] == name), key=lambda row: float(row["learning_rate"]))
        axes.plot(
            [row["learning_rate"] for row in group],
            [np.nan if row["validation_loss"] is None else max(row["validation_loss"], 1e-8) for row in group],
            f"{style.MARKERS[number]}-",
            color=style.COLOURS[number],
            label=name,
        )
        points = [point for point in load("qrnn")["optimizers"] if point["optimizer"] == name]
        published = [[point[key] for point in points] for key in ("learning_rate", "validation_loss")]
        axes.plot(*published, "x", color=style.COLOURS[number], markersize=9)
    axes.set_xscale("log")
    _finish(axes, "", "learning rate", "validation loss")
    axes.legend(fontsize=style.SMALL, frameon=False)
    return figure


def balanced(rows: Sequence[Row], name: str) -> dict[Any, list[Row]]:
    """Rows of a grid by the value of one setting, those alone whose other settings occur with every value.

    So means by that setting differ by nothing else, in a full grid and in one that varies settings one by one.

    Args:
        rows: cells of one experiment.
        name: one of `GRID_SETTINGS`.
    """
    values = sorted({row[name] for row in rows if row.get(name) is not None})
    others = [other for other in GRID_SETTINGS if other != name]
    groups = {value: {tuple(row.get(o) for o in others): row for row in rows if row.get(name) == value}
              for value in values}  # fmt: skip
    common = set.intersection(*(set(group) for group in groups.values())) if groups else set()
    return {value: [row for key, row in group.items() if key in common] for value, group in groups.items()}


def _marginals(rows: Sequence[Row]) -> "Figure":
    groups = {name: balanced(rows, name) for name in GRID_SETTINGS}
    groups = {name: group for name, group in groups.items() if len(group) > 1 and all(group.values())}
    figure = style.new_figure(2.6 * max(1, len(groups)), 2.8)
    panels = figure.subplots(1, max(1, len(groups)), sharey=True, squeeze=False)
    for axes, (name, group) in zip(panels.flat, groups.items(), strict=False):
        place = np.arange(len(group))
        axes.bar(place, [np.mean([row["updates_mean"] for row in own]) for own in group.values()], color=style.BLUE)
        medians = [np.median([row["updates"] for row in own]) for own in group.values()]
        axes.plot(place, medians, "_", color=style.INK, markersize=16)
        published = _published(rows[0]["task"], name)
        shown = [published.get(round(value, 3), np.nan) for value in group]
        axes.plot(place, shown, "x", color=style.VERMILION)
        axes.set_xticks(place, [f"{value:.3g}" for value in group])
        axes.set_xlabel(name.replace("_", " "), fontsize=style.SMALL + 1)
        style.tidy(axes)
    panels[0, 0].set_ylabel("updates", fontsize=style.SMALL + 1)
    return figure


def _published(task: str, setting: str) -> dict[float, float]:
    """Published updates by the value of one setting, rounded to three digits."""
    paper = load("qrnn")
    if task == "letters":
        return {row["value"]: row["updates"] for row in paper["letters_marginals"] if row["setting"] == setting}
    if (task, setting) == ("xor", "bias"):
        return {round(row["bias"], 3): row["updates"] for row in paper["xor_by_bias"]}
    return {}


def _drawn(images: np.ndarray) -> "Figure":
    lines, count = images.shape[:2]
    figure = style.new_figure(1.3 * count, 0.75 * lines + 0.3)
    for panel, pair in zip(figure.subplots(lines, count, squeeze=False).flat, images.reshape(-1, 2, 10, 10),
                           strict=True):  # fmt: skip
        gap = np.full((10, 1), 0.5)
        panel.imshow(np.hstack([pair[0], gap, pair[1]]), cmap="gray", vmin=0, vmax=1)
        panel.set(xticks=[], yticks=[])
    return figure


def _spectrum(rows: Sequence[Row], arrays: Sequence[Arrays], chosen: Sequence[int]) -> "Figure":
    figure = style.new_figure(6.0, 3.6)
    axes = figure.subplots()
    for number, i in enumerate(chosen):
        values = arrays[i]["eigenvalues"]
        order = np.argsort(-np.abs(values))
        rank, size = np.arange(1, len(values) + 1), np.maximum(np.abs(values[order]), 1e-18)
        colour, up = style.COLOURS[number % 7], values[order] > 0
        axes.plot(rank[up], size[up], ".", color=colour, label=_label(rows[i]))
        axes.plot(rank[~up], size[~up], "o", color=colour, fillstyle="none", markersize=3)
    _finish(axes, "", "rank", "absolute eigenvalue")
    axes.legend(fontsize=style.SMALL, frameon=False)
    return figure
