"""Thresholds: an itinerary depends on the exact value of none of them, and each is used."""

import dataclasses
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from saddlescope.analysis import Thresholds, classify, critical_point, effective_width, itinerary
from saddlescope.flows import Landscape, half_squared_error, simulate
from saddlescope.flows.losses.declaration import declares
from saddlescope.models import Dense, TwoLayer, linear, quadratic, relu
from saddlescope.models.units import with_units

NAMES = [field.name for field in dataclasses.fields(Thresholds)]
STRENGTHS = np.array([4.0, 2.0, 1.0])


@pytest.fixture(scope="module")
def flow():
    x = np.sqrt(3) * np.vstack([np.eye(3), -np.eye(3)])
    model = TwoLayer(Dense(linear, inputs=3, outputs=3), width=4, scale=1e-6, key=jax.random.key(0))
    return simulate(model, half_squared_error, (x, x * STRENGTHS), t1=25.0)


def summary(visits):
    return [(visit.kind.name, visit.kind.index, visit.kind.nullity, visit.effective_width.width) for visit in visits]


def test_the_defaults_tell_the_whole_staircase(flow):
    found = summary(itinerary(flow))
    assert [name for name, *_ in found] == [*3 * ["strict saddle"], "minimum"]
    assert [width for *_, width in found] == [0, 1, 2, 3]


def test_the_table_of_the_documentation_is_the_record():
    lines = (Path(__file__).parents[2] / "docs" / "thresholds.md").read_text().splitlines()
    cells = [line.split("|") for line in lines if line.startswith("| `")]
    shown = {name.strip(" `"): float(value) for _, name, value, *_ in cells}
    assert shown == {name: pytest.approx(getattr(Thresholds(), name), rel=0.02) for name in NAMES}


@pytest.mark.parametrize("factor", [0.5, 2.0])
@pytest.mark.parametrize("names", [NAMES, *([name] for name in NAMES)])
@pytest.mark.fast_for("names0-0.5")
def test_half_and_double_change_nothing(flow, names, factor):
    """All of them at once, and, when slow, each of them."""
    changed = Thresholds(**{name: factor * getattr(Thresholds(), name) for name in names})
    assert summary(itinerary(flow, thresholds=changed)) == summary(itinerary(flow))


@pytest.mark.parametrize(
    ("name", "absurd"),
    [
        ("prominence", 9.0),
        ("noise_safety", 1e12),
        ("unit_share", 0.999),
        ("plateau_share", -1.0),
        ("rounding_safety", 1e15),
    ],
)
@pytest.mark.fast_for("plateau_share--1.0", "rounding_safety-1000000000000000.0")
def test_an_absurd_value_changes_the_itinerary(flow, name, absurd):
    assert summary(itinerary(flow, thresholds=Thresholds(**{name: absurd}))) != summary(itinerary(flow))


class Plane(eqx.Module):
    x: Array


def kind_of(loss, start, **changes):
    """The kind of what is next to a point of the plane."""
    thresholds = Thresholds(**changes)
    point = critical_point(Landscape(Plane(jnp.array(start)), loss, ()), thresholds=thresholds)
    return classify(point, thresholds=thresholds)


def valley(model, data):
    """A curved valley floor, a manifold of minima; that it is a square does not show in the program."""
    return 1 + (model.x[0] + model.x[1] ** 2) * (model.x[1] ** 2 + model.x[0])


def channel(model, data):
    return jnp.exp(-model.x[0]) + model.x[1] ** 2


def slow_channel(model, data):
    """Along which the loss falls like t^{−1/2}."""
    return 1 / (1 + model.x[0] ** 2) + model.x[1] ** 2


def bottleneck(model, data):
    """A saddle and a minimum have merged and vanished."""
    return 0.1 * model.x[0] + model.x[0] ** 3 / 3 + model.x[1] ** 2


def kink(model, data):
    """A bottleneck with a kink in the gradient at its slowest point, where the Hessian jumps by a hundredth."""
    return bottleneck(model, data) + 0.005 * model.x[0] * jnp.abs(model.x[0])


@pytest.mark.parametrize(
    ("loss", "start", "name", "absurd"),
    [
        (valley, [0.0, 0.0], "rounding_safety", 0.0),
        (declares(lower_bound=0.5)(lambda model, data: valley(model, data)), [0.0, 0.0], "loss_zero", 2.0),
        (slow_channel, [1.0, 0.4], "channel_growth", 1e9),
        (channel, [0.3, 0.4], "exponent_agreement", 0.0),
        (channel, [0.3, 0.4], "far", 1e9),
        (bottleneck, [0.3, 0.4], "gradient_zero", 1e9),
        (bottleneck, [0.3, 0.4], "ghost_curvature", 1e-300),
        (kink, [0.3, 0.4], "ghost_curvature", 1.0),
    ],
)
@pytest.mark.fast_for(
    "<lambda>-start1-loss_zero-2.0",
    "bottleneck-start6-ghost_curvature-1e-300",
    "kink-start7-ghost_curvature-1.0",
    "channel-start4-far-1000000000.0",
)
def test_an_absurd_value_changes_the_evidence(loss, start, name, absurd):
    assert kind_of(loss, start).evidence != kind_of(loss, start, **{name: absurd}).evidence


def test_channels_are_followed_only_if_asked_for():
    point = critical_point(Landscape(Plane(jnp.array([0.3, 0.4])), channel, ()))
    assert classify(point).name == "flat channel"
    assert classify(point, follow_channels=False).name != "flat channel"


def test_a_form_counts_as_zero_below_its_threshold():
    x, y = np.array([[1, 0.5], [-1, 2]]), np.array([[1.0], [-1.0]])
    network = TwoLayer(Dense(relu, inputs=2), width=2, scale=0.0, key=jax.random.key(1))
    point = critical_point(Landscape(network, half_squared_error, (x, y)))
    assert classify(point).name == "non-smooth saddle"
    assert classify(point, thresholds=Thresholds(rounding_safety=1e20)).name != "non-smooth saddle"


def wells(model, data):
    """A double well of the incoming weight, and a parabola of the outgoing one."""
    return (model.u[0, 0] ** 2 - 1) ** 2 / 4 + (model.v[0, 0] - 1) ** 2 / 2


@pytest.mark.parametrize(("name", "absurd"), [("near", 2.0), ("narrow_curvature", 1e9)])
def test_a_saddle_of_the_narrow_network_is_taken_only_nearby(name, absurd):
    """From aside of the ridge descent leads to a minimum of loss 0; the next zero of the gradient is on the ridge."""
    model = TwoLayer(Dense(linear, inputs=1), width=1, scale=1.0, key=jax.random.key(0))
    landscape = Landscape(with_units(model, np.array([[0.3]]), np.array([[1.0]])), wells, ())
    assert critical_point(landscape).loss == pytest.approx(0.0, abs=1e-12)
    assert critical_point(landscape, thresholds=Thresholds(**{name: absurd})).loss == pytest.approx(0.25)


@pytest.mark.slow
def test_dwell_times_and_rates_follow_their_thresholds(flow):
    first = itinerary(flow)[0]
    later = itinerary(flow, thresholds=Thresholds(drop_fraction=0.4))[0]
    assert later.passage.departure > first.passage.departure
    assert later.escape.dwell_predicted > first.escape.dwell_predicted
    assert itinerary(flow, thresholds=Thresholds(steady=10.0))[0].escape.e_folds > first.escape.e_folds
    with pytest.warns(UserWarning, match="seeded by rounding"):
        seeded = itinerary(flow, thresholds=Thresholds(seeded=1e9))[0]
    assert seeded.escape.seeded_by_rounding and not first.escape.seeded_by_rounding


@pytest.mark.parametrize(("name", "absurd"), [("ray_angle", 1e-9), ("clear_gap", 1e30)])
def test_widths_of_rays_follow_their_thresholds(name, absurd):
    """Two ReLU units within a tenth of a radian are one ray, clearly."""
    model = TwoLayer(Dense(relu, inputs=2), width=2, scale=1.0, key=jax.random.key(0))
    model = with_units(model, np.array([[1.0, 0.0], [1.0, 0.05]]), np.array([[1.0], [1.0]]))
    usual, unusual = (effective_width(model, thresholds=each) for each in (Thresholds(), Thresholds(**{name: absurd})))
    assert usual.width == 1 and usual.clear
    assert (unusual.width, unusual.clear) != (usual.width, usual.clear)


def test_copies_follow_their_threshold():
    model = TwoLayer(Dense(quadratic, inputs=2), width=2, scale=1.0, key=jax.random.key(0))
    model = with_units(model, np.array([[1.0, 0.0], [1.0, 0.05]]), np.array([[1.0], [1.0]]))
    assert effective_width(model).width == 1
    assert effective_width(model, thresholds=Thresholds(copy_distance=1e-9)).width == 2


def test_directions_outside_the_null_space_explain_nothing(flow):
    last = itinerary(flow)[-1].kind.null_space
    strict = itinerary(flow, thresholds=Thresholds(inside_null_space=1e-300))[-1].kind.null_space
    assert last.unexplained == 0 and strict.unexplained == strict.nullity == last.nullity
