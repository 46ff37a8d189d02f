"""What a report holds, and what becomes of it: a file, figures, a page, a view in a notebook."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from qjaxsim.common import files
from qjaxsim.curvature.operators import LinearOperator
from qjaxsim.curvature.spectrum import EigenPairs
from qjaxsim.report.row import Row
from qjaxsim.report.tables import format_value, present
from qjaxsim.running.array_types import to_jax

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORM = 1
_OF_REPORTS = "give a file that `SpectrumReport.save` wrote"
# Points of the density of a whole spectrum, and its width as a share of the spectrum's, as `spectral_density` has it.
_DENSITY_POINTS, _WIDTHS = 2000, 200
_OF_PAIRS = ("values", "vectors", "residuals")


class Density(NamedTuple):
    """Density of eigenvalues on a grid, both of shape (G,); its integral is 1."""

    grid: np.ndarray
    density: np.ndarray


@dataclass(frozen=True, eq=False)
class SpectrumReport:
    """Curvature of a function at a point; `spectrum_report` makes one.

    Attributes:
        title: heading of the page.
        numbers: scalars by name; `qjaxsim.curvature.spectra.columns.NUMBERS` says what each is. None where a way of
            computing does not give one.
        blocks: a row for each group of parameters, columns as in `columns.BLOCKS`.
        arrays: `params` and `gradient` (P,); `top_values` (k,), `top_vectors` (k, P) and `top_residuals` (k,) of the
            leading pairs; `eigenvalues` (P,) and, of a model, `gn_eigenvalues`, ascending; or `lanczos_values`,
            `lanczos_residuals`, `density_grid`, `density` and its standard error `density_error`; `group_0` ..., the
            places of each block's parameters; `minimum` (), where the point stands in the trajectory; those of planes
            as `planes.plane_arrays` names them.
        settings: how it was made.
        hessian: the Hessian as an operator, the matrix where it is dense; None in a report that was loaded.
        gauss_newton: G in the same way; None where the function is no model's either.

    >>> import tempfile, jax.numpy as jnp
    >>> from pathlib import Path
    >>> from qjaxsim.curvature import spectrum_report
    >>> report = spectrum_report(lambda w: w[0] ** 2 + 2 * w[1] ** 2, jnp.array([1.0, 1.0]), planes=(), progress=False)
    >>> report.eigenvalues, report.lambda_max, report.trace
    (array([2., 4.]), 4.0, 6.0)
    >>> SpectrumReport.load(report.save(Path(tempfile.mkdtemp()) / "mine.npz")).lambda_max
    4.0
    """

    title: str
    numbers: Row
    blocks: Sequence[Row]
    arrays: Mapping[str, np.ndarray]
    settings: Mapping[str, Any]
    hessian: LinearOperator | None = field(default=None, repr=False)
    gauss_newton: LinearOperator | None = field(default=None, repr=False)

    @property
    def eigenvalues(self) -> np.ndarray:
        """All eigenvalues ascending, (P,); by Lanczos the leading ones, (m,)."""
        values = self.arrays.get("eigenvalues")
        return np.sort(self.arrays["lanczos_values"]) if values is None else values

    @property
    def pairs(self) -> EigenPairs:
        """Leading eigenvalues, their vectors and residuals."""
        values, vectors, residuals = (to_jax(self.arrays[f"top_{name}"]) for name in _OF_PAIRS)
        return EigenPairs(values, vectors, residuals, matvecs=0)

    @property
    def shares(self) -> np.ndarray:
        """Squares of the leading eigenvectors summed over each group's parameters, (groups, k)."""
        squares = np.asarray(self.arrays["top_vectors"], float) ** 2
        return np.stack([squares[:, self.arrays[f"group_{i}"]].sum(axis=1) for i in range(len(self.blocks))])

    @property
    def lambda_max(self) -> float:
        """The largest eigenvalue."""
        return float(self.numbers["lambda_max"])

    @property
    def lambda_min(self) -> float:
        """The smallest eigenvalue."""
        return float(self.numbers["lambda_min"])

    @property
    def trace(self) -> float:
        """The sum of all eigenvalues; `numbers["trace_error"]` is its standard error where it is an estimate."""
        return float(self.numbers["trace"])

    @property
    def outliers(self) -> int:
        """Outliers by the rule of the largest gap, `count_outliers`."""
        return int(self.numbers["outliers_gap"])

    @property
    def density(self) -> Density:
        """The eigenvalue density, smoothed: of the whole spectrum if it is known, else as Lanczos estimated it."""
        if "density" in self.arrays:
            return Density(self.arrays["density_grid"], self.arrays["density"])
        values = self.eigenvalues
        span = float(values[-1] - values[0]) or abs(float(values[0])) or 1.0
        sigma = span / _WIDTHS
        grid = np.linspace(values[0] - 6 * sigma, values[-1] + 6 * sigma, _DENSITY_POINTS)
        heights = sum(np.exp(-0.5 * ((grid - value) / sigma) ** 2) for value in values)
        return Density(grid, np.asarray(heights) / (len(values) * sigma * np.sqrt(2 * np.pi)))

    @property
    def planes(self) -> list[str]:
        """Names of the planes that were evaluated."""
        names = {"pca": "landscape", "eigen": "eigen_landscape", "random": "random_landscape"}
        return [name for name, array in names.items() if array in self.arrays]

    def save(self, path: str | Path) -> Path:
        """The path, now holding the report as `.npz` without pickle, whole or not at all.

        Raises:
            OSError: if it cannot be written.
        """
        said = {
            "form": FORM,
            "title": self.title,
            "settings": self.settings,
            "numbers": self.numbers,
            "blocks": self.blocks,
        }
        # JSON has no such numbers, and null stands for one that there is none of.
        said["not_finite"] = _not_finite(self.numbers)
        said["blocks_not_finite"] = [_not_finite(row) for row in self.blocks]
        text = json.dumps(files.to_json(said, nan_as_null=True))
        return files.write_npz(path, {**self.arrays, "report": np.array(text)})

    @classmethod
    def load(cls, path: str | Path) -> "SpectrumReport":
        """The report in a file.

        Raises:
            OSError: if it cannot be opened.
            qjaxsim.common.files.DamagedError: if it is damaged, no report, or of a newer version.
        """
        try:
            arrays = files.read_npz(path)
        except files.DamagedError as error:
            raise files.DamagedError(path, error.reason, _OF_REPORTS) from error
        if "report" not in arrays:
            raise files.DamagedError(path, "it has no report of a spectrum", _OF_REPORTS)
        try:
            said = json.loads(str(arrays.pop("report")))
            if said["form"] > FORM:
                raise files.DamagedError(path, f"it is of a newer version, form {said['form']}", "update qjaxsim")
            numbers = _with_not_finite(said["numbers"], said.get("not_finite", {}))
            apart = said.get("blocks_not_finite", [{}] * len(said["blocks"]))
            blocks = [_with_not_finite(row, more) for row, more in zip(said["blocks"], apart, strict=True)]
            return cls(said["title"], numbers, blocks, arrays, said["settings"])
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, files.DamagedError):
                raise
            raise files.DamagedError(path, "what it says of its report cannot be read", _OF_REPORTS) from error

    def plot(self, what: str = "spectrum") -> "Figure":
        """A figure.

        Args:
            what: "spectrum", "blocks", or a plane: "pca", "eigen", "random".

        Returns:
            matplotlib Figure; `savefig` writes it, and notebooks show it.

        Raises:
            ValueError: for a figure that this report has nothing for.
        """
        from qjaxsim.curvature.spectra import figures

        return figures.figure_of(self, what)

    def to_html(self, path: str | Path) -> Path:
        """The path, now holding the report as one page with its figures inside; it loads nothing from anywhere.

        Raises:
            OSError: if it cannot be written.
        """
        from qjaxsim.curvature.spectra import page

        return page.write(self, path)

    def texts(self) -> dict[str, str]:
        """The numbers that there are, as text for tables."""
        return {name: format_value(self.numbers[name], name) for name in present(list(self.numbers), [self.numbers])}

    def __repr__(self) -> str:
        shown = [f"{name} {format_value(self.numbers[name], name)}" for name in self._said()]
        return f"<SpectrumReport: {', '.join(shown)}>"

    def _repr_html_(self) -> str:
        import base64

        from qjaxsim.report import style

        rows = "".join(
            f"<tr><td>{escape(name.replace('_', ' '))}</td><td>{escape(text)}</td></tr>"
            for name, text in self.texts().items()
        )
        picture = base64.b64encode(style.png_bytes(self.plot())).decode("ascii")
        return (
            f"<h4>{escape(self.title)}</h4><table>{rows}</table>"
            f'<img src="data:image/png;base64,{picture}" alt="spectrum" style="max-width: 100%">'
        )

    def _said(self) -> list[str]:
        names = ("parameters", "samples", "loss", "spectrum", "lambda_max", "lambda_min", "trace", "outliers_gap")
        return present(names, [self.numbers])


def _not_finite(row: Row) -> dict[str, str]:
    """The numbers of a row that are NaN or infinite, as text."""
    return {name: str(value) for name, value in row.items() if isinstance(value, float) and not math.isfinite(value)}


def _with_not_finite(row: Row, more: Mapping[str, str]) -> Row:
    return {**row, **{name: float(text) for name, text in more.items()}}
