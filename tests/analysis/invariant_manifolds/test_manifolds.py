"""Invariant manifolds: Theorem 3 for every architecture and loss, projections, rates along and across, broken ties."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis import (
    effective_width,
    embed,
    itinerary,
    manifold_history,
    plot_manifolds,
    project,
    restricted_flow,
    spectrum,
)
from saddlescope.analysis.invariant_manifolds.departure import broken_constraints, departure, split_spectrum
from saddlescope.analysis.invariant_manifolds.projection import distances_to_widths
from saddlescope.flows import Landscape, flatten, half_squared_error, simulate
from saddlescope.models import Dense, TwoLayer, incoming, linear, outgoing, quadratic, relu, scaled
from saddlescope.models.units import layer_of, map_units, unit_vectors, width, with_units

from architectures import MODELS, problem
from embedding_cases import CASES, quartic

# Rounding of one evaluation of the weights, relative to their size, before it is amplified.
ROUNDING = 1e-13
# In units of 1/λ.
E_FOLDS = 20.0


def related(model, type, random, layer=0):
    """The model with two units free and all others bound to them by a relation of one type, and the relation's error.

    The error is a function of the rows θ_i: zero on the manifold."""
    count = width(model, layer)
    if type == "iv":
        shares = random.standard_normal((count - 2, 2))
    elif type == "ii":
        shares = np.zeros((count - 2, 2))
    else:
        shares = np.eye(2)[random.integers(0, 2, count - 2)]
        if type == "iii":
            positive = layer_of(model, layer).law.field == "nonnegative"
            factors = random.uniform(0.5, 1.5, count - 2) * (1 if positive else random.choice([-1, 1], count - 2))
            shares = factors[:, None] * shares
    # As a map, since one matrix may be both what units read and what they write.
    bound = np.vstack([np.eye(2), shares]) @ np.eye(2, count)
    return map_units(model, bound, bound, layer), lambda rows: rows[2:] - shares @ rows[:2]


def steepest_rate(flow, loss, data):
    """The largest |λ| of the negative eigenvalues of the Hessian met along a flow."""
    landscape = Landscape(flow.initial_model, loss, data)
    sampled = np.linspace(0, len(flow.ts) - 1, 4).astype(int)
    lowest = [spectrum(landscape, flow.thetas[k]).eigenvalues[0] for k in sampled]
    return max(-min(lowest), 0.0)


def relation_problem(name):
    """A model and data on which its flow can be followed for long.

    ReLU flows on random data soon slide along kinks; on orthogonal inputs, on which all units are active at first, each
    kink is crossed once and for all."""
    model, (x, y) = problem(name, seed=7)
    if name in ("relu", "relu-conv"):
        model = with_units(model, jnp.abs(incoming(model)), outgoing(model))
        x, y = 2.0 * jnp.eye(x.shape[1]), y[: x.shape[1]]
    return model, (x, y)


def followed(start, loss, data, name):
    """The flow up to t = 20/λ, λ the steepest rate met, and λ. Deep ReLU flows end at a kink before."""
    first = spectrum(Landscape(start, loss, data)).eigenvalues
    rate = max(-first[0], 1e-3 * first[-1])
    kinks = "relu" in name and name not in ("relu", "relu-conv")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Some creep along a kink for all the steps that they are allowed.
        t1, most = (min(E_FOLDS / rate, 0.2), 5000) if kinks else (E_FOLDS / rate, 200_000)
        flow = simulate(start, loss, data, t1=t1, rtol=1e-8, max_steps=most)
    rate = max(rate, steepest_rate(flow, loss, data))
    kept = np.flatnonzero(flow.ts <= E_FOLDS / rate)
    # A flow that stood still would keep everything; in its short time a deep ReLU one moves by half a per cent.
    assert np.linalg.norm(flow.thetas[kept[-1]] - flow.thetas[0]) > 1e-3 * np.linalg.norm(flow.thetas[0])
    return flow, kept, rate


# The theorem knows of a loss only that it is a function of the outputs: one that is no squared error stands for all.
@pytest.mark.parametrize(("name", "layer", "type"), CASES)
@pytest.mark.fast_for("linear-0-ii", "linear-0-iii", "linear-0-iv", "relu-0-ii")
def test_the_flow_keeps_every_relation_of_theorem_3(name, layer, type):
    r"""Type ii bit for bit; the others to rounding amplified at no more than the escape rate, up to t = 20/λ.

    A perturbation off the manifold grows at the normal eigenvalues of the Hessian, at most at λ. Type i: see below."""
    random = np.random.default_rng(list(MODELS).index(name))
    model, data = relation_problem(name)
    start, error = related(scaled(model, 0.5), type, random, layer)
    flow, kept, rate = followed(start, quartic, data, name)
    for k in kept:
        left = error(np.asarray(unit_vectors(flow.model_at_index(int(k)), layer)))
        if type == "ii":
            np.testing.assert_array_equal(left, 0.0)
        else:
            bound = ROUNDING * np.exp(rate * flow.ts[k]) * np.max(np.abs(flow.thetas[k]))
            assert np.max(np.abs(left)) <= bound


@pytest.mark.parametrize(("name", "layer"), [case[:2] for case in CASES if case[2] == "i"])
@pytest.mark.fast_for("linear-0")
def test_equal_units_stay_equal_bit_for_bit(name, layer):
    """Wherever the compiler treats them alike: it does four at a time, and sums over samples in another order for a
    fifth, whose gradient then differs in the last bit. The integrator itself adds nothing."""
    model, data = relation_problem(name)
    four = np.eye(4, width(model, layer))
    start, error = related(scaled(map_units(model, four, four, layer), 0.5), "i", np.random.default_rng(0), layer)
    flow, kept, _ = followed(start, quartic, data, name)
    for k in kept:
        np.testing.assert_array_equal(error(np.asarray(unit_vectors(flow.model_at_index(int(k)), layer))), 0.0)


NAMES = ("linear", "relu", "quadratic", "tanh", "attention", "foreign")


@pytest.mark.parametrize("name", NAMES)
def test_projection_is_as_far_as_the_distance_says(name):
    """Two computations: the embedded narrow network's distance from the model, and what is left over of each unit."""
    model, _ = problem(name, seed=2)
    rows, law = np.asarray(unit_vectors(model)), layer_of(model).law
    widths = tuple(range(len(rows) + 1))
    distances = distances_to_widths(rows[None], law, widths)[0]
    assert distances[0] == pytest.approx(np.linalg.norm(rows)) and distances[-1] <= 1e-13
    assert np.all(np.diff(distances) <= 1e-13)
    for count in widths[1:-1]:
        embedding = project(model, count)
        assert width(embedding.narrow) == count
        gap = np.linalg.norm(np.asarray(flatten(embedding.wide())) - np.asarray(flatten(model)))
        assert gap == pytest.approx(distances[count], rel=1e-9)
        # Projecting again changes nothing.
        again = distances_to_widths(np.asarray(unit_vectors(embedding.wide()))[None], law, (count,))
        assert again[0, 0] <= 1e-12


def test_a_thousand_other_groupings_are_no_nearer():
    """The distance to two rays, and to two copies, against random assignments of the units."""
    random = np.random.default_rng(0)
    for name in ("relu", "quadratic"):
        model, _ = problem(name, seed=5)
        rows, law = np.asarray(unit_vectors(model)), layer_of(model).law
        best = distances_to_widths(rows[None], law, (2,))[0, 0]
        for _ in range(1000):
            labels = random.integers(-1, 2, len(rows))
            left = np.array(rows)
            for group in (rows[labels == k] for k in (0, 1)):
                if len(group) and law.embedding == "iii":
                    direction = np.linalg.svd(group)[2][0]
                    direction = direction if np.sum(group @ direction) > 0 else -direction
                    placed = np.maximum(group @ direction, 0)[:, None] * direction
                else:
                    placed = group.mean(axis=0) if len(group) else group
                left[np.all(np.isin(rows, group), axis=1)] -= placed
            assert best <= np.linalg.norm(left) + 1e-12


def test_projection_refuses_impossible_widths():
    model, _ = problem("tanh")
    with pytest.raises(ValueError, match="between 0 and the number of units, 4; got 5"):
        project(model, 5)


def whitened(strengths):
    rotation, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((2, 2)))
    x = np.sqrt(2) * np.eye(2)
    return jnp.asarray(x), jnp.asarray(x @ (rotation * np.array(strengths)) @ rotation.T)


@pytest.fixture(scope="module")
def linear_flow():
    """Two modes of strengths 4 and 1: a long second plateau."""
    model = TwoLayer(Dense(linear, inputs=2, outputs=2), width=3, scale=1e-5, key=jax.random.key(1))
    flow = simulate(model, half_squared_error, whitened((4.0, 1.0)), t1=40.0)
    return flow, itinerary(flow)


def test_history_of_a_linear_network(linear_flow):
    """Type iv: the rank grows by one at each escape, at the rate of the next mode."""
    flow, visits = linear_flow
    history = manifold_history(flow, visits)
    assert [left.width for left in history.departures] == [0, 1]
    assert [left.broken for left in history.departures] == [("rank 0 → 1",), ("rank 1 → 2",)]
    for left, rate in zip(history.departures, (4.0, 1.0), strict=True):
        assert left.rate_predicted == pytest.approx(rate, rel=1e-8)
        assert left.rate_measured == pytest.approx(rate, rel=0.02)
        assert left.distance < 0.02
    # The split at {1}: the narrow network's Hessian along, in the balanced gauge s ± s', 2s, 0 (H = 1) ...
    split = history.departures[1].split
    np.testing.assert_allclose(split.tangential, [0.0, 3.0, 5.0, 8.0], atol=1e-8)
    # ... and ±s' for the two unused units, 0 and s' for their other directions, across.
    np.testing.assert_allclose(split.normal, [-1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0], atol=1e-8)
    assert split.coupling < 1e-10
    assert "rank 1 → 2" in str(history)


def test_the_split_spectrum_is_the_spectrum(linear_flow):
    flow, visits = linear_flow
    point = visits[1].critical_point
    split = split_spectrum(point)
    both = np.sort(np.concatenate([split.tangential, split.normal]))
    np.testing.assert_allclose(both, spectrum(Landscape(point.model, flow.loss, flow.data)).eigenvalues, atol=1e-10)
    narrow = spectrum(Landscape(point.embedding.narrow, flow.loss, flow.data)).eigenvalues
    np.testing.assert_allclose(split.tangential, narrow, atol=1e-8)


def test_restricted_flow_stays_and_the_full_flow_leaves(linear_flow):
    """The gap to the flow of width 1 grows at the normal eigenvalue, until the full flow is at the next saddle."""
    flow, visits = linear_flow
    start = visits[1].passage.index - 10
    restriction = restricted_flow(flow, 1, start=start, points=60)
    assert restriction.gap[0] == pytest.approx(manifold_distance(flow, start), rel=1e-9)
    assert restriction.losses[-1] == pytest.approx(0.5, abs=1e-8)
    assert restriction.full_losses[-1] < 1e-8
    steady = (restriction.gap > 3 * restriction.gap[0]) & (restriction.gap < 0.1)
    slope = np.polyfit(restriction.times[steady], np.log(restriction.gap[steady]), 1)[0]
    assert slope == pytest.approx(1.0, rel=0.03)
    assert "flow of width 1" in str(restriction)


def manifold_distance(flow, index):
    rows = np.asarray(unit_vectors(flow.model_at_index(index)))
    return np.sqrt(np.sum(np.linalg.svd(rows, compute_uv=False)[1:] ** 2))


def test_copies_move_as_the_narrow_network_in_the_wide_metric():
    """A unit and its copies: the full flow stays on the manifold, so the restricted one must be the same flow."""
    model, data = problem("tanh", seed=3)
    start, _ = related(model, "i", np.random.default_rng(0))
    flow = simulate(start, half_squared_error, data, t1=3.0)
    restriction = restricted_flow(flow, 2)
    assert np.max(restriction.gap) < 1e-7
    np.testing.assert_allclose(restriction.losses, restriction.full_losses, atol=1e-8)


def test_constraints_that_break():
    """Widths of hand-made configurations: units leave zero, a ray splits, copies part."""
    law_ray = TwoLayer(Dense(relu, inputs=2), width=4, scale=0.0, key=jax.random.key(0))
    law_copy = TwoLayer(Dense(quadratic, inputs=2), width=4, scale=0.0, key=jax.random.key(0))

    def widths(template, *rows):
        rows = np.array(rows, float)
        return effective_width(with_units(template, jnp.asarray(rows[:, :2]), jnp.asarray(rows[:, 2:])), scale=1.0)

    zero, a, b = [0.0, 0.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, -1.0]
    before = widths(law_ray, a, a, zero, zero)
    assert broken_constraints(before, widths(law_ray, a, a, b, zero)) == ("unit 2 left zero",)
    assert broken_constraints(before, widths(law_ray, a, b, zero, zero)) == ("ray 0 split into unit 0 and unit 1",)
    assert broken_constraints(before, widths(law_ray, a, a, a, zero)) == ("unit 2 left zero and joined ray 0",)
    before = widths(law_copy, a, a, zero, zero)
    assert broken_constraints(before, widths(law_copy, a, b, zero, zero))[0].startswith("group of copies 0 split")
    assert broken_constraints(before, before) == ()


def test_no_rate_is_measured_where_the_order_is_not_known(linear_flow):
    flow, (start, *_, end) = linear_flow
    unknown = eqx.tree_at(lambda v: (v.kind.name, v.kind.order), start, ("degenerate saddle", None))
    left = departure(flow, 0, unknown, end, layer=0)
    assert left.order is None and left.rate_measured is None
    assert "growth: of unknown order, rate ?" in str(left) and "of unknown order" in left.summary
    assert "growth: exponential, rate 3.99" in str(departure(flow, 0, start, end, layer=0))


def test_the_figure_shows_a_curve_for_each_width(linear_flow):
    flow, visits = linear_flow
    history = manifold_history(flow, visits)
    ax = plot_manifolds(history, visits)
    labels = [line.get_label() for line in ax.get_lines()]
    assert [label for label in labels if label.startswith("width")] == ["width 0", "width 1", "width 2"]
    assert ax.get_yscale() == "log"


@pytest.mark.slow
def test_relu_units_are_told_by_rays():
    """Figure 1D's two orthogonal points: first one ray leaves zero, then another, at |y||x|/2 of the sample."""
    data = jnp.array([[1.0, 0.5], [-1.0, 2.0]]), jnp.array([[1.0], [-1.0]])
    model = TwoLayer(Dense(relu, inputs=2), width=6, scale=1e-7, key=jax.random.key(1))
    flow = simulate(model, half_squared_error, data, t1=120.0, rtol=1e-8)
    history = manifold_history(flow)
    assert history.embedding == "iii" and [left.width for left in history.departures] == [0, 1]
    for left, sample in zip(history.departures, (1, 0), strict=True):
        rate = float(np.linalg.norm(data[0][sample])) / 2
        assert left.rate_predicted == pytest.approx(rate, rel=1e-6)
        assert left.rate_measured == pytest.approx(rate, rel=0.03)
        assert left.split is None and "left zero" in left.broken[0]


def test_embeddings_off_the_invariant_manifold_are_told():
    """Theorem 1's copies with γ ≠ ½ have the same map and no relation of Theorem 3: the distance says how far."""
    model, _ = problem("tanh", seed=3)
    law = layer_of(model).law
    narrow = with_units(model, incoming(model)[:2], outgoing(model)[:2])
    for gamma, kept in ((0.5, True), (0.3, False)):
        rows = np.asarray(unit_vectors(embed(narrow, "i", unit=0, gamma_v=gamma).wide()))
        distance = distances_to_widths(rows[None], law, (2,))[0, 0]
        assert (distance < 1e-14) == kept
