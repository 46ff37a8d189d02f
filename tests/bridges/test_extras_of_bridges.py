"""What bridges say where their package is not installed."""

import sys

import pytest

import qjaxsim as qj
from qjaxsim.common.extras import MissingExtraError


@pytest.mark.parametrize(
    ("package", "use", "message"),
    [
        ("torch", lambda: qj.to_torch(qj.Circuit(1), qj.Z(0)), "A PyTorch module needs the package torch"),
        ("pennylane", lambda: qj.from_pennylane(None), "PennyLane's circuits need the package pennylane"),
    ],
)
def test_a_missing_package_is_named_with_the_extra_that_brings_it(monkeypatch, package, use, message):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError) as caught:
        use()
    assert str(caught.value) == f'{message}; install it with: pip install -e ".[{package}]" in a clone of qjaxsim.'
    assert caught.value.name == package
