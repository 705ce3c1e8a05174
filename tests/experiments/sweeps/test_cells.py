"""Configurations and their cells: named by what they are, exact, and recognised when they are not whole."""

import json
import pickle
import zipfile

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from saddlescope.experiments.sweeps.cell import DamagedCell, load_cell, save_cell
from saddlescope.experiments.sweeps.configuration import Configuration, from_canonical, product
from saddlescope.experiments.sweeps.work import run_or_load

PROVENANCE = {"versions": {"jax": "0"}, "commit": "abc"}
VALUES = st.one_of(st.integers(-9, 9), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.text())


@given(st.dictionaries(st.sampled_from("abcdef"), VALUES), st.integers(-5, 5), st.integers(1, 5))
def test_a_configuration_is_named_by_what_it_is(parameters, first, count):
    seeds = range(first, first + count)
    one = Configuration(experiment="e", seeds=seeds, parameters=parameters)
    backwards = Configuration(experiment="e", seeds=seeds, parameters=dict(reversed(parameters.items())))
    read = from_canonical(json.loads(json.dumps(one.canonical)))
    assert one.identifier == backwards.identifier == read.identifier and read.parameters == parameters
    others = [
        Configuration(experiment="f", seeds=seeds, parameters=parameters),
        Configuration(experiment="e", seeds=range(first, first + count + 1), parameters=parameters),
        Configuration(experiment="e", seeds=seeds, parameters={**parameters, "g": 1}),
    ]
    assert one.identifier not in {other.identifier for other in others}


def test_numbers_that_are_equal_name_the_same_configuration():
    one, other = (Configuration(experiment="e", seeds=range(1), parameters={"x": x}) for x in (1, 1.0))
    assert one.identifier == other.identifier
    assert one.identifier != Configuration(experiment="e", seeds=range(1), parameters={"x": True}).identifier


def test_a_product_takes_one_value_from_each_axis():
    found = product("mine", seeds=range(3, 10), block=4, x=[1, 2], y=np.array([0.5, 0.25, 0.5]))
    assert len(found) == 2 * 2 * 2 == len({each.identifier for each in found})
    assert [each.seeds for each in found[:2]] == [range(3, 7), range(7, 10)]
    assert str(found[0]) == "mine, x = 1, y = 0.5, seeds 3–6"


def test_a_named_experiment_has_all_of_its_settings():
    (one,) = product("relu", width=50)
    (other,) = product("relu", t1=40, scale=1e-6)
    assert one.identifier == other.identifier and dict(one.parameters) == {"width": 50, "scale": 1e-6, "t1": 40.0}
    # Programs depend on shapes, not on the scale.
    assert len({each.shape for each in product("relu", scale=[1e-3, 1e-2], seeds=4, block=2)}) == 1
    assert len({each.shape for each in product("relu", width=[3, 4])}) == 2


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"width": 0}, "width must be at least 1"),
        ({"width": 1.5}, "width must be an integer"),
        ({"depth": 3}, "relu has no setting 'depth'; there are: width, scale, t1"),
        ({"scale": "small"}, "scale must be a number"),
        ({"scale": float("nan")}, "scale must be a string, a finite number"),
        ({"scale": []}, "scale has no values"),
        ({"seeds": 0}, "seeds and block must be at least 1"),
        ({"block": 0}, "seeds and block must be at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        product("relu", **settings)


def example():
    nan = np.frombuffer(np.uint64(0x7FF8_0000_0000_BEEF).tobytes(), np.float64)[0]
    return xr.Dataset(
        {
            "loss": (("seed", "visit"), np.array([[nan, -0.0, 5e-324], [np.inf, 1 / 3, -1.0]])),
            "kind": (("seed", "visit"), np.array([["", "Sattel – ε ≥ 0", "b"], ["c", "", ""]], object)),
            "index": (("seed",), np.array([-1, 3], np.int32)),
            "censored": (("seed",), np.array([True, False])),
        }
    )


def saved(folder):
    (configuration,) = product("mine", seeds=2, x=0.5)
    path = folder / f"{configuration.identifier}.npz"
    save_cell(path, configuration, example(), PROVENANCE)
    return configuration, path


def test_a_cell_keeps_every_bit(tmp_path):
    configuration, path = saved(tmp_path)
    cell, expected = load_cell(path), example()
    assert set(cell.data_vars) == set(expected.data_vars) and list(cell.seed.values) == [0, 1]
    for name, array in expected.items():
        assert cell[name].dims == array.dims
        assert cell[name].values.tobytes() == array.values.astype(cell[name].dtype).tobytes()
    assert json.loads(cell.attrs["configuration"]) == configuration.canonical and cell.attrs["commit"] == "abc"
    before = path.read_bytes()
    save_cell(path, configuration, example(), PROVENANCE)
    assert path.read_bytes() == before and [each.name for each in tmp_path.iterdir()] == [path.name]
    # Nothing of ours is needed to read it.
    with np.load(path, allow_pickle=False) as file:
        assert json.loads(str(file["header"]))["configuration"]["experiment"] == "mine"


def test_every_cut_and_every_changed_byte_is_recognised(tmp_path):
    """A changed byte is seen, or is one of the container's that nothing depends on, such as a date."""
    _, path = saved(tmp_path)
    whole, expected = path.read_bytes(), load_cell(path)
    for length in {*range(0, len(whole), 97), len(whole) - 1}:
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedCell):
            load_cell(path)
    seen, places = 0, range(0, len(whole), 13)
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            cell = load_cell(path)
        except DamagedCell:
            seen += 1
        else:
            assert cell.attrs == expected.attrs
            assert all(cell[name].values.tobytes() == expected[name].values.tobytes() for name in expected.variables)
    assert seen > 0.8 * len(places)


class Trap:
    def __reduce__(self):
        return open, ("/nonexistent/was unpickled", "w")


def test_nothing_is_ever_unpickled(tmp_path):
    _, path = saved(tmp_path)
    with zipfile.ZipFile(path) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    np.save(tmp_path / "trap.npy", np.array([Trap()], object), allow_pickle=True)
    parts["loss.npy"] = (tmp_path / "trap.npy").read_bytes()
    with zipfile.ZipFile(path, "w") as file:
        for name, content in parts.items():
            file.writestr(name, content)
    with pytest.raises(DamagedCell):
        load_cell(path)
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(DamagedCell):
        load_cell(path)


def test_a_cell_of_another_name_and_objects_are_refused(tmp_path):
    configuration, path = saved(tmp_path)
    with pytest.raises(DamagedCell, match="name does not fit"):
        load_cell(path.rename(tmp_path / f"{'0' * 32}.npz"))
    with pytest.raises(ValueError, match="things holds objects"):
        save_cell(path, configuration, example().assign(things=("seed", np.array([None, {}]))), PROVENANCE)
    with pytest.raises(ValueError, match="dimension seed of 2"):
        save_cell(path, configuration, example().isel(seed=[0]), PROVENANCE)
    assert not path.exists()


def test_run_or_load_computes_once(tmp_path):
    calls = []

    def compute(configuration):
        calls.append(configuration)
        return example()

    (configuration,) = product("mine", seeds=2)
    first = run_or_load(configuration, tmp_path, compute)
    assert run_or_load(configuration, tmp_path, compute).identical(first) and len(calls) == 1
    (file,) = (tmp_path / "cells").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    assert run_or_load(configuration, tmp_path, compute).identical(first) and len(calls) == 2
