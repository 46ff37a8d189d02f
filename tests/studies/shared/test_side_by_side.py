"""Lists of runs and runs side by side, by the commands, on a made-up study: what is matched, refused, drawn, linked."""

import fcntl
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.image import imread

from qjaxsim.command.main import main
from qjaxsim.report.tables import ReportTable
from qjaxsim.studies.shared import run as run_module
from qjaxsim.studies.shared import side_by_side_figure
from qjaxsim.studies.shared.listing import list_runs
from qjaxsim.studies.shared.run import load_run
from qjaxsim.studies.shared.side_by_side import side_by_side
from qjaxsim.studies.shared.study import run_study
from tests.study_cases import Settings, made_up


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """Folders of made-up studies are opened like those of others."""
    records = {"powers": made_up(), "others": made_up(name="others")}
    monkeypatch.setattr(run_module, "find_study", records.__getitem__)
    return records


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Squares, cubes of two numbers more, and a run of another study."""
    runs = tmp_path_factory.mktemp("work") / "runs"
    run_study(made_up(), Settings(), runs / "powers" / "a")
    run_study(made_up(), Settings(bases=(2, 3, 7, 11), power=3.0), runs / "powers" / "b")
    run_study(made_up(name="others"), Settings(), runs / "others" / "c")
    for name, day in (("powers/a", 1), ("powers/b", 2), ("others/c", 3)):
        change_config(runs / name, began=f"2026-05-0{day}T09:30:00+00:00")
    return runs


@pytest.fixture
def runs(kept, tmp_path):
    """A copy to be spoilt."""
    return Path(shutil.copytree(kept, tmp_path / "runs"))


def change_config(out, **changes):
    path = out / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def listed(capsys, *words):
    assert main(["runs", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


# --- lists -----------------------------------------------------------------------------------------------------------


def test_runs_are_listed_with_their_headline_the_newest_first(kept, capsys):
    found = listed(capsys, kept)["runs"]
    assert [row["path"] for row in found] == [str(kept / name) for name in ("others/c", "powers/b", "powers/a")]
    second = found[1]
    assert second["headline"] == {"column": "value", "least": 8.0, "largest": 1331.0}
    assert second["changed"] == {"bases": [2, 3, 7, 11], "power": 3.0} and found[2]["changed"] == {}
    assert second["study"] == "powers" and second["state"] == "finished" and second["cells"] == second["finished"] == 4
    assert main(["runs", str(kept)]) == 0
    printed = capsys.readouterr().out
    for words in ("value 8 to 1331", "value 4 to 25", "bases 2,3,7,11, power 3.0", "defaults", "finished"):
        assert words in printed, words


def test_runs_are_chosen_and_sorted(kept, capsys, monkeypatch):
    monkeypatch.chdir(kept.parent)
    paths = lambda *words: [row["path"].removeprefix("runs/") for row in listed(capsys, *words)["runs"]]  # noqa: E731
    assert paths() == ["others/c", "powers/b", "powers/a"]
    assert paths("runs/powers", "--sort", "path") == ["powers/a", "powers/b"]
    assert paths("--sort", "headline") == ["powers/b", "others/c", "powers/a"]
    assert paths("--sort", "study") == ["others/c", "powers/b", "powers/a"]
    assert paths("runs/others", "runs/powers/a") == ["others/c", "powers/a"]
    assert paths("--study", "hessian") == []
    assert (
        main(["runs", "--study", "hessian"]) == 0
        and capsys.readouterr().out == "No runs of hessian in runs or below.\n"
    )
    monkeypatch.chdir(kept)
    assert main(["runs"]) == 0 and capsys.readouterr().out == "No runs in runs or below.\n"


def test_states_of_unfinished_runs(runs, capsys):
    (runs / "powers" / "a" / "cells" / "b3" / "result.json").unlink()
    state = lambda: {row["path"]: row["state"] for row in listed(capsys, runs)["runs"]}[str(runs / "powers" / "a")]  # noqa: E731
    assert state() == "interrupted: 2 of 3 cells"
    with open(runs / "powers" / "a" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert state() == "running: 2 of 3 cells"
    assert state() == "interrupted: 2 of 3 cells"  # a lock that a killed process left is none
    for folder in (runs / "powers" / "a" / "cells").iterdir():
        (folder / "result.json").unlink(missing_ok=True)
    (runs / "powers" / "a" / "summary.json").unlink()
    assert next(row for row in list_runs([runs]).rows if row["path"].endswith("a"))["headline"] is None
    assert main(["runs", str(runs)]) == 0 and "interrupted: 0 of 3 cells" in capsys.readouterr().out


def test_a_run_without_its_summary_is_listed_by_its_cells(runs, capsys):
    whole, folder = load_run(runs / "powers" / "a").rows, runs / "powers" / "a"
    (folder / "summary.json").unlink()
    assert load_run(folder).rows == whole and len(whole) == 3
    assert main(["runs", str(folder)]) == 0 and "value 4 to 25" in capsys.readouterr().out
    (folder / "cells" / "b3" / "result.json").write_text("junk")
    (other,) = listed(capsys, folder)["others"]
    assert other["reason"] == "it has no summary.json, and its cells' rows are damaged"


def test_a_run_that_links_lead_to_is_listed_once_and_a_damaged_time_harms_no_other(runs, capsys):
    (runs / "latest").symlink_to(runs / "powers" / "a")
    (runs / "again").symlink_to(runs)
    change_config(runs / "others" / "c", began="9999-12-31T23:59:59-12:00")
    found = listed(capsys, runs, runs / "powers")
    assert sorted(row["path"] for row in found["runs"]) == [
        str(runs / at) for at in ("others/c", "powers/a", "powers/b")
    ]


def test_infinite_numbers_are_none_for_headlines_and_comparisons(runs, capsys):
    path = runs / "powers" / "b" / "summary.json"
    path.write_text(re.sub(r'"value": [0-9.]+', '"value": Infinity', path.read_text()))
    assert {row["path"]: row["headline"] for row in listed(capsys, runs)["runs"]}[str(path.parent)] is None
    assert main(["compare", *map(str, (runs / "powers" / "a", path.parent)), "--out", str(runs / "sides")]) == 0


def test_damaged_and_foreign_folders_are_a_line_each(runs, capsys):
    (runs / "powers" / "a" / "config.json").write_text("junk")
    (runs / "powers" / "b" / "summary.json").write_text('[{"base": 1}, 3]')
    (runs / "ibm").mkdir()
    (runs / "ibm" / "job.json").write_text("{}")
    (runs / "empty").mkdir()
    (runs / ".hidden").mkdir()
    (runs / "compare").mkdir()
    (runs / "compare" / "compare.html").write_text("")
    # A benchmark, which is no study, and one that is running.
    for name, files in (("measured", ("settings.json", "bench.json")), ("measuring", ("settings.json",))):
        (runs / "bench" / name / "cells").mkdir(parents=True)
        for file in (*files, "cells/00000.json"):
            (runs / "bench" / name / file).write_text("{}")
    found = listed(capsys, runs)
    assert [row["study"] for row in found["runs"]] == ["others"]
    reasons = {Path(other["path"]).relative_to(runs).as_posix(): other["reason"] for other in found["others"]}
    assert reasons.keys() == {"powers/a", "powers/b", "ibm"}
    assert reasons["powers/a"].startswith("config.json: it is damaged") and "holds no rows" in reasons["powers/b"]
    for number in range(5):
        (runs / f"foreign{number}").mkdir()
        (runs / f"foreign{number}" / "x").write_text("")
    assert main(["runs", str(runs)]) == 0
    printed = capsys.readouterr().out
    assert f"passed over {runs / 'foreign0'}: config.json: there is none" in printed
    assert printed.count("passed over") == 6 and printed.endswith("passed over 3 more; --json names them\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere",), "Argument DIR... must name folders, but nowhere is none."),
        (("--sort", "begn"), "Option --sort must be one of .* but is 'begn' (did you mean 'began'?)."),
        (("--study", "hesian"), "Option --study must be one of .* but is 'hesian' (did you mean 'hessian'?)."),
    ],
)
def test_bad_lists_are_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["runs", *words]) == 2
    errors = capsys.readouterr().err
    assert re.fullmatch(re.escape(f"error: {message}\n").replace(r"\.\*", ".*"), errors), errors


# --- side by side ----------------------------------------------------------------------------------------------------


def compare(*folders):
    return side_by_side([load_run(folder) for folder in folders])


def test_rows_are_matched_with_differences_and_ratios(kept):
    found = compare(kept / "powers" / "a", kept / "powers" / "b")
    assert (found.keys, found.headline) == (("base",), "value")
    assert found.short == [
        {"base": 2, "A": 4.0, "B": 8.0, "B - A": 4.0, "B / A": 2.0},
        {"base": 3, "A": 9.0, "B": 27.0, "B - A": 18.0, "B / A": 3.0},
        {"base": 5, "A": 25.0, "B": None, "B - A": None, "B / A": None},
        {"base": 7, "A": None, "B": 343.0, "B - A": None, "B / A": None},
        {"base": 11, "A": None, "B": 1331.0, "B - A": None, "B / A": None},
    ]
    assert [row["base"] for row in found.shared] == [2, 3]
    assert {row["setting"]: (row["A"], row["B"]) for row in found.settings} == {
        "bases": ((2, 3, 5), (2, 3, 7, 11)), "power": (2.0, 3.0)
    }  # fmt: skip
    assert found.versions == [] and [row["changed"] for row in found.overview] == [
        "defaults",
        "bases 2,3,7,11, power 3.0",
    ]


def test_a_run_and_its_copy_do_not_differ(runs):
    shutil.copytree(runs / "powers" / "a", runs / "copy")
    found = compare(runs / "powers" / "a", runs / "copy")
    assert found.settings == found.versions == []
    assert {(row["B - A"], row["B / A"]) for row in found.results} == {(0, 1)}


def test_three_runs_are_compared_with_the_first(runs):
    run_study(made_up(), Settings(power=0.5), runs / "roots")
    found = compare(runs / "powers" / "b", runs / "powers" / "a", runs / "roots")
    row = next(row for row in found.short if row["base"] == 2)
    assert row == {
        "base": 2, "A": 8.0, "B": 4.0, "C": 2**0.5, "B - A": -4.0, "B / A": 0.5, "C - A": 2**0.5 - 8,
        "C / A": 2**0.5 / 8,
    }  # fmt: skip


def rows_of(**columns):
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


@pytest.mark.parametrize(
    ("first", "second", "keys", "matched"),
    [
        # A setting that is one everywhere in each run is what they are compared across.
        (rows_of(p=[1, 1], s=[1, 2], y=[3, 4]), rows_of(p=[4, 4], s=[1, 2], y=[5, 6]), ("s",), 2),
        (rows_of(p=[1], s=[1], y=[3]), rows_of(p=[4], s=[2], y=[5]), (), 1),
        # Where one run has several values it tells rows apart.
        (rows_of(p=[1, 4], s=[1, 1], y=[3, 4]), rows_of(p=[4], s=[2], y=[5]), ("p",), 1),
        (rows_of(p=[1, 1, 4], s=[1, 2, 1], y=[3, 4, 5]), rows_of(p=[1, 4], s=[2, 1], y=[6, 7]), ("p", "s"), 2),
        # Of two that would do alone the more important one is kept.
        (rows_of(p=[1, 2], s=[5, 6], y=[3, 4]), rows_of(p=[1, 2], s=[7, 8], y=[5, 6]), ("p",), 2),
        # Rows that no key tells apart are matched in order.
        (rows_of(p=[1, 1], s=[1, 1], y=[3, 4]), rows_of(p=[1, 1], s=[1, 1], y=[5, 6]), (), 2),
        (rows_of(p=[[1, 2], [1, 3]], y=[3, 4]), rows_of(p=[[1, 3], [1, 4]], y=[5, 6]), ("p",), 1),
    ],
)
def test_the_fewest_keys_tell_rows_apart(kept, known, first, second, keys, matched):
    tables = iter((first, second))
    known["powers"] = replace(
        made_up(), keys=("p", "s"), headline=("y",), page=lambda settings, rows: [ReportTable("", next(tables))]
    )
    found = compare(kept / "powers" / "a", kept / "powers" / "b")
    assert found.keys == keys and sum(row["B - A"] is not None for row in found.short) == matched


def test_a_default_place_that_cannot_be_written_is_told_before_the_work(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (runs / "compare").write_text("a file")
    assert main(["compare", "runs/powers/a", "runs/powers/b"]) == 2
    assert "error: Option --out must name a folder that can be written, but runs/compare/" in capsys.readouterr().err


def test_the_command_prints_draws_and_links(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["compare", "runs/powers/a", "runs/powers/b"]
    assert main([*words, "--out", "both"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^ +3 +9\.000 +27\.00 +18\.00 +3\.000", printed, re.MULTILINE) and "2026-05-02" in printed
    assert "Settings that differ\n" in printed and "Versions that differ: none" in printed
    assert printed.endswith(f"all numbers, figure and links in {Path('both') / 'compare.html'}\n")
    page = Path("both", "compare.html").read_text()
    for link, run in (("../runs/powers/a/report.html", "A"), ("../runs/powers/b/report.html", "B")):
        assert f'<a href="{link}">Run {run}</a>' in page and Path("both", link).is_file()
    for text in (
        "Results are of the column value: its power.",
        "Settings that differ",
        "qjaxsim compare runs/powers/a",
    ):
        assert text in page, text
    assert page.count("data:image/") == 1 and page.count('class="panels"') == 1 and "<script src" not in page
    picture = imread(Path("both", "compare.png"))[..., :3]
    assert picture.shape[1] > 600 and 0.005 < (picture < 0.99).any(axis=-1).mean() < 0.5
    assert main([*words, "--json"]) == 0
    kept = json.loads(capsys.readouterr().out)
    assert kept["headline"] == "value" and kept["keys"] == ["base"] and len(kept["results"]) == 5
    assert re.fullmatch(r"runs/compare/\d{8}-\d{6}/compare\.html", kept["page"])
    # Comparisons are no runs, and nothing that is passed over.
    assert listed(capsys)["others"] == []


def test_many_configurations_are_drawn_where_runs_differ_most(tmp_path, monkeypatch):
    monkeypatch.setattr(side_by_side_figure, "_LINES", 2)
    for name, power in (("a", 1.0), ("b", 2.0)):
        run_study(made_up(), Settings(bases=(1, 2, 9, 3), power=power), tmp_path / name)
    found = compare(tmp_path / "a", tmp_path / "b")
    (figure,) = side_by_side_figure.write_figure(found, tmp_path / "x.png")
    assert "Of 4 configurations the 2 whose runs differ most" in figure.caption
    chosen = side_by_side_figure._largest_changes(found.short, ["A", "B"])
    assert [row["base"] for row in chosen] == [9, 3]


def test_runs_without_headline_numbers_have_no_figure(kept, known, tmp_path, capsys):
    known["powers"] = replace(made_up(), headline=("missing",))
    folders = [str(kept / "powers" / name) for name in "ab"]
    assert main(["compare", *folders, "--out", str(tmp_path / "out")]) == 0
    assert "No run has numbers in a headline column." in (tmp_path / "out" / "compare.html").read_text()
    assert not (tmp_path / "out" / "compare.png").exists() and "Column" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("powers/a",), "Argument DIR... must name 2 to 7 results folders, but names 1."),
        (["powers/a"] * 8, "Argument DIR... must name 2 to 7 results folders, but names 8."),
        (
            ("powers/a", "powers/../powers/a"),
            "Argument DIR... must name each results folder once, but names one twice.",
        ),
        (
            ("powers/a", "others/c"),
            "Argument DIR... must name results of one study, but names powers and others, whose numbers are different "
            "things.",
        ),
        (
            ("powers/a", "powers"),
            "Argument DIR... must be a results folder of a study, but powers holds none (config.json: there is none).",
        ),
    ],
)
def test_bad_comparisons_are_one_line(folders, message, kept, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(kept)
    assert main(["compare", *folders, "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == f"error: {message}\n" and not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("")
    assert main(["compare", "powers/a", "powers/b", "--out", str(tmp_path / "file")]) == 2
    assert "Option --out must name a folder that can be written" in capsys.readouterr().err
