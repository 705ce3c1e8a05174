"""Reasons for minima that rest on the loss and on added units: bounds attained, and forms that are zero to rounding."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from saddlescope.analysis import added_unit_form, classify, critical_point
from saddlescope.analysis.critical_points.lower_bound import lower_bound_attained
from saddlescope.analysis.curvature.scales import Scales
from saddlescope.analysis.embeddings.embedding import Embedding
from saddlescope.analysis.thresholds import STANDARD
from saddlescope.flows import Landscape, gaussian_loss, half_squared_error, linear_population, statistics_loss
from saddlescope.flows.losses.declaration import convex_in_output, declares, lower_bound_of
from saddlescope.models import Deep, Dense, SkipConnected, TwoLayer, linear, quadratic, relu, tanh
from saddlescope.models.units import with_units

from architectures import normal


class Plane(eqx.Module):
    x: Array


@declares(lower_bound=0.0)
def valley(model, scale):
    """A curve of zeros."""
    return scale * (model.x[0] + model.x[1] ** 2 - 1) ** 2


def network(activation, u, v):
    """A two-layer network with given rows u and v."""
    u, v = np.atleast_2d(u), np.atleast_2d(v)
    empty = TwoLayer(
        Dense(activation, inputs=u.shape[1], outputs=v.shape[1]), width=1, scale=0.0, key=jax.random.key(0)
    )
    return with_units(empty, u, v)


def kind_of(model, data, loss=half_squared_error):
    return classify(critical_point(Landscape(model, loss, data)))


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize(
    ("offset", "attained"), [(0.0, True), (1e-14, True), (1e-12, True), (1e-9, False), (3e-5, False)]
)
def test_a_bound_is_attained_to_rounding_in_any_units(scale, offset, attained):
    """At relative losses of offset²: 1e-24 is zero, 1e-18 is not."""
    landscape = Landscape(Plane(jnp.array([0.75 + offset, 0.5])), valley, np.asarray(scale))
    found = lower_bound_attained(landscape, landscape.theta, thresholds=STANDARD)
    assert (found is not None) == attained
    if offset == 0:
        assert "attains its lower bound, 0" in classify(critical_point(landscape)).evidence


def test_declarations_are_read_through_partials_and_wrappers():
    @functools.wraps(valley)
    def wrapper(model, data):
        return valley(model, data)

    for loss in (valley, functools.partial(valley, scale=1.0), wrapper):
        assert lower_bound_of(loss, ()) == 0.0 and not convex_in_output(loss)
    statistics = linear_population(np.eye(2), np.eye(2), noise=0.3)
    assert lower_bound_of(statistics_loss, statistics) == pytest.approx(0.6) and convex_in_output(statistics_loss)
    assert lower_bound_of(gaussian_loss, ()) == lower_bound_of(half_squared_error, ()) == 0.0
    assert lower_bound_of(lambda model, data: 0.0, ()) is None
    with pytest.raises(ValueError, match="finite number"):
        lower_bound_of(declares(lower_bound=np.inf)(lambda model, data: 0.0), ())


@pytest.mark.parametrize("offset", [0.0, 0.25])
def test_a_loss_of_ones_own_attains_the_bound_that_its_program_proves(offset):
    """A lambda on three outputs of eight weights: the null space is tangent to all weights with the same outputs."""
    x = np.asarray(normal(3, 3, 3))
    model = network(tanh, np.asarray(normal(4, 2, 3)), np.asarray(normal(5, 2, 1)))
    data = x, np.asarray(jax.vmap(model)(x))
    landscape = Landscape(model, lambda m, d: jnp.mean((jax.vmap(m)(d[0]) - d[1]) ** 2) + offset, data)
    kind = classify(critical_point(landscape))
    assert kind.name == "minimum" and f"that its program proves, {offset:g}" in kind.evidence
    found = kind.null_space
    assert (found.nullity, found.interpolation, found.unexplained) == (5, 5, 0) and found.critical


def test_a_loss_below_the_bound_that_it_declares_is_refused():
    wrong = declares(lower_bound=0.1)(lambda model, data: valley(model, data))
    landscape = Landscape(Plane(jnp.array([0.75, 0.5])), wrong, np.asarray(1.0))
    with pytest.raises(ValueError, match="below its lower bound 0.1"):
        lower_bound_attained(landscape, landscape.theta, thresholds=STANDARD)


@pytest.fixture(scope="module")
def sample():
    x = np.asarray(normal(1, 40, 3))
    return x, np.asarray(normal(2, 40, 2)) + x[:, :2]


def best_linear(sample, rank):
    """The factors of the best linear map of a rank, balanced, by the truncated SVD of the fit on whitened inputs."""
    x, y = sample
    q, r = np.linalg.qr(x)
    left, sizes, right = np.linalg.svd(y.T @ q, full_matrices=False)
    root = np.sqrt(sizes[:rank])
    u = root[:, None] * np.linalg.solve(r, right[:rank].T).T
    return u, root[:, None] * left[:, :rank].T


@pytest.mark.parametrize("units", [1e-6, 1.0, 1e6])
def test_a_narrow_network_is_a_minimum_for_its_rank_and_not_because_no_unit_helps(sample, units):
    """One linear unit on a target of rank two: a second one would lower the loss."""
    x, y = sample
    data = x, units * y
    model = network(linear, *best_linear(data, 1))
    point = critical_point(Landscape(model, half_squared_error, data), gradient_scale=units**1.5)
    kind = classify(point, scales=Scales(loss=units**2, gradient=units**1.5, curvature=units, weight=units**0.5))
    assert kind.name == "minimum" and kind.nullity == 1
    assert kind.added_unit_form.lowers() and "the lowest of any" in kind.evidence and "rank 1" in kind.evidence


def test_no_unit_helps_where_the_residual_is_orthogonal_to_all(sample):
    u, v = best_linear(sample, 2)
    wide = network(linear, np.vstack([u, 0 * u[:1]]), np.vstack([v, 0 * v[:1]]))

    # A loss of which nothing is known but what it declares; without that, it says nothing of networks with other units.
    def silent(model, data):
        return half_squared_error(model, data)

    convex = declares(convex=True)(lambda model, data: half_squared_error(model, data))
    assert "no unit of any size lowers the loss" in kind_of(wide, sample, convex).evidence
    assert "no unit" not in kind_of(wide, sample, silent).evidence
    assert "the lowest of any coefficients" in kind_of(wide, sample).evidence


@pytest.mark.slow
def test_a_dead_unit_is_not_said_to_be_the_best():
    """A ReLU unit that is inactive on all samples, alone: another unit would lower the loss."""
    x = np.array([[1.0, 0.3], [1.0, -0.4], [2.0, 0.1]])
    kind = kind_of(network(relu, [-1.0, 0.0], [0.5]), (x, x[:, :1]))
    assert kind.added_unit_form.lowers() and "no unit" not in kind.evidence


def test_a_form_that_hides_between_kinks_is_no_proof():
    """Residuals ±1 on inputs an angle of 1e-6 apart: ReLU units see them only between the two."""
    x = np.array([[1.0, 0.0], [np.cos(1e-6), np.sin(1e-6)]])
    y = np.array([[1.0], [-1.0]])
    kind = kind_of(network(relu, np.zeros((2, 2)), np.zeros((2, 1))), (x, y))
    assert kind.name in ("non-smooth saddle", "undetermined")


@pytest.mark.parametrize("units", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("activation", [linear, quadratic], ids=str)
def test_forms_are_zero_to_their_own_rounding(activation, units):
    """A second mode of 1e-6 of the first counts; a target orthogonal to all that units see does not."""
    x = np.sqrt(2) * np.diag([1.0, 1e-3])
    seen = units * np.array([1.0, 1e-6])
    data = (x, np.diag(seen)) if activation == linear else (x, units * (x**2) @ [[0.0], [1.0]])
    shape = (2, 2) if activation == linear else (2, 1)
    empty = network(activation, np.zeros((2, 2)), np.zeros(shape))
    if activation == linear:
        # The first mode is learned, with coefficients units / √2.
        u, v = np.diag([1.0, 0.0]), np.diag([units / np.sqrt(2), 0.0])
        assert added_unit_form(Landscape(network(linear, u, v), half_squared_error, data)).lowers()
    else:
        assert added_unit_form(Landscape(empty, half_squared_error, data)).lowers()
    x, y = np.asarray(normal(1, 30, 3)), np.asarray(normal(2, 30, 1))
    features = x if activation == linear else np.stack([x[:, i] * x[:, j] for i in range(3) for j in range(i + 1)], 1)
    q = np.linalg.qr(features)[0]
    orthogonal = units * (y - q @ (q.T @ y))
    model = network(activation, np.zeros((2, 3)), np.zeros((2, 1)))
    form = added_unit_form(Landscape(model, half_squared_error, (x, orthogonal)))
    assert form.strength > 0 and not form.lowers()


@pytest.mark.slow
def test_a_form_of_tanh_units_is_zero_for_small_ones_only():
    """Orthogonal to the inputs, though not to their cubes: no reason for units of any size."""
    x = np.asarray(normal(1, 30, 3))
    q = np.linalg.qr(x)[0]
    y = x[:, :1] ** 3 - q @ (q.T @ x[:, :1] ** 3)
    kind = kind_of(network(tanh, np.zeros((2, 3)), np.zeros((2, 1))), (x, y))
    assert not kind.added_unit_form.lowers() and "no unit" not in kind.evidence


def deep_linear(widths, strengths, rank):
    """Balanced layers whose product is the best map of a rank, in random bases, on white inputs."""
    size, random, depth = len(strengths), np.random.default_rng(0), len(widths) + 1
    model = Deep(Dense(linear, inputs=size, outputs=size), widths=widths, scale=0.0, key=jax.random.key(0))
    hidden = [np.linalg.qr(random.standard_normal((width, width)))[0][:, :rank] for width in widths]
    bases = [np.eye(size, rank), *hidden, np.eye(size, rank)]
    root = np.diag(np.asarray(strengths[:rank]) ** (1 / depth))
    products = [below @ root @ above.T for below, above in zip(bases, bases[1:], strict=False)]
    arrays = [products[0].T, *products[1:]]
    x = np.sqrt(size) * np.eye(size)
    return eqx.tree_at(lambda m: (*m.parameters, *m.connections), model, [*map(jnp.asarray, arrays)]), (
        x,
        x @ np.diag(strengths),
    )


@pytest.mark.parametrize(("rank", "name", "order"), [(2, "minimum", None), (1, "degenerate saddle", 3)])
def test_a_deep_bottleneck_at_its_rank_is_a_minimum(rank, name, order):
    """Widths 2 and 3 on strengths 3, 2, 1: at rank two the bottleneck has no unit to spare, at rank one it has."""
    model, data = deep_linear((2, 3), [3.0, 2.0, 1.0, 0.0], rank)
    kind = kind_of(model, data)
    assert (kind.name, kind.order) == (name, order)
    assert ("of rank 2" in kind.evidence) == (rank == 2)


def test_the_rank_of_linear_networks():
    """min(widths), also beside a skip; a wrong mode of the same rank does not attain the bound."""
    wide, data = deep_linear((2, 3), [3.0, 2.0, 1.0, 0.0], 2)
    skip = SkipConnected(linear, inputs=4, width=3, outputs=4, skip=1, scale=1.0, key=jax.random.key(0))
    assert [model.features.rank(model) for model in (wide, skip)] == [2, 3]
    other, _ = deep_linear((2, 3), [3.0, 1.9, 1.0, 0.0], 2)
    for model, attained in ((wide, True), (other, False)):
        landscape = Landscape(model, half_squared_error, data)
        assert (lower_bound_attained(landscape, landscape.theta, thresholds=STANDARD) is not None) == attained


def test_units_that_a_search_left_at_zero_are_to_spare():
    """A narrow network of two units of which one is zero, in one layer and in several."""
    one = network(quadratic, [[1.0, 2.0], [0.0, 0.0]], [[1.0], [1e-17]])
    found = Embedding(narrow=one, maps=((np.eye(2), np.eye(2), 0),)).without_zero_units(2.0)
    assert found.p_in.tolist() == found.p_out.tolist() == [[1.0], [0.0]] and found.spare == (1,)
    np.testing.assert_array_equal(found.wide().u, one.u)
    several, _ = deep_linear((2, 3), [3.0, 2.0], 2)
    several = eqx.tree_at(lambda m: m.parameters[0], several, jnp.zeros((2, 2)))
    embedding = Embedding(narrow=several, maps=((np.eye(2), np.eye(2), 0), (np.eye(3), np.eye(3), 1)))
    assert embedding.without_zero_units(2.0) is embedding  # their outgoing weights are not zero
    several = eqx.tree_at(lambda m: m.parameters[1], several, jnp.zeros((2, 3)))
    found = (embedding := eqx.tree_at(lambda e: e.narrow, embedding, several)).without_zero_units(2.0)
    assert found.spare == (2, 0) and embedding.spare == (0, 0)


def large(x, y):
    """The kind of 800 tanh units at zero, above 3000 parameters."""
    point = critical_point(Landscape(network(tanh, np.zeros((800, 3)), np.zeros((800, 1))), half_squared_error, (x, y)))
    # The point is critical as it stands, and was not solved for.
    kind = classify(eqx.tree_at(lambda p: p.refined, point, True))
    assert kind.spectrum is None and "no dense Hessian" in kind.evidence
    return kind


def test_large_networks_are_left_at_third_order_or_undetermined():
    """Targets orthogonal to the inputs, which tanh units see by their cubes; and to these, on few inputs."""
    x = np.asarray(normal(1, 30, 3))
    q = np.linalg.qr(x)[0]
    kind = large(x, x[:, :1] ** 3 - q @ (q.T @ x[:, :1] ** 3))
    assert (kind.name, kind.order) == ("degenerate saddle", 4) and kind.index == 0
    # Odd units see nothing of an even target on inputs in pairs ±x.
    kind = large(np.vstack([x, -x]), np.vstack([x, x])[:, :1] ** 2)
    assert kind.name == "undetermined"
    assert "no small unit was found that lowers the loss at order 2" in kind.evidence
