"""The cells of named experiments hold what `simulate` and `itinerary` say, and flows that fail are rows."""

import numpy as np
import pytest
from saddlescope.analysis import itinerary
from saddlescope.experiments import experiment
from saddlescope.experiments.sweeps.configuration import product
from saddlescope.experiments.sweeps.flow_cells import compute_cell
from saddlescope.experiments.sweeps.sweep import sweep
from saddlescope.flows import simulate


@pytest.fixture(scope="module")
def cell():
    (configuration,) = product("relu", seeds=range(3, 5), width=6, t1=12.0)
    return compute_cell(configuration)


@pytest.mark.slow
def test_a_cell_holds_the_visits_of_every_flow(cell):
    """Compared with a flow and its itinerary computed beside it."""
    setup = experiment("relu").setup(4, width=6, t1=12.0)
    flow = simulate(setup.model, setup.loss, setup.data, t1=setup.t1)
    visits, row = itinerary(flow), cell.sel(seed=4)
    assert row.visits == len(visits) >= 2 and row.num_steps == flow.stats["num_steps"]
    assert row.loss_final == flow.losses[-1] and row.t_end == 12.0 and row.result == flow.result.value
    for k, visit in enumerate(visits):
        there = row.isel(visit=k)
        assert (there.kind, there.loss, there.time) == (visit.kind.name, visit.loss, visit.time)
        assert there.effective_width == visit.effective_width.width
        assert there.order == (-1 if visit.kind.order is None else visit.kind.order)
        dwell = np.nan if visit.passage.dwell is None else visit.passage.dwell
        if row.censored and k == len(visits) - 1:
            dwell = 12.0 - visit.passage.arrival
        np.testing.assert_equal(float(there.dwell), dwell)
        rate = None if visit.escape is None else visit.escape.rate_measured
        np.testing.assert_equal(float(there.rate_measured), np.nan if rate is None else rate)


def test_a_flow_cut_off_on_a_plateau_is_censored():
    """The first plateau of width-6 ReLU networks from 1e-6 lasts to about t = 5.6."""
    (configuration,) = product("relu", width=6, t1=3.0)
    early = compute_cell(configuration).isel(seed=0)
    assert early.visits == 1 and early.censored and np.isnan(early.departure[0])
    assert early.kind[0] == "non-smooth saddle" and early.dwell[0] == 3.0


def test_without_kinds_the_passages_are_the_same(cell):
    (configuration,) = product("relu", seeds=range(3, 5), width=6, t1=12.0, kinds=False)
    quick = compute_cell(configuration)
    assert dict(quick.sizes)["seed"] == 2 and list(quick.seed.values) == [3, 4]
    np.testing.assert_array_equal(quick.visits, cell.visits)
    np.testing.assert_array_equal(quick.effective_width, cell.effective_width)
    # Closest approaches are at accepted steps, which may lie elsewhere; these are interpolated between steps.
    for name in ("arrival", "departure"):
        np.testing.assert_allclose(quick[name], cell[name], rtol=1e-5)
    assert np.all(quick.kind == "")


def test_a_solver_is_an_axis_and_dwell_times_do_not_depend_on_it():
    """Within a hundred times the tolerance, as both have some hundred steps."""
    configurations = product("relu", width=6, t1=12.0, rtol=1e-7, kinds=False, solver=["Tsit5", "Dopri8"])
    first, second = (compute_cell(each) for each in configurations)
    assert first.num_steps[0] > 1.4 * second.num_steps[0]
    np.testing.assert_allclose(first.dwell, second.dwell, rtol=1e-5)
    with pytest.raises(ValueError, match="unknown solver 'Euler'; there are: Tsit5, "):
        product("relu", solver="Euler")


def test_flows_that_diverge_or_cannot_begin_are_rows(tmp_path):
    configurations = product("relu", seeds=2, width=3, scale=[1e120, 1e200], t1=1.0)
    assert sweep(configurations, tmp_path).failed == 0
    rows = [compute_cell(each) for each in configurations]
    assert all("not finite" in str(failure) for failure in rows[1].failure.values)
    assert all(str(failure) for failure in rows[0].failure.values)
    assert set(rows[1].result.values) == {"not begun"} and rows[1].sizes["visit"] == 0
    assert np.all(rows[1].num_steps == -1) and not np.any(rows[1].censored)
