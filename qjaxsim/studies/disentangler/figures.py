"""Figures and tables of the disentangler study: errors against numbers, overlap against depth, the model rebuilt."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qjaxsim.common.words import counted
from qjaxsim.report import style
from qjaxsim.report.figure import ReportFigure, written
from qjaxsim.report.row import Row
from qjaxsim.report.tables import ReportTable, present
from qjaxsim.studies.disentangler.harm import harm_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ERRORS = (
    "See whether circuits still save numbers once their angles are counted. Relative Frobenius error of one layer "
    "against the numbers of its replacement. First panel: angles of circuits not counted; second: an angle counted "
    "as a number, with the layer's own numbers as a vertical line; third: what the model loses with that layer alone "
    "replaced, as perplexity or distance of sentences (grey line: removed). Hollow marks and dashed lines: Gaussian "
    "noise of the same norm."
)
_DEPTH = (
    "See whether deeper circuits disentangle the trained layer, and noise less. Overlap A with the layer cut to bond "
    "one (first panel) and mean bond entropy (second) against the depth of the circuits, after optimising A with a "
    "fixed target. Lines of one mark: gates as wide as the registers, of which one layer is all there is. Dashed: "
    "Gaussian noise of the same norm. Dotted: what no circuits can exceed."
)
_BOND = (
    "See what a small bond costs with circuits and without. A layer between circuits as wide as the registers, "
    "against the bond of its MPO: what the model loses (first panel) and error (second), beside the plain MPO and "
    "noise. Circuits of this size hold more angles than the layer has numbers."
)
_PROFILE = (
    "See which layers bear replacing. What the model loses with one layer replaced at a time, at each bond; every "
    "kind drawn has as many numbers as the disentangled layer with its angles counted."
)
_MODEL = (
    "See how much of what is lost further training brings back. Accuracy, or nearest neighbours kept, with all layers "
    "replaced, against their numbers (angles counted) as a share of the layers' own. Hollow: as replaced; filled: "
    "trained further in place. Solid line: the model as it was; dashed: the original layers trained as long."
)
_STYLES = {
    "explicit": (style.BLUE, "o"), "gradient": (style.SKY, "P"), "svd-total": (style.VERMILION, "s"),
    "svd-classical": (style.VERMILION, "s"), "svd-minimal": (style.ORANGE, "v"), "mpo": (style.GREEN, "^"),
    "mpo-total": (style.GREEN, "^"), "mpo-balanced": (style.PURPLE, "D"), "mpo-balanced-total": (style.PURPLE, "D"),
}  # fmt: skip
_NAMES = {
    "explicit": "MPO and circuits", "gradient": "MPO and circuits, gradient", "svd-total": "SVD",
    "svd-classical": "SVD", "svd-minimal": "SVD, least numbers",
    "mpo": "MPO, padded qubits", "mpo-total": "MPO, padded qubits", "mpo-balanced": "MPO, few sites",
    "mpo-balanced-total": "MPO, few sites",
}  # fmt: skip
_FAMILIES = (("explicit",), ("gradient",), ("svd-total", "svd-classical"), ("svd-minimal",),
             ("mpo", "mpo-total"),
             ("mpo-balanced", "mpo-balanced-total"))  # fmt: skip
_LAYER_COLUMNS = (
    "seed", "method", "chi", "gate_qubits", "depth", "rank", "classical", "circuit", "total", "size", "error",
    "activation_error", "merit", "entropy", "break_even_dense", "break_even_svd", "perplexity", "perplexity_change",
    "accuracy", "distance", "agreement", "cnots", "cnot_depth", "unitary_deviation", "shots", "shot_error",
)  # fmt: skip
# Share of what is nearly nothing that is zero but for rounding.
_ROUNDING = 1e-2
_MODEL_KEYS = ("layer", "method", "chi", "gate_qubits", "depth")
_MODEL_VALUES = (
    "classical", "circuit", "total", "size", "model_parameters", "perplexity", "perplexity_change", "accuracy",
    "perplexity_bond", "accuracy_bond", "perplexity_circuits", "accuracy_circuits", "distance", "agreement",
    "distance_bond", "agreement_bond", "distance_circuits", "agreement_circuits",
)  # fmt: skip


def write_disentangler_figures(rows: Sequence[Row], folder: str | Path) -> list[ReportFigure]:
    """The figures for which there are data, written as PNG into `folder`.

    Args:
        rows: table of the study.
        folder: where errors.png, depth.png, bond.png, profile.png and model.png go.
    """
    folder = Path(folder)
    made: list[tuple[str, Figure, str, str]] = []
    layers, depth, bond = (_part(rows, name) for name in ("layers", "depth", "bond"))
    if layers:
        profile = profile_layer(rows)
        chosen = [row for row in layers if row["layer"] == profile]
        made.append(("errors", errors(chosen), f"Layer {profile}", _ERRORS))
    if depth:
        made.append(("depth", overlap_and_entropy(depth), "Overlap and entropy against depth", _DEPTH))
    if bond:
        made.append(("bond", against_bond(bond), "Circuits as wide as the registers", _BOND))
    if len({row["layer"] for row in layers if row["source"] == "trained"}) > 1:
        made.append(("profile", profile_of_layers(layers), "One layer replaced at a time", _PROFILE))
    if any(row["layer"].endswith("layers") for row in _part(rows, "model")):
        made.append(("model", rebuilt(_part(rows, "model")), "The model rebuilt", _MODEL))
    return [written(figure, folder / f"{name}.png", title, caption) for name, figure, title, caption in made]


def profile_layer(rows: Sequence[Row]) -> str:
    """The layer of the parts that look at one alone; the first of the grid if there are none. Empty without layers."""
    looked_at = [row["layer"] for row in rows if row["part"] in ("depth", "bond", "shots")]
    return next(iter([*looked_at, *(row["layer"] for row in _part(rows, "layers"))]), "")


# --- tables ----------------------------------------------------------------------------------------------------------


def model_table(rows: Sequence[Row]) -> list[Row]:
    """The model as it was and rebuilt, means over seeds."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in _part(rows, "model"):
        groups.setdefault(tuple(row.get(name) for name in _MODEL_KEYS), []).append(row)
    measured = present(_MODEL_VALUES, _part(rows, "model"))
    out: list[Row] = []
    for key, own in groups.items():
        values = {name: _mean(row.get(name) for row in own) for name in measured}
        for name in {"classical", "circuit", "total", "model_parameters"} & values.keys():
            values[name] = None if values[name] is None else round(values[name])
        out.append({**dict(zip(_MODEL_KEYS, key, strict=True)), **values, "seeds": len(own)})
    return out


def layer_tables(rows: Sequence[Row]) -> list[ReportTable]:
    """A table a layer and source of the grid, then those of wide circuits, depths and shots."""
    found = []
    titles = {"layers": "Layer", "bond": "Circuits as wide as the registers:", "depth": "Depth:", "shots": "Shots:"}
    for part, words in titles.items():
        own = _part(rows, part)
        for layer, source in dict.fromkeys((row["layer"], row["source"]) for row in own):
            chosen = [row for row in own if (row["layer"], row["source"]) == (layer, source)]
            columns = present(_LAYER_COLUMNS, chosen)
            table = [{name: row.get(name) for name in columns} for row in chosen]
            found.append(ReportTable(f"{words} {layer}, {source}", table))
    return found


# --- figures ---------------------------------------------------------------------------------------------------------


def errors(rows: Sequence[Row]) -> "Figure":
    """Errors of one layer by numbers."""
    harm = harm_of(rows)
    scored = any(row.get(harm.column) is not None for row in rows)
    figure = style.new_figure(12.5 if scored else 9, 4.2)
    axes = figure.subplots(1, 3 if scored else 2)
    for family in _FAMILIES:
        for noise in (False, True):
            own = [row for row in rows if row["method"] in family and (row["source"] == "noise") == noise]
            if family != ("svd-minimal",):  # counted, not stored so
                _against_numbers(axes[0], own, "classical", "error", noise)
            _against_numbers(axes[1], own, "total", "error", noise)
            if scored and not noise:
                _against_numbers(axes[2], own, "total", harm.column, noise, harm.scale)
    for one, label in zip(
        axes, ("numbers stored classically", "numbers and angles", "numbers and angles"), strict=False
    ):
        one.set_xscale("log")
        style.plain_ticks(one.xaxis)
        one.set_xlabel(label)
        style.tidy(one)
    for one in axes[1:]:
        one.axvline(rows[0]["dense"], color=style.INK, linewidth=1)
    axes[0].set_ylabel("relative error")
    axes[0].set_ylim(0, 1.05)
    axes[1].set_ylim(0, 1.05)
    if scored:
        axes[2].set_ylabel(harm.axis)
        removed = _mean(row[harm.column] for row in rows if row["method"] == "zero" and row["source"] != "noise")
        if removed is not None:
            axes[2].axhline(harm.scale * removed, color=style.GREY, linewidth=1)
        _logarithmic(axes[2], "y", harm.small)
    axes[1].legend(fontsize=style.SMALL, frameon=False, loc="lower left")
    return figure


def overlap_and_entropy(rows: Sequence[Row]) -> "Figure":
    """Overlap and entropy by depth and gate size."""
    figure = style.new_figure(9.5, 4)
    left, right = figure.subplots(1, 2)
    for source, line in (("layer", "-"), ("noise", "--")):
        own = [row for row in rows if (row["source"] == "noise") == (source == "noise")]
        sizes = sorted({(row["gate_qubits"], row["register"]) for row in own})
        for place, ((gate_qubits, register), colour) in enumerate(zip(sizes, style.colours(len(sizes)), strict=True)):
            curve = [row for row in own if row["gate_qubits"] == gate_qubits]
            depths = sorted({row["depth"] for row in curve})
            for axes, name in ((left, "merit"), (right, "entropy")):
                values = [_mean(row[name] for row in curve if row["depth"] == depth) for depth in depths]
                label = counted(gate_qubits, "qubit") + (" (register)" if register else "")
                axes.plot(
                    depths, values, line, color=colour, marker=style.MARKERS[place % len(style.MARKERS)], markersize=5,
                    linewidth=1.3, label=label if source == "layer" else None,
                    markerfacecolor="white" if source == "noise" else colour,
                )  # fmt: skip
        if own:
            shade = style.INK if source == "layer" else style.GREY
            left.axhline(_mean(row["bound"] for row in own), color=shade, linestyle=":", linewidth=1)
            if (before := _mean(row["entropy_before"] for row in own)) is not None:  # of one site without a bond
                right.axhline(before, color=shade, linestyle="-.", linewidth=0.8)
    depths = sorted({row["depth"] for row in rows})
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xticks(depths, [str(depth) for depth in depths])
        axes.minorticks_off()
        axes.set_xlabel("layers of gates a side")
        axes.set_ylim(0, None)
        style.tidy(axes)
    left.set_ylim(0, 1.02)
    left.set_ylabel("overlap A")
    right.set_ylabel("mean bond entropy, nats (dash-dotted: before)")
    right.legend(fontsize=style.SMALL, frameon=False, title="gates", title_fontsize=style.SMALL)
    return figure


def against_bond(rows: Sequence[Row]) -> "Figure":
    """Table I: change of perplexity and error by bond."""
    harm = harm_of(rows)
    scored = any(row.get(harm.column) is not None for row in rows)
    figure = style.new_figure(9.5 if scored else 5, 3.8)
    panels = figure.subplots(1, 2 if scored else 1, squeeze=False)[0]
    drawn = (("explicit", "circuits as wide as the registers"), ("mpo", "plain MPO"))
    for method, words in drawn:
        colour, marker = _STYLES[method]
        for noise in (False, True):
            own = [row for row in rows if row["method"] == method and (row["source"] == "noise") == noise]
            chis = sorted({row["chi"] for row in own})
            for axes, name in zip(panels, (harm.column, "error") if scored else ("error",), strict=True):
                values = [_mean(row.get(name) for row in own if row["chi"] == chi) for chi in chis]
                if not values or values[0] is None:
                    continue
                scale = harm.scale if name == harm.column else 1
                axes.plot(
                    chis, [scale * (value or 0.0) for value in values], "--" if noise else "-", color=colour,
                    marker=marker, markersize=5, linewidth=1.3, markerfacecolor="white" if noise else colour,
                    label=words + (", noise" if noise else ""),
                )  # fmt: skip
    if scored:
        removed = _mean(row.get(harm.column) for row in rows if row["method"] == "zero")
        if removed is not None:
            panels[0].axhline(harm.scale * removed, color=style.GREY, linewidth=1, label="layer removed")
        panels[0].set_ylabel(harm.axis)
        _logarithmic(panels[0], "y", harm.small / 10)
        panels[0].legend(fontsize=style.SMALL, frameon=False)
    panels[-1].set_ylabel("relative error")
    panels[-1].set_ylim(0, 1.05)
    panels[-1].legend(fontsize=style.SMALL, frameon=False, loc="center left")
    for axes in panels:
        axes.set_xscale("log")
        style.plain_ticks(axes.xaxis)
        axes.set_xlabel("bond")
        style.tidy(axes)
    return figure


def profile_of_layers(rows: Sequence[Row]) -> "Figure":
    """What the model loses by layer."""
    harm = harm_of(rows)
    own = [row for row in rows if row["source"] == "trained" and row.get(harm.column) is not None]
    layers = list(dict.fromkeys(row["layer"] for row in own))
    chis = sorted({row["chi"] for row in own if row.get("chi") is not None})
    figure = style.new_figure(3.2 * len(chis) + 1.6, 0.26 * len(layers) + 1.9)
    panels = figure.subplots(1, len(chis), sharey=True, squeeze=False)[0]
    for axes, chi in zip(panels, chis, strict=True):
        for method in ("explicit", "gradient", "svd-total", "mpo-total", "mpo-balanced-total"):
            found = [row for row in own if row["method"] == method and row.get("chi") == chi]
            if not found:
                continue
            colour, marker = _STYLES[method]
            values = [_mean(row[harm.column] for row in found if row["layer"] == layer) for layer in layers]
            axes.plot([harm.scale * (v or 0.0) for v in values], range(len(layers)), marker, color=colour, markersize=5,
                      label=_NAMES[method], alpha=0.85)  # fmt: skip
        removed = [_mean(r[harm.column] for r in own if r["method"] == "zero" and r["layer"] == n) for n in layers]
        axes.plot([harm.scale * (v or 0.0) for v in removed], range(len(layers)), "|", color=style.GREY, markersize=9,
                  label="removed")  # fmt: skip
        axes.set_title(f"bond {chi}", fontsize=10)
        axes.set_xlabel(harm.axis)
        style.tidy(axes)
        _logarithmic(axes, "x", harm.small)
    panels[0].set_yticks(range(len(layers)), [style.words(layer) for layer in layers])
    panels[0].invert_yaxis()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=style.SMALL, frameon=False, loc="outside lower center", ncols=5)
    return figure


def rebuilt(rows: Sequence[Row]) -> "Figure":
    """Share of hits with all layers replaced, before and after healing."""
    harm = harm_of(rows)
    figure = style.new_figure(6.6, 4.2)
    axes = figure.subplots()
    own = [row for row in rows if row["layer"].endswith("layers")]
    for family in _FAMILIES:
        first = True
        for method in family:
            colour, marker = _STYLES[method]
            found = [row for row in own if row["method"] == method]
            groups = dict.fromkeys((row.get("chi"), row.get("gate_qubits"), row.get("depth")) for row in found)
            for key in groups:
                same = [r for r in found if (r.get("chi"), r.get("gate_qubits"), r.get("depth")) == key]
                size, before = (_mean(row[name] for row in same) for name in ("size", harm.quality))
                after = _mean(harm.healed(row) for row in same)
                axes.plot(size, before, marker, color=colour, markerfacecolor="white", markersize=5)
                if after is not None:
                    axes.plot([size, size], [before, after], "-", color=colour, linewidth=0.8, alpha=0.6)
                    axes.plot(size, after, marker, color=colour, markersize=5, label=_NAMES[method] if first else None)
                    first = False
    for method, colour in (("original", style.INK), ("dense", style.INK)):
        found = [row for row in rows if row["method"] == method]
        level = _mean(row[harm.quality] if method == "original" else harm.healed(row) for row in found)
        if level is not None:
            axes.axhline(level, color=colour, linewidth=1, linestyle="-" if method == "original" else "--")
    axes.axvline(1, color=style.GREY, linewidth=1)
    axes.set_xscale("log")
    style.plain_ticks(axes.xaxis)
    axes.set_xlabel("numbers and angles over the layers' own")
    axes.set_ylabel(harm.hits)
    axes.set_ylim(0, 1.05 * axes.get_ylim()[1])
    axes.legend(fontsize=style.SMALL, frameon=False, loc="lower right")
    style.tidy(axes)
    return figure


def _logarithmic(axes: "Axes", which: str, linear: float) -> None:
    """A logarithmic scale for what is drawn; linear up to `linear` where some are that small."""
    from matplotlib.ticker import NullFormatter, SymmetricalLogLocator

    scale, axis = (axes.set_xscale, axes.xaxis) if which == "x" else (axes.set_yscale, axes.yaxis)
    # Lines across the whole panel have places in it, not values, along the other axis.
    along = 0 if which == "x" else 1
    lines = [one for one in axes.get_lines() if one.get_transform().contains_branch_seperately(axes.transData)[along]]
    drawn = np.concatenate([np.ravel(np.asarray(one.get_data()[along], float)) for one in lines])
    subs = (1.0, 2.0, 5.0) if drawn.max() < 100 * max(linear, drawn.min()) else (1.0,)
    if drawn.min() > linear:
        scale("log")
        style.plain_ticks(axis, subs)
        return
    scale("symlog", linthresh=linear)
    axis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=linear, subs=subs))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())
    if drawn.min() > -_ROUNDING * linear:
        (axes.set_xlim if which == "x" else axes.set_ylim)(0, None)


def _against_numbers(
    axes: "Axes", rows: Sequence[Row], along: str, value: str, noise: bool, scale: float = 1.0
) -> None:
    """One kind's points joined in order of their numbers, means over seeds."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if row.get(value) is not None and row[along] > 0:
            groups.setdefault((row[along], row.get("gate_qubits"), row.get("depth")), []).append(row)
    if not groups:
        return
    points = sorted((key[0], scale * float(np.mean([row[value] for row in own]))) for key, own in groups.items())
    method = rows[0]["method"]
    colour, marker = _STYLES[method]
    axes.plot(
        *zip(*points, strict=True), "--" if noise else "-", color=colour, marker=marker, markersize=4.5, linewidth=1.2,
        markerfacecolor="white" if noise else colour, label=None if noise else _NAMES[method],
    )  # fmt: skip


def _part(rows: Sequence[Row], part: str) -> list[Row]:
    return [row for row in rows if row["part"] == part]


def _mean(values: Iterable[Any]) -> Any:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
