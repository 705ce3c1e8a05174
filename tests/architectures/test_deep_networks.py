"""Units in several layers: closed forms of depth, orders of the origin, itineraries layer by layer."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis import classify, critical_point, embed, itinerary, spectrum
from saddlescope.analysis.embeddings.embedding import Embedding
from saddlescope.analysis.embeddings.reduction import reduce_layers
from saddlescope.analysis.embeddings.width import effective_widths
from saddlescope.analysis.leading_order import added_units
from saddlescope.analysis.leading_order.added_units import added_units_form
from saddlescope.analysis.symmetries.conservation import conserved_drift
from saddlescope.flows import Landscape, flatten, half_squared_error, simulate
from saddlescope.models import (
    Convolution,
    Deep,
    Dense,
    LinearAttention,
    SkipConnected,
    Slot,
    UnitLaw,
    Units,
    incoming,
    linear,
    outgoing,
    quadratic,
    relu,
    scaled,
)
from saddlescope.models.units import layers_of, map_units, unit_vectors, width, with_units
from scipy.integrate import quad

from architectures import outputs, problem

STRENGTHS = np.array([2.0, 1.0])


def white_data(strengths=STRENGTHS):
    x = np.sqrt(len(strengths)) * np.eye(len(strengths))
    return x, x @ np.diag(strengths)


def balanced(sizes, hidden=4, seed=0):
    r"""A three-layer linear network with the product $A^3$, A = diag(sizes), and balanced layers in random bases."""
    random = np.random.default_rng(seed)
    first, second = (np.linalg.qr(random.standard_normal((hidden, len(sizes))))[0] for _ in range(2))
    a = np.diag(sizes)
    model = Deep(Dense(linear, inputs=2, outputs=2), widths=(hidden, hidden), scale=0.0, key=jax.random.key(0))
    arrays = (first @ a, first @ a @ second.T, second @ a)
    pick = lambda m: (m.parameters[0], m.parameters[1], m.connections[0])  # noqa: E731
    return eqx.tree_at(pick, model, tuple(map(jnp.asarray, arrays)))


@pytest.fixture(scope="module")
def flow():
    return simulate(balanced([0.03, 0.02]), half_squared_error, white_data(), t1=80.0, rtol=1e-10)


@pytest.mark.slow
def test_modes_of_a_balanced_network_follow_their_own_equation(flow):
    r"""Each mode obeys $\dot a = a^2 (s - a^3)$: time as an integral, against the flow's singular values."""
    assert conserved_drift(flow) < 1e-9
    for t in (10.0, 20.0, 40.0):
        model = flow.model(t)
        values = np.linalg.svd(np.asarray(model.features.coefficients(model)), compute_uv=False)
        for value, start, s in zip(values, (0.03, 0.02), STRENGTHS, strict=True):
            a = np.cbrt(value)
            if s - value > 1e-6:  # later the integral diverges as rounding decides
                time = quad(lambda a, s=s: 1 / (a**2 * (s - a**3)), start, a, epsabs=0, epsrel=1e-10, limit=200)[0]
                assert time == pytest.approx(t, rel=1e-6)


@pytest.mark.slow
def test_itinerary_of_a_deep_linear_network(flow):
    """0, 1, 2 units in each layer, at the losses of the best maps of that rank, left at the order of the depth."""
    visits = itinerary(flow)
    assert [[each.width for each in visit.effective_widths] for visit in visits] == [[0, 0], [1, 1], [2, 2]]
    assert {each.embedding for visit in visits for each in visit.effective_widths} == {"iv"}
    assert [visit.kind.name for visit in visits] == ["degenerate saddle", "degenerate saddle", "minimum"]
    assert [visit.kind.order for visit in visits] == [3, 3, None]
    for rank, visit in enumerate(visits):
        assert visit.critical_point.converged
        assert visit.critical_point.loss == pytest.approx(np.sum(STRENGTHS[rank:] ** 2) / 2, rel=1e-10, abs=1e-20)
        assert visit.kind.spectrum.index == 0
    # ṙ = L^{-(L-2)/2} s r^{L-1} on the steepest path (Li, Luo & Lyu 2021), L = 3.
    for visit, s in zip(visits, STRENGTHS, strict=False):
        assert visit.escape.rate_predicted == pytest.approx(s / np.sqrt(3), rel=1e-4)
        assert visit.escape.rate_measured == pytest.approx(s / np.sqrt(3), rel=0.2)
    text = str(visits)
    assert "1, 1" in text and "nan" not in text.lower()


def test_projection_onto_the_narrow_network(flow):
    """What the embedding sees of a network of its own shape, it sees wholly; of another, less."""
    model = flow.final_model
    embedding = reduce_layers(model)
    assert [width(embedding.narrow, layer) for layer in (0, 1)] == [2, 2]
    np.testing.assert_allclose(flatten(embedding.projected(model)), flatten(model), atol=1e-10)
    np.testing.assert_allclose(flatten(embedding.wide()), flatten(model), atol=1e-10)
    other = balanced([0.5, 0.4], seed=1)
    seen = embedding.projected(other)
    assert float(jnp.linalg.norm(flatten(seen))) < 0.9 * float(jnp.linalg.norm(flatten(other)))
    np.testing.assert_allclose(flatten(embedding.projected(seen)), flatten(seen), atol=1e-12)


ORIGINS = {
    "three linear layers": (
        Deep(Dense(linear, inputs=2, outputs=2), widths=(3, 3), scale=0.0, key=jax.random.key(0)),
        3,
    ),
    "four linear layers": (
        Deep(Dense(linear, inputs=2, outputs=2), widths=(2, 2, 2), scale=0.0, key=jax.random.key(0)),
        4,
    ),
    **{
        f"a chain of {layers}": (
            Deep(Dense(linear, inputs=1), widths=(layers - 1) * (1,), scale=0.0, key=jax.random.key(0)),
            layers,
        )
        for layers in (5, 8, 10)
    },
    "three ReLU layers": (Deep(Dense(relu, inputs=2, outputs=2), widths=(3, 3), scale=0.0, key=jax.random.key(0)), 3),
    "a convolution and a dense layer": (
        Deep(Convolution(linear, inputs=2, kernel=1), widths=(3, 3), scale=0.0, key=jax.random.key(0)),
        3,
    ),
    "a quadratic and a linear layer": (
        Deep(Dense(quadratic, inputs=2, outputs=2), widths=(3, 2), activation=linear, scale=0.0, key=jax.random.key(0)),
        4,
    ),
    "skip 1": (SkipConnected(linear, inputs=2, width=2, outputs=2, skip=1, scale=0.0, key=jax.random.key(0)), 3),
    "skip 2": (SkipConnected(linear, inputs=2, width=2, outputs=2, skip=2, scale=0.0, key=jax.random.key(0)), 2),
}


@pytest.mark.parametrize("name", ORIGINS)
@pytest.mark.fast_for("skip 2", "three ReLU layers")
def test_order_of_the_origin(name):
    """The number of factors on the shortest path of small weights from input to output: skips make it shorter."""
    model, order = ORIGINS[name]
    x, y = white_data()
    data = (x, y[:, :1]) if name.startswith("a convolution") else (x, y + x**2)
    data = (x[:, :1], y[:, :1]) if name.startswith("a chain") else data
    kind = classify(critical_point(Landscape(model, half_squared_error, data)))
    assert kind.order == order
    assert kind.name == ("strict saddle" if order == 2 else "degenerate saddle")


def form_at_the_origin(layers):
    """The form of one unit per layer that is added to none."""
    single = nothing = Deep(
        Dense(linear, inputs=2, outputs=2), widths=(layers - 1) * (1,), scale=0.0, key=jax.random.key(0)
    )
    for layer in range(layers - 1):
        nothing = map_units(nothing, np.zeros((0, 1)), np.zeros((0, 1)), layer)
    embedding = Embedding(nothing, tuple((np.zeros((1, 0)), np.zeros((1, 0)), layer) for layer in range(layers - 1)))
    return added_units_form(Landscape(single, half_squared_error, white_data()), embedding)


@pytest.mark.parametrize(("layers", "rate"), [(3, 2 / np.sqrt(3)), (4, 2 / 4)])
def test_steepest_descent_from_the_origin_of_deep_linear_networks(layers, rate):
    r"""$c = L^{-(L-2)/2} s_1$."""
    form = form_at_the_origin(layers)
    assert form.order == layers and form.lowest_order
    assert form.rate == pytest.approx(rate, rel=1e-4)


@pytest.mark.parametrize("layers", [3, 4])
def test_a_few_directions_of_many_tell_no_order_above_the_third(monkeypatch, layers):
    """What they show is that the loss falls; that lower forms vanish takes products, or a thorough search."""
    monkeypatch.setattr(added_units, "MANY", 0)
    form = form_at_the_origin(layers)
    assert form.order == layers and form.steepest > 0
    assert form.lowest_order == (layers == 3)


@pytest.mark.slow
@pytest.mark.parametrize(("layers", "units"), [(5, 1e-9), (5, 1e9), (6, 1.0), (8, 1.0)])
def test_the_order_of_a_deep_network_at_rank_one_is_its_depth(layers, units):
    """Its form of fourth order is a square, nowhere negative, where added units connect to those there already."""
    strengths = [3.0, 2.0]
    model = Deep(Dense(linear, inputs=2, outputs=2), widths=(layers - 1) * (2,), scale=0.0, key=jax.random.key(0))
    one = jnp.diag(jnp.array([strengths[0] ** (1 / layers), 0.0]))
    model = eqx.tree_at(lambda m: (*m.parameters, *m.connections), model, layers * [one])
    # The target in other units, and the last layer with it: the rate is then another, the order is not.
    model = eqx.tree_at(lambda m: m.connections[-1], model, units * one)
    x, y = white_data(units * np.array(strengths))
    landscape = Landscape(model, half_squared_error, (x, y))
    assert np.max(np.abs(landscape.gradient(landscape.theta))) < 1e-14 * max(units, units**2)
    form = added_units_form(landscape, reduce_layers(model))
    assert form.order == layers


def test_a_minimum_lets_no_small_units_fall():
    model = balanced(np.cbrt(STRENGTHS))
    landscape = Landscape(model, half_squared_error, white_data())
    form = added_units_form(landscape, reduce_layers(model))
    assert form.order is None and form.rate is None


def test_a_form_that_is_zero_in_some_directions_is_the_last_examined():
    """Beside a perfect fit of rank one, pairs of added weights change the map: a square of order four, often zero."""
    model, data = balanced([np.cbrt(3.0), 0.0]), white_data(np.array([3.0, 0.0]))
    form = added_units_form(Landscape(model, half_squared_error, data), reduce_layers(model))
    assert form.order is None and form.rises is None
    assert str(form).endswith("the loss falls, up to order 4")


@pytest.mark.slow
def test_units_that_mix_are_rounded():
    """A bottleneck of one unit below two that mix: whatever the mixture, rounding makes no fall of the second."""
    random, strengths, root = np.random.default_rng(0), np.array([20.0, 14.0, 10.0]), np.cbrt(20.0)
    empty = Deep(Dense(linear, inputs=3, outputs=3), widths=(1, 2), scale=0.0, key=jax.random.key(0))
    for _ in range(60):
        left, right, mixed = (np.linalg.qr(random.standard_normal((size, size)))[0] for size in (3, 3, 2))
        arrays = root * right[:1], root * mixed[:1], root * mixed[0][:, None] * left[:1]
        model = eqx.tree_at(lambda m: (*m.parameters, *m.connections), empty, tuple(map(jnp.asarray, arrays)))
        x = np.sqrt(3) * np.eye(3)
        landscape = Landscape(model, half_squared_error, (x @ right, x @ np.diag(strengths) @ left))
        assert added_units_form(landscape, reduce_layers(model)).order is None


def test_a_saddle_with_a_negative_eigenvalue_is_strict():
    """The second mode without the first: index 1 for depth 3 as well, the pair of modes in the wrong order."""
    model = balanced([0.0, 1.0])
    spectral = spectrum(Landscape(model, half_squared_error, white_data()))
    assert spectral.index == 1
    point = critical_point(Landscape(model, half_squared_error, white_data()))
    kind = classify(point)
    assert (kind.name, kind.order) == ("strict saddle", 2)
    assert point.loss == pytest.approx(2.0, rel=1e-12)


class Perceptron(eqx.Module):
    """A user's network of Equinox layers, with units in two of them."""

    layers: tuple[eqx.nn.Linear, ...]

    @property
    def units(self):
        law = UnitLaw(zero=True, degree=1, linear=True)
        return (
            Units(incoming=(Slot(_first),), outgoing=(Slot(_second, axis=1),), law=law, name="below"),
            Units(incoming=(Slot(_second),), outgoing=(Slot(_third, axis=1),), law=law, name="above"),
        )

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def _first(model):
    return model.layers[0].weight


def _second(model):
    return model.layers[1].weight


def _third(model):
    return model.layers[2].weight


def perceptron(model):
    """The weights of a three-layer network of ours in a user's layers."""
    arrays = model.parameters[0], model.parameters[1].T, model.connections[0].T
    shapes = [array.shape for array in arrays]
    empty = [eqx.nn.Linear(a, b, use_bias=False, key=jax.random.key(0)) for b, a in shapes]
    return Perceptron(tuple(eqx.tree_at(lambda m: m.weight, m, a) for m, a in zip(empty, arrays, strict=True)))


@pytest.mark.slow
def test_a_users_network_with_units_in_several_layers(flow):
    """Same weights, other arrays: the same itinerary, widths and embedding, layer by layer."""
    theirs = perceptron(flow.initial_model)
    for layer in (0, 1):
        np.testing.assert_array_equal(incoming(theirs, layer), incoming(flow.initial_model, layer))
        np.testing.assert_array_equal(outgoing(theirs, layer), outgoing(flow.initial_model, layer))
    other = simulate(theirs, half_squared_error, white_data(), t1=80.0, rtol=1e-10)
    np.testing.assert_allclose(other.evaluate(20.0).sum(), flow.evaluate(20.0).sum(), rtol=1e-6)
    visits = itinerary(other)
    assert [[each.width for each in visit.effective_widths] for visit in visits] == [[0, 0], [1, 1], [2, 2]]
    assert [visit.kind.order for visit in visits] == [3, 3, None]
    embedding = visits[1].critical_point.embedding
    assert [width(embedding.narrow, layer) for layer in (0, 1)] == [1, 1]
    wider = embed(theirs, "iv", gamma_u=[1.0, 0, 0, 2], gamma_v=[0.3, 0, 1, 0], layer=1).wide()
    assert [layer.weight.shape for layer in wider.layers] == [(4, 2), (5, 4), (2, 5)]
    np.testing.assert_allclose(outputs(wider, white_data()[0]), outputs(theirs, white_data()[0]), atol=1e-14)


def test_small_scale_of_shared_arrays():
    """An array that serves two layers is scaled once."""
    model, _ = problem("deep-linear")
    np.testing.assert_allclose(flatten(scaled(model, 0.5)), 0.5 * flatten(model), rtol=1e-15)
    model, _ = problem("skip-1")
    np.testing.assert_allclose(flatten(scaled(model, 0.5)), 0.5 * flatten(model), rtol=1e-15)


def test_widths_of_layers_are_their_own():
    model, _ = problem("deep-relu")
    p = np.eye(4)[[0, 1, 0, 1]] * np.array([[1.0], [1], [2], [0.5]])
    found = effective_widths(map_units(model, p, p, 1))
    assert [each.width for each in found] == [4, 2]
    assert [each.layer for each in found] == [0, 1]
    assert found[1].groups.tolist() in ([0, 1, 0, 1], [1, 0, 1, 0])


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda model: width(model, 3), "has layers of units 0 to 2; got 3"),
        (lambda model: reduce_layers(model, effective_widths(model)[:2]), "3 layers of units; got 2 widths"),
        (
            lambda model: embed(model, "ii", layer=1).then(embed(model, "ii", layer=0)),
            "embeddings of different layers, 1 and 0",
        ),
        (lambda _: Deep(Dense(relu, inputs=2), widths=(), scale=1.0, key=jax.random.key(0)), "a width for each layer"),
        (
            lambda _: Deep(Dense(relu, inputs=2), widths=(3, 0), scale=1.0, key=jax.random.key(0)),
            "width 1 must be at least 1",
        ),
        (
            lambda _: Deep(
                LinearAttention(inputs=2), widths=(3, 3), scale=1.0, activation=(relu, relu), key=jax.random.key(0)
            ),
            "1 layers above the first need one activation each; got 2",
        ),
        (
            lambda _: SkipConnected(relu, inputs=2, width=3, outputs=1, skip=3, scale=1.0, key=jax.random.key(0)),
            "got skip=3, layers=4",
        ),
        (
            lambda _: with_units(problem("skip-1").model, jnp.ones((2, 5)), jnp.ones((2, 6))),
            "feed on each other",
        ),
    ],
)
def test_what_does_not_fit_is_refused(build, words):
    with pytest.raises(ValueError, match=words):
        build(problem("deep-linear").model)


def test_units_must_be_declared_as_units():
    class Wrong(eqx.Module):
        units: tuple = ("first", "second")

    with pytest.raises(ValueError, match="a tuple of them, one for each layer; got str"):
        layers_of(Wrong())


@pytest.mark.slow
def test_biases_belong_to_units_and_the_offset_to_none():
    model, _ = problem("deep-tanh-with-biases")
    # Three units of 2 weights, a bias and 4 outputs; four of 3 weights, a bias and an output.
    assert [unit_vectors(model, layer).shape for layer in (0, 1)] == [(3, 2 + 1 + 4), (4, 3 + 1 + 1)]
    assert flatten(model).size == 3 * 7 + 4 * 2 + 1
