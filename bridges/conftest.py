"""Modules of bridges whose package is not installed are not collected for their doctests."""

from importlib.util import find_spec

_NEEDS = {"qjaxsim_torch": "torch", "qjaxsim_pennylane": "pennylane"}
collect_ignore_glob = [f"{bridge}/*" for bridge, package in _NEEDS.items() if find_spec(package) is None]
