"""The page of a report: its numbers, its blocks, and figures with a sentence on what each says here."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qjaxsim.common.environment import environment
from qjaxsim.curvature.spectra.columns import BLOCKS, NUMBERS
from qjaxsim.curvature.spectra.figures import PREFIXES, figure_names, figure_of
from qjaxsim.report.figure import ReportFigure, written
from qjaxsim.report.headline import facts_of, headline_of
from qjaxsim.report.page import write_report
from qjaxsim.report.plane import extent
from qjaxsim.report.tables import ReportTable, format_value

if TYPE_CHECKING:
    from qjaxsim.curvature.spectra.record import SpectrumReport

_INTRODUCTION = (
    "Exact second derivatives at one point. {how} Eigenvalues are in units of the function per parameter squared; "
    "magnitudes below {rounding} are rounding."
)
_HOW = {
    "dense": "The whole matrix was computed by automatic differentiation and its spectrum by LAPACK.",
    "lanczos": "No matrix was formed: leading eigenvalues are from Lanczos iteration, density and trace are estimates "
    "from products with random vectors.",
}


def write(report: "SpectrumReport", path: str | Path) -> Path:
    """The path, now holding the page."""
    numbers = report.numbers
    introduction = _INTRODUCTION.format(
        how=_HOW[str(numbers["spectrum"])], rounding=format_value(numbers["rounding"], "rounding")
    )
    tables = [ReportTable("Blocks", report.blocks, "Diagonal blocks of the Hessian, a group of parameters each.")]
    with tempfile.TemporaryDirectory() as folder:
        return write_report(
            path,
            title=report.title,
            introduction=introduction,
            settings=report.settings,
            rows=[{name: value for name, value in numbers.items() if value is not None}],
            columns=NUMBERS | BLOCKS,
            versions=environment(),
            headline=facts_of(headline_of(["lambda_max"], [numbers]), NUMBERS),
            tables=tables if report.blocks else [],
            figures=write_figures(report, Path(folder)),
            keys=(),
        )


def write_figures(report: "SpectrumReport", folder: Path, prefix: str = "") -> list[ReportFigure]:
    """The report's figures as PNG files in a folder, with what they say as captions."""
    made = []
    for name in figure_names(report):
        path = folder / f"{prefix}{name}.png"
        made.append(written(figure_of(report, name), path, _TITLES[name], said(report, name)))
    return made


_TITLES = {
    "spectrum": "Spectrum",
    "blocks": "Blocks",
    "pca": "Plane of the path",
    "eigen": "Plane of the leading eigenvectors",
    "random": "Random plane",
}


def said(report: "SpectrumReport", name: str) -> str:
    """How to read a figure, and what it says here."""
    return _SAID.get(name, _of_plane)(report, name)


def _of_spectrum(report: "SpectrumReport", name: str) -> str:
    numbers = report.numbers
    texts = report.texts()
    size = int(numbers["parameters"])
    parts = [
        "Eigenvalues on a signed logarithmic axis, linear only in the grey bin around zero; below, the leading ones by "
        f"rank. Here they run from {texts['lambda_min']} to {texts['lambda_max']}"
    ]
    if numbers["near_zero_fraction"] is not None:
        near = round(float(numbers["near_zero_fraction"]) * size)
        parts.append(f"; about {near:,} of {size:,} are near zero (magnitude up to 1e-6 of the largest)")
    if numbers.get("negative_eigenvalues") is not None:
        parts.append(f", {numbers['negative_eigenvalues']:,} are negative")
    parts.append(f", and {report.outliers} stand out by the rule of the largest gap.")
    if numbers.get("residual_norm_ratio") is not None:
        parts.append(
            f" The part beyond Gauss-Newton (outlined where it was computed) has {texts['residual_norm_ratio']} of the "
            "Hessian's norm."
        )
    return "".join(parts)


def _of_blocks(report: "SpectrumReport", name: str) -> str:
    sharpest = max(report.blocks, key=lambda row: float(row["block_lambda_max"]))
    home = max(report.blocks, key=lambda row: float(row["leading_share"]))
    text = (
        "Largest eigenvalue and trace of each group's diagonal block, and in which group the leading eigenvectors have "
        f"their squares. The sharpest block is {sharpest['group']} ({float(sharpest['block_lambda_max']):.4g}); "
        f"{100 * float(home['leading_share']):.0f} % of the leading eigenvector is in {home['group']}."
    )
    rounding = int(report.numbers["parameters"]) * float(np.finfo(report.arrays["gradient"].dtype).eps)
    flat = [row for row in report.blocks if row.get("block_exact_zeros") == row["parameters"]]
    idle = [str(row["group"]) for row in flat if float(row["gradient_share"]) <= rounding**2]
    return text + (f" The function does not depend on {', '.join(idle)} at all: frozen or unused." if idle else "")


def _of_plane(report: "SpectrumReport", name: str) -> str:
    arrays = report.arrays
    values = arrays[f"{PREFIXES[name]}landscape"]
    low, high = extent(values)
    text = "The function on a plane through the point, as contours and as a surface."
    if lost := np.count_nonzero(~np.isfinite(values)):
        text += f" It is not finite at {lost} of {values.size} points of this grid, where nothing is drawn."
    if np.isnan(low):
        return text
    j, i = np.argwhere(values == low)[0]
    a, b = (arrays[f"{PREFIXES[name]}landscape_{axis}"] for axis in "ab")
    return f"{text} On this grid it runs from {low:.4g} to {high:.4g}, lowest at ({a[i]:.3g}, {b[j]:.3g})."


_SAID: dict[str, Callable[["SpectrumReport", str], str]] = {"spectrum": _of_spectrum, "blocks": _of_blocks}
