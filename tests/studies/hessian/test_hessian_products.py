"""The study `hessian` without matrices, killed among its products."""

import pytest

from qjaxsim.command import main as cli
from qjaxsim.curvature.kept_products import ProductLog
from tests.studies.hessian.test_hessian_study import ONE_PATCH, summary


@pytest.mark.slow
@pytest.mark.parametrize("name", ["products", "class_products", "largest"])
def test_killed_among_products_goes_on_with_the_next(tmp_path, monkeypatch, name, capsys):
    words = [*ONE_PATCH, "--spectrum", "lanczos", "--top", "4", "--landscape", "none"]
    words += ["--curvature-images", "40", "--lambda-images", "60"]
    found, append, stop_at = [], ProductLog._append, 7

    def kept(log, *product):
        found.append(log.path.name)
        if found.count(f"{name}_so_far.bin") == stop_at:
            raise KeyboardInterrupt
        append(log, *product)

    with monkeypatch.context() as patch:
        patch.setattr(ProductLog, "_append", kept)
        assert cli.main([*words, "--out", str(tmp_path / "run")]) == 130
        kept_before, stop_at = found[:-1], None
        found.clear()
        assert cli.main([*words, "--out", str(tmp_path / "run"), "--resume"]) == 0, capsys.readouterr().err
        both = kept_before + found
        found.clear()
        assert cli.main([*words, "--out", str(tmp_path / "whole")]) == 0, capsys.readouterr().err
    assert both == found  # none twice
    assert summary(tmp_path / "run") == summary(tmp_path / "whole")
