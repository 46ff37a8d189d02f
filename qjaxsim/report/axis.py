"""One axis of a panel as plotly has it: scale, range, ticks, name."""

from typing import TYPE_CHECKING, Any

import numpy as np

from qjaxsim.report.look import html

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Whole numbers on so short an axis are all named.
_EVERY = 12
# Decades for a tick of a logarithmic axis: with as few ticks plotly names 2 and 5 alone between powers of ten.
_PER_TICK = 0.31
# Ticks of one within a decade, where plotly counts them in steps of equal size: with fewer it may name one place alone.
_WITHIN_DECADE = 5


class Axis:
    """The horizontal or vertical axis of matplotlib's axes.

    A signed logarithmic axis, which plotly lacks, is drawn as a linear one of transformed numbers with the ticks that
    matplotlib has.

    Attributes:
        axes: they.
        letter: "x" or "y".
        kind: "linear", "log" or another scale of matplotlib.
        transformed: whether numbers are transformed before they are drawn.
        name: its label, or that of an axis it shares its numbers with.
        ticks: places that have a tick.
    """

    def __init__(self, axes: "Axes", letter: str) -> None:
        self.axes, self.letter = axes, letter
        self._axis = getattr(axes, f"{letter}axis")
        self.kind = self._axis.get_scale()
        self.transformed = self.kind not in ("linear", "log")
        self.placing = "log" if self.kind == "log" else "linear"
        self.name = html(self._label())
        self._limits = np.sort(getattr(axes, f"get_{letter}lim")())
        inside = np.asarray(self._axis.get_majorticklocs(), float)
        slack = 1e-9 * (self._limits[1] - self._limits[0])
        self.ticks = inside[(inside >= self._limits[0] - slack) & (inside <= self._limits[1] + slack)]

    def _label(self) -> str:
        shared = getattr(self.axes, f"get_shared_{self.letter}_axes")().get_siblings(self.axes)
        labels = [getattr(one, f"get_{self.letter}label")() for one in (self.axes, *shared)]
        return next((label for label in labels if label), "")

    def to(self, values: Any, clip: bool = False) -> np.ndarray:
        """Numbers as plotly places them; with `clip` what a logarithmic axis cannot show lies below its end."""
        values = np.asarray(values, float)
        if self.transformed:
            return np.asarray(self._axis.get_transform().transform(values), float)
        if self.kind == "log":
            return np.where(values > 0, values, self._limits[0] / 10 if clip else np.nan)
        return values

    def between(self, low: float, high: float) -> str:
        """The place of a bar in words: its tick's label, else its ends."""
        near = np.flatnonzero(np.abs(self.ticks - (low + high) / 2) <= 0.5)
        if self._fixed() and near.size and not self.transformed:
            return self._texts()[near[0]]
        return f"{low:.3g} to {high:.3g}"

    def layout(self) -> dict[str, Any]:
        """Plotly's description of it."""
        ends = self.to(getattr(self.axes, f"get_{self.letter}lim")())
        found: dict[str, Any] = {
            "title": {"text": self.name, "standoff": 8, "font": {"size": 12}},
            "range": [float(f"{end:.6g}") for end in (np.log10(ends) if self.kind == "log" else ends)],
            "automargin": True,
        }
        if self.kind == "log":
            decades = abs(found["range"][1] - found["range"][0])
            ticks = int(np.clip(decades / _PER_TICK, 3, 7)) if decades >= 1 else _WITHIN_DECADE
            found |= {"type": "log", "exponentformat": "power", "nticks": ticks}
        if self._fixed() or self.transformed:
            found |= {"tickvals": [float(f"{tick:.6g}") for tick in self.to(self.ticks)], "ticktext": self._texts()}
        elif self._whole() and self._limits[1] - self._limits[0] <= _EVERY:
            found["dtick"] = 1
        return found

    def _fixed(self) -> bool:
        from matplotlib.ticker import FixedLocator

        return isinstance(self._axis.get_major_locator(), FixedLocator)

    def _whole(self) -> bool:
        from matplotlib.ticker import MaxNLocator

        locator = self._axis.get_major_locator()
        return isinstance(locator, MaxNLocator) and bool(getattr(locator, "_integer", False))

    def _texts(self) -> list[str]:
        return [html(text) for text in self._axis.get_major_formatter().format_ticks(self.ticks)]
