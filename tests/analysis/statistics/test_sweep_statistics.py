"""Statistics of a sweep whose flows are known: two plateaus, whose dwell times follow laws, and a horizon."""

import math

import numpy as np
import pytest
import xarray as xr
from saddlescope.analysis.statistics.observations import observations
from saddlescope.analysis.statistics.sweep import sweep_law, sweep_mechanism, sweep_statistics

SCALES, SEEDS, VISITS = np.array([1e-2, 1e-3, 1e-4]), 21, 4
SHIFT = np.linspace(-1.0, 1.0, SEEDS)


def flows(horizon=math.inf, power=False):
    """Dwell times on two plateaus before a minimum, at scales and seeds, cut off at a horizon.

    They are (k + 1) ln 1/ε + shift of the seed, or e^shift / ε.
    """
    logs = np.log(1 / SCALES)[:, None, None]
    dwell = (np.arange(2) + 1.0) * (np.exp(logs + SHIFT[:, None]) if power else logs) + (0 if power else SHIFT[:, None])
    arrival = np.concatenate([np.zeros((3, SEEDS, 1)), np.cumsum(dwell, axis=2)], axis=2)
    visits = np.sum(arrival < horizon, axis=2)
    cut = arrival[..., -1] >= horizon
    number = np.arange(VISITS)
    pad = lambda a: np.concatenate([a, np.full((3, SEEDS, VISITS - a.shape[2]), np.nan)], axis=2)  # noqa: E731
    there = number < visits[..., None]
    left = number < visits[..., None] - 1
    per_visit, per_flow = ("scale", "seed", "visit"), ("scale", "seed")
    end = np.where(cut, horizon, arrival[..., -1] + 1)
    return xr.Dataset(
        {
            "arrival": (per_visit, np.where(there, pad(arrival), np.nan)),
            "dwell": (per_visit, np.where(left, pad(dwell), np.nan)),
            "effective_width": (per_visit, np.where(there, number, -1)),
            "kind": (per_visit, np.where(there, np.where((number == 2), "minimum", "strict saddle"), "")),
            "visits": (per_flow, visits),
            "censored": (per_flow, cut),
            "t_end": (per_flow, end),
            "result": (per_flow, np.full((3, SEEDS), "completed", object)),
            "failure": (per_flow, np.full((3, SEEDS), "", object)),
        },
        coords={"scale": SCALES},
    )


def test_what_is_complete_has_the_medians_of_its_law():
    found = sweep_statistics(flows()).cells
    np.testing.assert_allclose(found["dwell"].sel(bound="estimate")[:, 0], np.log(1 / SCALES))
    np.testing.assert_allclose(found["dwell"].sel(bound="estimate")[:, 1], 2 * np.log(1 / SCALES))
    # The sixth of 21 values from either end.
    np.testing.assert_allclose(found["dwell"].sel(bound="low")[:, 0], np.log(1 / SCALES) + SHIFT[5])
    np.testing.assert_allclose(found["arrival"].sel(bound="estimate")[:, 2], 3 * np.log(1 / SCALES))
    assert np.all(found["plateaus"] == 2) and np.all(found["width"] == 2) and np.all(found["plateaus_censored"] == 0)
    assert np.all(np.isnan(found["dwell"].sel(bound="estimate")[:, 2]))
    np.testing.assert_allclose(found["kind_share"].sel(kind="minimum", bound="estimate"), 1 / 3)
    text = str(sweep_statistics(flows()))
    assert "0.0001" in text and "strict saddle 67%, minimum 33%" in text or "minimum 33%, strict saddle 67%" in text


def test_the_horizon_bounds_but_does_not_bias():
    """The horizon lies in the second plateau of the smallest scale, after the medians of its first."""
    horizon = 2.9 * np.log(1e4)
    data = flows(horizon)
    found = sweep_statistics(data).cells
    assert 0 < int(found["plateaus_censored"][-1]) == int(data["censored"][-1].sum()) < SEEDS
    np.testing.assert_allclose(found["dwell"].sel(bound="estimate")[:, 0], np.log(1 / SCALES))
    # Two plateaus are seen in all flows, some of which may have more.
    assert found["plateaus"].sel(bound="estimate")[-1] == 2 and found["plateaus"].sel(bound="low")[-1] == 2
    dwell = observations(data, "dwell")
    cut = np.asarray(data["censored"][-1])
    np.testing.assert_allclose(dwell.values[-1, cut, 1], horizon - np.log(1e4) - SHIFT[cut])
    assert np.all(dwell.censored[-1, cut, 1]) and dwell.censored.sum() == cut.sum()
    law = sweep_law(data, "scale", law="logarithm", quantity="arrival", visit=2)
    # Left out, they would make it 2.67.
    assert law.censored == cut.sum() and law.low <= 3 <= law.high and abs(law.slope - 3) < 0.15


def test_mechanism_of_a_sweep():
    assert sweep_mechanism(flows()).name == "data"
    found = sweep_mechanism(flows(power=True), visit=1)
    assert found.name == "initialisation" and math.isclose(found.power.slope, 1, rel_tol=1e-9)


def test_failed_and_missing_flows_are_counted_apart():
    data = flows()
    data["failure"][0, 0], data["result"][1, 1] = "the loss is not finite", ""
    found = sweep_statistics(data).cells
    assert found["flows"].values.tolist() == [20, 20, 21] and found["failed"].values.tolist() == [1, 0, 0]
    assert found["dwell_count"][:, 0].values.tolist() == [20, 20, 21]
    with pytest.raises(ValueError, match="there are: plateaus"):
        observations(data, "speed")
    with pytest.raises(ValueError, match="choose one value"):
        sweep_law(data.expand_dims(width=[5]), "scale")
    assert sweep_statistics(data.expand_dims(width=[5])).cells["flows"].shape == (1, 3)
