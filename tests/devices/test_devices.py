"""Every public function on several devices: as on one, or refused in one sentence; and no work done twice."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from qjaxsim.running.varying import rest
from tests.devices.reporting import FOUND, reported

KINDS = ("all-gather", "all-reduce", "all-to-all", "collective-permute", "reduce-scatter")
NO_COLLECTIVE = dict.fromkeys(KINDS, 0)
ONE_SUM = NO_COLLECTIVE | {"all-reduce": 1}
HOST_DECIDES = {
    "class_decomposition": "must be known, since",
    **dict.fromkeys(
        ("top_eigenpairs", "power_iteration", "spectral_density", "trace_estimate"),
        "Argument `operator` must have images that are known, which decide how many products are taken, but they are "
        "traced by JAX (in jit, grad, vmap or shard_map); call this function outside",
    ),
}


@pytest.fixture(scope="module", params=FOUND)
def cases(request):
    """A function of each kind, or every one."""
    return request.param


@pytest.fixture(scope="module")
def found(cases, tmp_path_factory):
    """What one process with eight devices reports, by function and way: a difference from one device, or an error."""
    lines = reported(str(Path(__file__).with_name("program.py")), cases, str(tmp_path_factory.mktemp("sums")))
    return {(name, way): value for name, way, value in lines}


def of_way(found, way):
    rows = {name: value for (name, each), value in found.items() if each == way}
    assert rows
    return rows


@pytest.mark.parametrize("way", ["vmap", "checked", "unchecked"])
def test_functions_that_are_mapped_give_what_one_call_gives_or_refuse(found, way, cases):
    rows = of_way(found, way)
    assert len(rows) == {"few": 7, "all": 30}[cases]
    refused = {name: value for name, value in rows.items() if name in HOST_DECIDES}
    assert refused and all(HOST_DECIDES[name] in str(value) for name, value in refused.items()), refused
    assert {name: value for name, value in rows.items() if name not in refused and not is_rounding(value)} == {}


def test_samples_spread_over_an_automatic_mesh_give_what_one_device_gives(found):
    assert {name: value for name, value in of_way(found, "auto").items() if not is_rounding(value)} == {}


def test_samples_spread_over_an_explicit_mesh_are_refused_with_the_way_out(found):
    for name, value in of_way(found, "explicit").items():
        assert "must not be sharded over mesh axes of type Explicit, but is by" in str(value), (name, value)
        assert "make the mesh with `axis_types=(jax.sharding.AxisType.Auto,)`" in value, (name, value)


def test_no_device_gathers_what_others_hold_or_does_their_work(found):
    programs = of_way(found, "program")
    sums = {name: counts for name, counts in programs.items() if name in ("hessian", "hvp", "gradient")}
    assert sums and all(counts == ONE_SUM for counts in sums.values()), sums
    # A chunk of a split Hessian has no collective: the one sum comes in the end.
    assert {name: counts for name, counts in programs.items() if name not in sums and counts != NO_COLLECTIVE} == {}
    assert {"expectation", "sample", "sample of a wider circuit", "split_hessian"} <= programs.keys()
    assert all(of_way(found, "rows").values())


def test_wider_circuits_and_parameters_in_pieces(found):
    assert is_rounding(found["gradient", "auto"])
    assert is_rounding(found["split_hessian", "pieces"]) and is_rounding(found["split_hessian", "pieces and samples"])
    assert found["split_hessian", "progress"] == [[16, 24], [24, 24]]


def test_a_hessian_on_each_device_is_the_sum_over_devices_as_that_of_jax(found):
    assert is_rounding(found["hessian", "as JAX's"])


@pytest.mark.parametrize("name", ["hessian", "hvp", "hessian_operator"])
def test_a_sum_over_devices_is_not_differentiated_where_jax_checks_nothing(found, name):
    assert "Argument `f` must not sum over devices where `jax.shard_map` has `check_vma=False`" in str(
        found[name, "sum unchecked"]
    )


def test_functions_may_read_arrays_on_the_mesh(found):
    assert is_rounding(found["split_hessian", "reads"]) and is_rounding(found["hessian_product", "reads"])
    assert is_rounding(found["hessian_product", "calls"])


def test_a_spread_split_goes_on_from_its_checkpoint_and_on_no_other_number_of_devices(found):
    assert found["split_hessian", "resumed"] == 0
    assert "was made with other x, y, devices (8, now None)" in found["split_hessian", "one device"]


def test_second_order_over_samples_and_columns_gives_what_one_device_gives(found, cases):
    rows = of_way(found, "columns")
    ways = {"pushed", "stages", "alone", "resumed", "matrix_operator", "spectral_density", "dense_spectrum", "hessian"}
    assert rows.keys() == ways | ({"parts", "top_eigenpairs"} if cases == "all" else set())
    assert {name: value for name, value in rows.items() if not is_rounding(value)} == {}
    assert all(of_way(found, "symmetric, zero beyond").values())


def test_each_device_keeps_one_block(found):
    # 11 parameters are filled up to 16 on 2 x 4 devices, to 12 on the 4 that share rows of `hessian`.
    blocks = of_way(found, "blocks")
    assert blocks.pop("rows") == [["P('c',)", [3, 12]]]
    assert blocks.pop("alone") == [["P(('c', 'd'),)", [2, 16]]] * 3
    assert blocks and all(value == [["P('c', 'd')", [4, 8]]] * 3 for value in blocks.values())


def test_columns_take_one_gathering_of_the_jacobian_a_chunk_and_one_sum_in_the_end(found):
    for name in ("pushed", "stages"):
        (add, _), (end, _) = (found[name, f"program of {each}"] for each in ("add", "end"))
        assert add == NO_COLLECTIVE | {"all-gather": 1}
        # Of G and R each one sum, which leaves blocks, and two exchanges around their transposes; the gradient's sum.
        # Parts also gather their blocks of R and their gradients.
        gathered = 0 if name == "pushed" else 2
        assert end == NO_COLLECTIVE | {"reduce-scatter": 2, "all-to-all": 4, "all-reduce": 1, "all-gather": gathered}
    assert found["alone", "program of end"][0] == NO_COLLECTIVE | {"all-to-all": 2}
    rows = found["rows", "program of own"][0]  # sums over the samples, which stay where they are, with each few rows
    assert rows["all-reduce"] and rows | {"all-reduce": 0} == NO_COLLECTIVE | {"all-to-all": 1}
    assert found["matrix_operator", "gathered"] == ["1,16"]  # the image, not the matrix


def test_what_a_device_carries_falls_with_the_number_of_columns(found):
    carried = {name: found[name, "program of add"][1] for name in ("few", "pushed", "alone")}
    # Two sums of 16 rows, of 11 and of 16 doubles, by 2, 4 and 8 devices; the gradient, and pointers to the arrays.
    for name, devices in {"few": 2, "pushed": 4, "alone": 8}.items():
        assert 0 <= carried[name] - 8 * 16 * (11 + 16) // devices <= 8 * 11 + 64, carried


def test_matrices_of_samples_are_filled_by_a_ring(found, cases):
    pairs = of_way(found, "rows of pairs")
    assert len(pairs) == (4 if cases == "all" else 1)
    # 24 samples of two outputs on eight devices.
    assert all(is_rounding(value) and rows == (6 if "dual" in name else 3) for name, (value, rows) in pairs.items())
    ring = found["gauss_newton_dual", "program of rows"]
    assert ring["all-gather"] == ring["all-reduce"] == 0 and ring["collective-permute"] and ring["all-to-all"] == 1


def test_light_cones_of_spread_samples(found, cases):
    assert cases == "few" or is_rounding(found["cones", "auto"])


FREE = "Argument `columns` must name axes of the mesh that no samples are spread over, ('c',), each once, but is "


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "no mesh",
            "Argument `columns` must name axes of a mesh, but is 'c' and there is none; spread the samples over",
        ),
        ("no axis", f"{FREE}('c', 'e')."),
        ("axis of samples", f"{FREE}'d'."),
        ("twice", f"{FREE}['c', 'c']."),
        ("no name", f"{FREE}2."),
        ("traced", "Argument `columns` needs parameters and samples that are known, but they are traced by JAX"),
        (
            "explicit mesh",
            "Argument `columns` must name axes of an automatic mesh, but its axes are of type (Expl",
        ),
        (
            "dense_spectrum",
            "(`top_eigenpairs`, `spectral_density`), or `jaxmg.syevd` of the package JAXMg, which",
        ),
    ],
)
def test_columns_and_blocks_that_cannot_be_are_refused_in_a_sentence(found, name, message):
    assert message in found[name, "refused"]


def test_columns_stay_apart_where_xla_may_have_spread_them(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 8)
    one, three = jnp.zeros((2, 8, 1)), jnp.zeros((2, 8, 3))
    assert rest(one) == (-1,) and rest(three) == (-1, 3)
    mesh = jax.make_mesh((1,), ("d",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:1])
    seen = []
    whole = jax.sharding.PartitionSpec()
    jax.shard_map(lambda a: [seen.append(rest(a)), a][1], mesh=mesh, in_specs=whole, out_specs=whole)(three)
    assert set(seen) == {(-1,)}
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    assert rest(three) == (-1,)


def is_rounding(value):
    return isinstance(value, float) and value < 1e-12
