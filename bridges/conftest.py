"""Modules of bridges whose package is not installed are not collected for their doctests."""

from importlib.util import find_spec

collect_ignore = [
    name
    for name, package in (("qjaxsim_torch", "torch"), ("qjaxsim_pennylane", "pennylane"))
    if find_spec(package) is None
]
