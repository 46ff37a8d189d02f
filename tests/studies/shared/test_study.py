"""A study as a record: a made-up one is run, resumed, judged once, shown on its page, and refused."""

import json
from dataclasses import asdict

import jax
import pytest

from qjaxsim.report.tables import ReportTable
from qjaxsim.report.verdict import HOLDS
from qjaxsim.studies.shared.study import run_study
from tests.study_cases import Settings, made_up


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
    assert page.index("<td>7</td>") < page.index(">Second</h2>") < page.index("a note") < page.index("<td>11</td>")
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
