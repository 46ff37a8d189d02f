"""What the tests of data sets share."""

import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """One cache for the whole run, away from the user's."""
    folder = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("QJAXSIM_CACHE", str(folder))
    return folder
