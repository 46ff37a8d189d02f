"""Where caches are kept."""

import sys
from pathlib import Path

import pytest

from qjaxsim.common import cache


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("linux", "XDG_CACHE_HOME", "{place}/qjaxsim"),
        ("darwin", None, "{home}/Library/Caches/qjaxsim"),
        ("win32", "LOCALAPPDATA", "{place}/qjaxsim"),
    ],
)
def test_cache_folder_of_each_system(tmp_path, monkeypatch, platform, variable, expected):
    monkeypatch.delenv("QJAXSIM_CACHE", raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    if variable:
        monkeypatch.setenv(variable, str(tmp_path))
    assert str(cache.cache_folder()) == expected.format(place=tmp_path, home=Path.home())
