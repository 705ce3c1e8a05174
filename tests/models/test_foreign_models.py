"""A user's own Equinox modules, with and without units."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from saddlescope.analysis import effective_width, itinerary, plot
from saddlescope.flows import half_squared_error, simulate
from saddlescope.models import Dense, Slot, TwoLayer, UnitLaw, Units, linear
from saddlescope.models.units import as_jax, with_units


class Transposed(eqx.Module):
    """A linear network with its units on the last axis of one array and the middle one of another."""

    first: Array  # inputs × units
    second: Array  # 1 × units × outputs

    @property
    def units(self):
        law = UnitLaw(zero=True, degree=1, linear=True)
        return Units(incoming=(Slot(_first, axis=1, degree=1),), outgoing=(Slot(_second, axis=1, degree=1),), law=law)

    def __call__(self, x):
        return self.second[0].T @ (self.first.T @ x)


def _first(model):
    return model.first


def _second(model):
    return model.second


class Plain(eqx.Module):
    """The same network without a declaration."""

    first: Array
    second: Array

    def __call__(self, x):
        return self.second[0].T @ (self.first.T @ x)


class Refusing(Plain):
    """The same, which only a loss of its own can call, so that no units are found."""

    def __call__(self, x):
        raise TypeError("call predict")

    def predict(self, x):
        return super().__call__(x)


def of_predictions(model, data):
    x, y = data
    return 0.5 * jnp.mean(jnp.sum((jax.vmap(model.predict)(x) - y) ** 2, axis=1))


@pytest.fixture(scope="module")
def flows():
    # Three units: symmetries of a model without declared units are sought among all affine maps of its parameters.
    ours = TwoLayer(Dense(linear, inputs=2, outputs=2), width=3, scale=1e-4, key=jax.random.key(0))
    first, second = as_jax(np.asarray(ours.u).T), as_jax(np.asarray(ours.v)[None])
    x = np.sqrt(2.0) * np.eye(2)
    data = x, x @ np.array([[2.0, 0.3], [0.1, 1.0]])
    models = ours, Transposed(first, second), Plain(first, second)
    flows = [simulate(model, half_squared_error, data, t1=40.0) for model in models]
    return [*flows, simulate(Refusing(first, second), of_predictions, data, t1=40.0)]


def test_the_flows_are_the_same(flows):
    for other in flows[1:]:
        np.testing.assert_allclose(other.losses[-1], flows[0].losses[-1], atol=1e-18)
        assert other.evaluate(7.0).sum() == pytest.approx(flows[0].evaluate(7.0).sum(), rel=1e-7)


@pytest.mark.parametrize("other", [1, 2], ids=["declared", "found"])
def test_declared_and_found_units_give_the_same_itinerary(flows, other):
    ours, theirs = itinerary(flows[0]), itinerary(flows[other])
    assert [visit.effective_width.width for visit in theirs] == [0, 1, 2]
    assert [visit.effective_width.embedding for visit in theirs] == 3 * ["iv"]
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.kind.name == other.kind.name
        assert mine.critical_point.loss == pytest.approx(other.critical_point.loss, rel=1e-10, abs=1e-20)
        spectra = mine.kind.spectrum, other.kind.spectrum
        np.testing.assert_allclose(spectra[0].eigenvalues, spectra[1].eigenvalues, atol=1e-8)


def test_without_units_everything_else_works(flows):
    ours, theirs = itinerary(flows[0]), itinerary(flows[3])
    assert [visit.effective_width for visit in theirs] == 3 * [None]
    assert [visit.kind.name for visit in theirs] == ["strict saddle", "strict saddle", "minimum"]
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.critical_point.loss == pytest.approx(other.critical_point.loss, rel=1e-8, abs=1e-15)
        assert mine.kind.spectrum.index == other.kind.spectrum.index
    text = str(theirs)
    assert "minimum" in text and "nan" not in text.lower()
    figure = plot(flows[3], theirs)
    assert len(figure.axes) == 3 + 3


def test_a_width_can_change_and_back():
    model = Transposed(jnp.ones((2, 3)), jnp.ones((1, 3, 2)))
    wider = with_units(model, jnp.ones((5, 2)), jnp.zeros((5, 2)))
    assert wider.first.shape == (2, 5) and wider.second.shape == (1, 5, 2)
    assert effective_width(model).width == 1


def test_slots_that_disagree_raise():
    with pytest.raises(ValueError, match="disagree on the number of units"):
        effective_width(Transposed(jnp.ones((2, 3)), jnp.ones((1, 4, 2))))
