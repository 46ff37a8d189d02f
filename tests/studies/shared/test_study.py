"""A study as a record: a made-up one is run, resumed, judged once, shown on its page, and refused."""

import json
from dataclasses import asdict, dataclass, replace

import jax
import numpy as np
import pytest

from qjaxsim.report.figure import ReportFigure
from qjaxsim.report.tables import ReportTable
from qjaxsim.report.verdict import HOLDS, Verdict
from qjaxsim.studies.shared import sweep
from qjaxsim.studies.shared.setting import check_settings, integer, number
from qjaxsim.studies.shared.study import Prepared, Study, run_study


@dataclass(frozen=True)
class Settings:
    """Powers of some numbers."""

    bases: tuple[int, ...] = integer((2, 3, 5), 1)
    power: float = number(2.0, above=0)

    def __post_init__(self):
        check_settings(self)


def made_up(calls, **changes):
    """A study that notes in `calls` what of it was called."""

    def prepare(settings, out, progress, *, offset=0.0):
        if settings.power > 9:
            raise ValueError("Argument `power` must be at most 9.")

        def run(cell, folder):
            calls.append(cell.key)
            base = cell.settings["base"]
            return sweep.CellResult({"base": base, "value": base**settings.power + offset}, {"x": np.array([base])})

        cells = [sweep.Cell(f"b{base}", {"base": base}) for base in settings.bases]
        return Prepared(settings, cells, run, {"offset": offset}, done=lambda: calls.append("done"))

    def claims(settings, rows):
        calls.append("claims")
        grows = all(a["value"] < b["value"] for a, b in zip(rows, rows[1:], strict=False))
        return [Verdict("Powers grow.", "nobody", HOLDS if grows else "not seen", f"{len(rows)} rows", "none")]

    def comparison(settings, rows):
        calls.append("comparison")
        return [{"quantity": "first", "ours": rows[0]["value"], "published": 4, "difference": 0, "comparable": True}]

    def figures(settings, rows, out):
        from matplotlib.figure import Figure

        path = out / "powers.png"
        Figure().savefig(path)
        return [ReportFigure(path, "Powers", f"{sweep.rows_arrays(out, rows)[2]['x'][0]} is the last base")]

    record = Study(
        name="powers",
        title=lambda settings: f"Numbers to the power {settings.power:g}",
        introduction="They grow.",
        source="nobody",
        columns={"base": "a number", "value": "its power"},
        prepare=prepare,
        claims=claims,
        comparison=comparison,
        figures=figures,
        tables=lambda settings, rows: [ReportTable("Powers", rows)],
    )
    return replace(record, **changes)


def test_a_study_is_run_judged_once_and_shown(tmp_path):
    calls = []
    found = run_study(made_up(calls), Settings(), tmp_path / "out", offset=0.5)
    assert calls == ["b2", "b3", "b5", "done", "claims", "comparison"]
    assert [row["value"] for row in found.rows] == [4.5, 9.5, 25.5]
    assert found.settings == Settings() and found.verdicts[0].verdict == HOLDS and found.comparison[0]["ours"] == 4.5
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["settings"] == {**json.loads(json.dumps(asdict(Settings()))), "offset": 0.5}
    page = (tmp_path / "out" / "report.html").read_text()
    for text in ("Numbers to the power 2", "They grow.", "Powers grow.", "a number", "5 is the last base", "25.5",
                 "qjaxsim study powers", "offset"):  # fmt: skip
        assert text in page, text


def test_a_page_of_its_own_comes_results_first(tmp_path):
    shown = [ReportTable("Results", [{"base": 7}], keys=("base",)), ReportTable("Second", [{"base": 11}], "a note")]
    run_study(made_up([], page=lambda settings, rows: shown), Settings(), tmp_path / "out", command="typed words")
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.index("<td>7</td>") < page.index("Second") < page.index("a note") < page.index("<td>11</td>")
    assert "typed words" in page and "25" not in page.split("<h2>Columns")[0].split("Second")[1]


def test_a_finished_study_is_taken_up_without_running_a_cell(tmp_path):
    first = run_study(made_up([]), Settings(), tmp_path / "out")
    calls = []
    again = run_study(made_up(calls), Settings(), tmp_path / "out", resume=True)
    assert again == first and calls == ["done", "claims", "comparison"]


def test_refusals_come_before_any_work(tmp_path):
    calls = []
    with pytest.raises(ValueError, match="`power` must be at most 9"):
        run_study(made_up(calls), Settings(power=10.0), tmp_path / "out")
    with pytest.raises(TypeError, match="data_dir"):
        run_study(made_up(calls), Settings(), tmp_path / "out", data_dir=tmp_path)
    double = made_up(calls, double=lambda settings: settings.power == 2)
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(ValueError, match="double precision .* needs JAX's x64 mode; set JAX_ENABLE_X64=1"):
            run_study(double, Settings(), tmp_path / "out")
        assert run_study(double, Settings(power=3.0), tmp_path / "out").rows[0]["value"] == 8
    finally:
        jax.config.update("jax_enable_x64", True)
    assert calls[0] == "b2" and calls.count("b2") == 1
