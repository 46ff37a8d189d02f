"""From the record of a run to tables, CSV, figures and one HTML page."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qjaxsim.common.files import write_json, write_text
from qjaxsim.report import style
from qjaxsim.report.figure import ReportFigure, written
from qjaxsim.report.headline import Fact
from qjaxsim.report.page import Link, write_report
from qjaxsim.report.row import Row
from qjaxsim.report.tables import print_table
from qjaxsim_bench import own
from qjaxsim_bench.flat import METRICS
from qjaxsim_bench.groups import first_seconds
from qjaxsim_bench.peers import MODULES
from qjaxsim_bench.peers.base import OURS
from qjaxsim_bench.problem import FIRST, REPEATED, numbers
from qjaxsim_bench.problems import problem_of
from qjaxsim_bench.targets import Comparison, Outcome, compared, outcomes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SENTENCE = "Absolute times vary between machines; the ratios are the result."
_SPREAD = ("ratio", "low", "high")
_FORMATS = dict.fromkeys(("first_call_s", "compile_s", "median_s", "ours", "best_of_peers"), ".3g") | dict.fromkeys(
    ("first_ratio", *_SPREAD), ".2f"
)
_COLUMNS = {
    "problem": "what is computed",
    "size": "sizes as the problem's axis says",
    "dtype": "precision of ours that is compared with; peers of double precision alone run in it beside our single too",
    "peer": "simulator",
    "status": "ok, or why there is no time",
    "first_call_s": "seconds of the first call: preparing, compiling and running, without imports",
    "compile_s": "seconds of that to compile; 0 where nothing is compiled ahead",
    "median_s": "median of repeated calls, s",
    "repeats": "number of turns, each the median of its calls",
    "first_ratio": "their first call over ours",
    "ratio": "their repeated call over ours, the median of all turns: how many times faster this engine is",
    "low": "lower quartile of that ratio over the turns",
    "high": "upper quartile",
}
_FILES = {
    "bench.csv": "all cells, for spreadsheets",
    "bench.json": "the whole record",
    "targets.md": "the targets that were measured",
    own.FILE: "the gates, numbers and observable that all were given",
}
# Families of a size string such as 8x3x1024: one line in the figure for each remainder.
_COLOURS = {name: i for i, name in enumerate(MODULES)}


def rows(record: Mapping[str, Any]) -> list[Row]:
    """Cells whose results are times, with ratios."""
    cells = [cell for cell in record["cells"] if cell["problem"] not in METRICS]
    ours = {(c["problem"], c["size"], c["dtype"]): c for c in cells if c["peer"] == OURS}
    out: list[Row] = []
    for cell in cells:
        own = ours.get((cell["problem"], cell["size"], cell["dtype"]))
        repeated, first = (compared(own, cell, measure) for measure in (REPEATED, FIRST))
        out.append(
            {
                **{name: cell[name] for name in ("problem", "size", "dtype", "peer")},
                "status": _status(cell, repeated),
                "first_call_s": first_seconds(cell) if "first" in cell else None,
                "compile_s": cell.get("compile"),
                "median_s": cell.get("median"),
                "repeats": cell.get("repeats"),
                "first_ratio": first.ratio if first else None,
                **{name: getattr(repeated, name, None) for name in _SPREAD},
            }
        )
    return out


def _status(cell: Row, compared: Comparison | None) -> str:
    if cell["status"] != "ok":
        return f"{cell['status']}: {cell['reason']}"
    return "ok" if compared else "ok, but there is nothing of ours to compare with"


def _outcomes(record: Mapping[str, Any]) -> list[Outcome]:
    """The targets of the problems that were run."""
    return outcomes(record["cells"], record["settings"]["problems"])


def target_rows(record: Mapping[str, Any]) -> list[Row]:
    """The table of targets."""
    return [
        {
            "work": outcome.work,
            "ours": outcome.ours,
            "best_of_peers": outcome.best,
            "peer": outcome.peer,
            **{name: getattr(outcome, name) for name in _SPREAD},
            "target": outcome.target,
            "status": outcome.status,
        }
        for outcome in _outcomes(record)
    ]


def markdown(record: Mapping[str, Any]) -> str:
    """The table of targets that were measured, for a document."""
    lines = ["| work | ours | best peer | ratio (quartiles) | target |", "|---|---|---|---|---|"]
    for o in _outcomes(record):
        if o.status == "not measured":
            continue
        ratio = "" if o.ratio is None else f"{o.ratio:.2f}"
        spread = "" if o.low is None or o.high is None else f" ({o.low:.2f} to {o.high:.2f})"
        peer = f"{o.peer} {_shown(o.best, o.unit)}".strip()
        goal = o.target.removeprefix(">= ").replace("<= ", "at most ")
        lines.append(f"| {o.work} | {_shown(o.ours, o.unit)} | {peer} | {ratio}{spread} | {goal}, {o.status} |")
    return "\n".join(lines) + "\n"


def _shown(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return f"{1e3 * value:.3g} ms" if unit == "s" and value < 1 else f"{value:.3g} {unit}"


def print_results(record: Mapping[str, Any]) -> None:
    """Both tables on standard output."""
    print_table(rows(record), title="All cells", keys=("problem", "size", "dtype", "peer"), formats=_FORMATS)
    if targets := target_rows(record):
        print_table(targets, title="Targets", keys=("work",), formats=_FORMATS)
    print(SENTENCE)


def write_all(record: Mapping[str, Any], folder: Path, command: str) -> None:
    """`bench.json`, `bench.csv`, `targets.md` where there are targets, `figures/*.png`, `report.html` in a folder."""
    write_json(folder / "bench.json", {**record, "targets": [asdict(o) for o in _outcomes(record)]})
    write_text(folder / "bench.csv", _csv(rows(record)))
    made = figures(record, folder / "figures")
    machine = record["machine"]
    settings = {name: f"{p['settings']} ({_versions(p['versions'])})" for name, p in record["peers"].items()}
    columns = ("work", "ours", "best_of_peers", "peer", *_SPREAD, "target", "status")
    targets = [{name: row[name] for name in columns} for row in target_rows(record)]
    if targets:
        write_text(folder / "targets.md", markdown(record))
    circuit = record["settings"]["circuit"]
    write_report(
        folder / "report.html",
        title="Benchmarks" if circuit is None else f"Benchmarks of {circuit}",
        introduction=(
            "Every simulator computes the same; results are compared with ours (1e-5 in single, 1e-10 in double "
            "precision) before anything is timed. Then both sides take turns, each in a process that is stopped while "
            "the other runs; a ratio is the median over all turns, low and high are its quartiles. First calls "
            f"(preparing, compiling, running, without imports) are apart. {SENTENCE}"
        ),
        settings={"date": machine["date"], "processor": machine["processor"], "cores": machine["cores"], **settings},
        headline=_headline(record),
        rows=targets or rows(record),
        columns={} if targets else _COLUMNS,
        command=command,
        versions={"python": machine["python"], **machine["versions"]},
        figures=made,
        downloads=[Link(name, name, note) for name, note in _FILES.items() if (folder / name).is_file()],
        formats=_FORMATS,
    )


def _headline(record: Mapping[str, Any]) -> list[Fact]:
    measured = [outcome.status for outcome in _outcomes(record) if outcome.status != "not measured"]
    return [Fact(f"{measured.count('met')} of {len(measured)}", "targets met, of those measured")] if measured else []


def _csv(table: Sequence[Row]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(_COLUMNS), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return buffer.getvalue()


def _versions(versions: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name} {version or 'not installed'}" for name, version in versions.items())


def figures(record: Mapping[str, Any], folder: Path) -> list[ReportFigure]:
    """One figure for each problem that has times, and one for each metric that should stay flat."""
    folder.mkdir(parents=True, exist_ok=True)
    out = []
    for name in dict.fromkeys(c["problem"] for c in record["cells"] if c["problem"] not in METRICS):
        cells = [c for c in record["cells"] if c["problem"] == name and c["status"] == "ok"]
        if cells:
            problem, path = problem_of(name), folder / f"{name}.png"
            if len({c["size"] for c in cells}) > 1:
                out.append(written(_times(name, cells), path, problem.title, _caption(problem.axis)))
            else:
                out.append(written(_one_size(cells), path, problem.title, _ONE_SIZE))
    for name, metric in METRICS.items():
        cells = [c for c in record["cells"] if c["problem"] == name and c["status"] == "ok"]
        if cells:
            caption = f"Flat lines do not depend on the number of {metric.axis}."
            out.append(written(_flat(name, cells), folder / f"{name}.png", metric.title, caption))
    return out


_ONE_SIZE = f"Median of repeated calls, small marks: of first calls; further left is faster. {SENTENCE}"


def _caption(axis: str) -> str:
    return f"Median of repeated calls against the size ({axis}); lower is faster. {SENTENCE}"


def _times(name: str, cells: Sequence[Row]) -> "Figure":
    """Time against size, a panel for each precision, a line for each simulator."""
    problem = problem_of(name)
    dtypes = [d for d in problem.dtypes if any(c["dtype"] == d for c in cells)]
    sizes = list(dict.fromkeys(c["size"] for c in cells))
    if all(part.isdigit() for size in sizes for part in size.split("x")):
        sizes.sort(key=numbers)
    figure = style.new_figure(1.5 + 4.5 * len(dtypes), 4.2)
    panels = figure.subplots(1, len(dtypes), sharey=True, squeeze=False)[0]
    numeric = all(size.isdigit() for size in sizes)
    places = {size: float(size) if numeric else float(i) for i, size in enumerate(sizes)}
    for axes, dtype in zip(panels, dtypes, strict=True):
        for peer in dict.fromkeys(c["peer"] for c in cells):
            points = [(places[c["size"]], c["median"]) for c in cells if c["peer"] == peer and c["dtype"] == dtype]
            _line(axes, peer, sorted(points))
        axes.set_yscale("log")
        axes.set_xticks(list(places.values()), sizes, rotation=0 if numeric else 30)
        axes.set_xlabel(problem.axis)
        axes.set_title(f"{dtype} precision", fontsize=10)
        style.tidy(axes)
    panels[0].set_ylabel("seconds a call")
    _legend(figure, panels)
    return figure


def _one_size(cells: Sequence[Row]) -> "Figure":
    """Times of one size, a line for each simulator and precision, the fastest on top."""
    cells = sorted(cells, key=lambda c: c["median"], reverse=True)
    both = len({c["dtype"] for c in cells}) > 1
    figure = style.new_figure(7, 1.2 + 0.28 * len(cells))
    axes = figure.subplots()
    for place, cell in enumerate(cells):
        colour = style.COLOURS[_COLOURS[cell["peer"]] % len(style.COLOURS)]
        ends = [cell["median"], first_seconds(cell)]
        axes.plot(ends, [place, place], color=style.PALE, zorder=1)
        axes.plot(ends[0], place, "o", color=colour, markersize=9 if cell["peer"] == OURS else 6)
        axes.plot(ends[1], place, "o", color=colour, markersize=3)
    labels = [f"{c['peer']}, {c['dtype']}" if both else c["peer"] for c in cells]
    axes.set_yticks(range(len(cells)), labels)
    axes.set_ylim(-0.5, len(cells) - 0.5)  # marks of few lines would be cut by the edge
    axes.set_xscale("log")
    axes.set_xlabel(f"seconds a call ({cells[0]['size']})")
    style.tidy(axes)
    return figure


def _line(axes: "Axes", peer: str, points: Sequence[tuple[float, float]]) -> None:
    if not points:
        return
    i = _COLOURS[peer]
    axes.plot(
        *zip(*points, strict=True),
        color=style.COLOURS[i % len(style.COLOURS)],
        marker=style.MARKERS[i % len(style.MARKERS)],
        linestyle="-" if i < len(style.COLOURS) else "--",
        linewidth=2.4 if peer == OURS else 1.2,
        markersize=5,
        label=peer,
        zorder=3 if peer == OURS else 2,
    )


def _legend(figure: Any, panels: Sequence["Axes"]) -> None:
    """One legend beside the panels for all lines."""
    found: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    figure.legend(list(found.values()), list(found), loc="outside right center", frameon=False, fontsize=9)


def _flat(name: str, cells: Sequence[Row]) -> "Figure":
    metric = METRICS[name]
    figure = style.new_figure(6.5, 3.8)
    axes = figure.subplots()
    cells = sorted(cells, key=lambda c: int(c["size"]))
    for i, quantity in enumerate(cells[0]["values"]):
        points = [(int(c["size"]), c["values"][quantity]) for c in cells]
        colour, marker = style.COLOURS[i % len(style.COLOURS)], style.MARKERS[i % len(style.MARKERS)]
        axes.plot(*zip(*points, strict=True), color=colour, marker=marker, label=quantity)
    axes.set_xscale("log", base=2)
    if name == "memory-depth":
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    sizes = [int(c["size"]) for c in cells]
    axes.set_xticks(sizes, [str(n) for n in sizes])
    axes.set_xlabel(metric.axis)
    axes.set_ylabel(metric.unit)
    style.tidy(axes)
    _legend(figure, [axes])
    return figure
