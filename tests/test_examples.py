"""Every public function, method and class has an example in its docstring; pytest runs them as doctests."""

import importlib
import inspect

import pytest

import qjaxsim as qj

MODULES = ("qjaxsim", "qjaxsim.curvature", "qjaxsim.geometry", "qjaxsim.annealing", "qjaxsim_qiskit", "qjaxsim_dimod")


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_has_an_example(name):
    module = importlib.import_module(name)
    public = [getattr(module, each) for each in module.__all__]
    documented = [each for each in public if inspect.isroutine(each) or inspect.isclass(each)]
    assert len(documented) >= 8
    assert [each.__name__ for each in documented if not shows_an_example(each)] == []


def test_every_method_of_a_circuit_has_an_example():
    methods = {name: each for name, each in vars(qj.Circuit).items() if not name.startswith("_")}
    assert len(methods) >= 60
    assert [name for name, each in methods.items() if not shows_an_example(each)] == []


def shows_an_example(documented):
    text = documented.__doc__ or ""
    return ">>> " in text and "+SKIP" not in text
