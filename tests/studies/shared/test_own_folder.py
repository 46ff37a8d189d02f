"""Default folders of runs that begin in the same second."""

import json
from pathlib import Path

import pytest

from qjaxsim.command.app import run
from qjaxsim.common import interrupts
from qjaxsim.studies.shared import options, sweep

QUICK = ["study", "lie-variance", "--qubits", "3", "--depths", "1,2", "--circuits", "full", "--draws", "100"]


@pytest.fixture(autouse=True)
def one_second(tmp_path, monkeypatch):
    """All of a test is in one second."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweep, "default_folder", lambda study, *others: Path("runs") / study / "20260203-040506")


def test_runs_of_one_second_have_folders_of_their_own():
    options.remember(["study", "powers"])
    with options.own_folder("powers") as first, options.own_folder("powers") as second:
        with options.results_folder("powers", None, resume=False) as third:
            way_on = "qjaxsim study powers --out runs/powers/20260203-040506-3"
            assert interrupts.message() == f"interrupted; go on with: {way_on}"
        third.mkdir()
        names = ["20260203-040506", "20260203-040506-2", "20260203-040506-3"]
        assert [folder.name for folder in (first, second, third)] == names
        (second / "kept").touch()
        assert all(folder.is_dir() for folder in (first, second))
    interrupts.go_on_with(None)
    assert sorted(path.name for path in Path("runs/powers").iterdir()) == names[1:]


def test_an_interrupt_and_an_error_leave_no_empty_folder(tmp_path):
    with options.own_folder("powers"):
        interrupts.cleanups[-1]()
        assert not Path("runs").exists()
    with pytest.raises(ValueError, match="refused"), options.own_folder("powers"):
        raise ValueError("refused")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("at", ["runs", "runs/powers"])
def test_a_file_in_the_way_is_left_to_those_who_write(at):
    Path(at).parent.mkdir(exist_ok=True)
    Path(at).symlink_to("nowhere")
    with options.own_folder("powers") as folder:
        assert folder == Path("runs/powers/20260203-040506") and not folder.exists()


def test_two_studies_keep_their_results_apart(capsys):
    assert run(["--json", *QUICK]) == run(["--json", *QUICK]) == 0
    folders = sorted(Path("runs/lie-variance").iterdir())
    assert [folder.name for folder in folders] == ["20260203-040506", "20260203-040506-2"]
    for folder in folders:
        assert json.loads((folder / "config.json").read_text())["study"] == "lie-variance"
    # What is refused leaves nothing.
    assert run([*QUICK[:2], "--qubits", "40"]) == 2
    assert len(list(Path("runs/lie-variance").iterdir())) == 2, capsys.readouterr()
