"""What the tests of training share."""

import pytest

from tests.training_problem import run


@pytest.fixture(scope="session")
def uninterrupted():
    """The whole run of the small problem; nothing changes it."""
    return run()
