"""A state that is cut over eight devices: as on one, with the exchanges of the plan and nothing gathered."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cases import free_port
from tests.devices.reporting import FOUND, reported

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=FOUND)
def found(request):
    """What one process with eight devices reports, by what was asked."""
    table = {}
    for name, way, value in reported("-m", "tests.devices.state_program", request.param):
        table.setdefault(name, {})[way] = value
    return table


@pytest.mark.parametrize("name", ["value", "gradient", "hvp"])
def test_random_circuits_and_observables_of_every_kind_are_those_of_one_device(found, name):
    rows = found[name]
    assert len(rows) in (1, 60)
    assert {seed: value for seed, value in rows.items() if not value < 1e-11} == {}
    assert name != "value" or max(rows.values()) < 1e-12


@pytest.mark.parametrize("name", ["statevector", "probabilities of some", "probabilities", "variance"])
def test_what_is_read_of_pieces_is_what_is_read_of_the_state(found, name):
    assert found[name]["value"] < 1e-12
    assert found[name].get("gradient", 0) < 1e-11


def test_pieces_may_have_fewer_qubits_than_the_number_has_bits(found):
    assert len(found["few local"]) == 4 and max(found["few local"].values()) < 1e-12


@pytest.mark.parametrize("name", ["values", "chances", "spread"])
def test_parameters_of_32_bits_give_results_of_32_bits(found, name):
    error, dtype = found["single"][name]
    assert dtype == "float32" and error < 2e-6


def test_large_results_stay_on_the_devices_that_have_them(found):
    assert found["statevector"]["spread"] == "P(None, ('node', 'gpu'))"
    assert found["probabilities of many"]["value"] < 1e-15
    assert found["probabilities of many"]["spread"] == "P(('node', 'gpu'),)"


def test_outcomes_are_drawn_as_on_one_device_without_gathering_their_probabilities(found):
    assert [found[name]["value"] for name in ("sample of some", "sample", "sample of many")] == [0, 0, 0]
    assert found["sample of many"]["kinds"]["all-gather"] == 0


@pytest.mark.parametrize("name", ["hessian", "jax.hessian"])
def test_second_derivatives_through_both_ways_back_and_through_loops(found, name):
    assert found[name].keys() >= {"adjoint"} and max(found[name].values()) < 1e-12


def test_a_program_exchanges_as_often_as_its_plan_says_and_gathers_nothing(found):
    for bits, (exchanges, forward, back) in found["programs"].items():
        sums = 1 if bits else 0
        nothing = {"all-gather": 0, "collective-permute": 0, "reduce-scatter": 0}
        assert forward == {"all-to-all": exchanges, "all-reduce": sums, **nothing}
        # The adjoint sweep takes the state and its cotangent back through each.
        assert back == {"all-to-all": 3 * exchanges, "all-reduce": sums, **nothing}
    counts = {bits: exchanges for bits, (exchanges, *_) in found["programs"].items()}
    assert counts[0] == 0 < counts[3]


def test_scratch_memory_of_a_device_falls_with_their_number(found):
    sizes = found["memory"]  # the matrices of blocks do not shrink
    assert sizes[3] < 0.3 * sizes[0], sizes


def test_what_is_read_wrongly_is_so_on_devices_too(found):
    assert found["readout errors"]["value"] < 1e-14 and found["readout errors of values"]["value"] < 1e-14


def test_an_axis_named_so_cuts_what_can_be_cut_without_an_option(found):
    assert found["named"]["value"] < 1e-14 and found["named"]["hessian"] < 1e-13
    assert found["named"]["kinds"] > 0 == found["named"]["left"]


@pytest.mark.parametrize("name", ["batch and state", "batch"])
def test_a_batch_over_an_axis_of_its_own_stays_there(found, name):
    assert found[name]["value"] < 1e-14 and found[name]["gradient"] < 1e-14
    assert found[name]["spread"] == "P('c',)"
    assert found[name]["kinds"]["all-gather"] == 0


@pytest.mark.slow
def test_two_processes_hold_one_state():
    port = str(free_port())
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1"}
    command = [sys.executable, "-m", "tests.devices.state_processes", port]
    both = [
        subprocess.Popen([*command, process], env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for process in ("0", "1")
    ]
    for process in both:
        devices, own, apart = process.communicate(timeout=300)[0].split()[-3:]
        # Value, gradient and Hessian-vector product.
        assert (int(devices), int(own)) == (4, 2) and float(apart) < 1e-12


REFUSED = {
    "no mesh": "Option `state_axes` names ['a'], but no mesh is set; call the function inside",
    "other axis": "names ['z'], but the mesh has the axes ('a', 'b', 'c'); call the function inside",
    "too many": "cuts the state over 8 devices, but 3 qubits have only 8 amplitudes; use fewer devices or none.",
    "wide gate": "leaves 1 qubit to each device, but a gate on the qubits [0, 1] mixes 2; use fewer devices.",
    "wide term": "leaves 3 qubits to each device, but a term of `observables` has X or Y on 4; use fewer devices.",
    "wide operator": "leaves 4 qubits to each device, but an operator in `observables` acts on 5; use fewer devices,",
    "initial": "needs a circuit that begins in |0...0>, but an initial state is given; prepare it by gates.",
    "noisy": "needs a circuit of gates and projections, but this one has channels, measurements, resets, "
    "conditions or an initial state; leave the option out.",
    "unitary": "Option `state_axes` is not for `unitary`, which reads whole states; leave the option out.",
    "density_matrix": "is not for `density_matrix`, which reads whole states; leave the option out.",
    "shots": "Option `state_axes` is not for `expectation` with `shots`",
    "batch": "Option `batch_axis` needs a batch that 'a', of size 2, divides, but the batch is 3.",
    "manual": "needs mesh axes of type Auto, but has {'a': 'Manual'}; make the mesh with",
    "explicit": "needs mesh axes of type Auto, but has {'a': 'Explicit'}; make the mesh with",
    "six": "needs mesh axes whose size is a power of two, but has {'a': 6}.",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_in_a_sentence(found, name):
    assert REFUSED[name] in found["refused"][name]
