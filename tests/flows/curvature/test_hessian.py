"""The Hessian from its parts equals the one by differentiation, and is only used where it does."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.flows import Landscape, cross_entropy, half_squared_error, mean_squared_error
from saddlescope.flows.curvature.hessian import DenseHessian, hessian_of
from saddlescope.flows.curvature.structure import separate
from saddlescope.flows.curvature.unit_hessian import BATCH, UnitHessian
from saddlescope.flows.losses.statistics import reduced_data
from saddlescope.models import Dense, Slot, TwoLayer, UnitLaw, Units, tanh
from saddlescope.models.units import layers_of

from architectures import MODELS, NEW, problem

# The further architectures once each, by differentiation of the sample's loss.
CASES = [pytest.param(name, False) for name in MODELS if name not in NEW]
CASES += [
    pytest.param(name, True, marks=() if name in {"linear", "quadratic", "attention"} else pytest.mark.slow)
    for name in MODELS
    if name not in NEW
]
# Of structure: interacting units, heads that share a softmax, a sum within a layer.
QUICK = {"deep-relu", "softmax-attention", "skip-1"}
CASES += [pytest.param(name, False, marks=() if name in QUICK else pytest.mark.slow) for name in sorted(NEW)]


@pytest.mark.parametrize(("name", "reduced"), CASES)
@pytest.mark.fast_for("linear-False", "linear-True", "quadratic-False", "sine-False", "skip-1-False", "tanh-False")
def test_the_parts_make_the_hessian(name, reduced):
    model, data = problem(name)
    loss = half_squared_error
    if reduced:
        loss, data = reduced_data(model, loss, data)
        if loss is half_squared_error:
            pytest.skip("no smaller statistics: the same case as the sample's")
    landscape = Landscape(model, loss, data)
    hessian = hessian_of(landscape)
    # In deep networks the first layer's units may act on each other, as is found out.
    assert isinstance(hessian, UnitHessian) or len(layers_of(model)) != 1
    expected = jax.jit(jax.hessian(landscape.value))(landscape.theta)
    found = eqx.filter_jit(hessian)(landscape.theta)
    np.testing.assert_allclose(found, expected, atol=1e-12 * float(jnp.max(jnp.abs(expected))))


class Bent(eqx.Module):
    """Neurons beside parameters of no unit, in which the outputs are curved as well, and which act on the units."""

    gains: jax.Array
    incoming: jax.Array
    outgoing: jax.Array

    @property
    def units(self):
        slots = Slot(lambda model: model.incoming), Slot(lambda model: model.outgoing, axis=1)
        return Units(incoming=slots[:1], outgoing=slots[1:], law=UnitLaw(zero=True))

    def __call__(self, x):
        hidden = self.gains[0] * (self.outgoing @ jnp.tanh(self.incoming @ x))
        return hidden + jnp.sin(self.gains[1] * x) + self.gains[1] * self.gains[2] ** 2


def test_parameters_of_no_unit_have_rows_of_their_own():
    generator = np.random.default_rng(0)
    arrays = (jnp.asarray(generator.standard_normal(shape)) for shape in ((3,), (4, 2), (2, 4)))
    x = generator.standard_normal((9, 2))
    landscape = Landscape(Bent(*arrays), half_squared_error, (x, np.cos(x)))
    hessian = hessian_of(landscape)
    assert isinstance(hessian, UnitHessian) and hessian.others.size == 3 and separate(hessian)
    expected = eqx.filter_jit(DenseHessian(landscape))(landscape.theta)
    found = eqx.filter_jit(hessian)(landscape.theta)
    np.testing.assert_allclose(found, expected, atol=1e-12 * float(jnp.max(jnp.abs(expected))))


class HardlyCoupled(Bent):
    """The same with a weak product of two units: a term between their parameters that is in no unit's part."""

    coupling: float = eqx.field(static=True, default=0.0)

    def __call__(self, x):
        hidden = jnp.tanh(self.incoming @ x)
        return super().__call__(x) + self.coupling * hidden[0] * hidden[1]


@pytest.mark.parametrize(("coupling", "kind"), [(0.0, UnitHessian), (1e-6, DenseHessian)])
def test_units_that_hardly_act_on_each_other_do(coupling, kind):
    generator = np.random.default_rng(0)
    arrays = (jnp.asarray(generator.standard_normal(shape)) for shape in ((3,), (4, 2), (2, 4)))
    x = generator.standard_normal((9, 2))
    model = HardlyCoupled(*arrays, coupling=coupling)
    assert type(hessian_of(Landscape(model, half_squared_error, (x, np.cos(x))))) is kind


def test_batches_of_samples_make_the_same_hessian():
    model = TwoLayer(Dense(tanh, inputs=2, outputs=2), width=3, scale=1.0, key=jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (2 * BATCH + 5, 2))
    landscape = Landscape(model, mean_squared_error, (x, jnp.sin(x)))
    hessian = hessian_of(landscape)
    # Otherwise the structure was not confirmed, and one Hessian by differentiation compared with another.
    assert isinstance(hessian, UnitHessian)
    expected = eqx.filter_jit(DenseHessian(landscape))(landscape.theta)
    found = eqx.filter_jit(hessian)(landscape.theta)
    np.testing.assert_allclose(found, expected, atol=1e-12 * float(jnp.max(jnp.abs(expected))))


@pytest.mark.parametrize("targets", ["distributions", "labels", "weights"])
@pytest.mark.fast_for("labels", "weights")
def test_cross_entropy(targets):
    """With its second derivatives in the logits."""
    model = TwoLayer(Dense(tanh, inputs=2, outputs=3), width=3, scale=1.0, key=jax.random.key(0))
    generator = np.random.default_rng(1)
    x, y = generator.standard_normal((20, 2)), generator.dirichlet(np.ones(3), 20)
    data = (x, np.argmax(y, axis=1)) if targets == "labels" else (x, y)
    data = (*data, np.arange(20.0)) if targets == "weights" else data
    landscape = Landscape(model, cross_entropy, jax.device_put(data))
    hessian = hessian_of(landscape)
    assert isinstance(hessian, UnitHessian)
    expected = eqx.filter_jit(DenseHessian(landscape))(landscape.theta)
    found, gradient = eqx.filter_jit(hessian.with_gradient)(landscape.theta)
    np.testing.assert_allclose(found, expected, atol=1e-12 * float(jnp.max(jnp.abs(expected))))
    np.testing.assert_allclose(gradient, landscape.gradient(landscape.theta), atol=1e-14)


class Coupled(TwoLayer):
    """Declares units, wrongly: they multiply."""

    def __call__(self, x):
        return super().__call__(x) ** 2


def test_units_that_interact_are_found_out():
    model = Coupled(Dense(tanh, inputs=2, outputs=1), width=3, scale=1.0, key=jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (10, 2))
    assert isinstance(hessian_of(Landscape(model, mean_squared_error, (x, x[:, :1]))), DenseHessian)


def test_other_losses_are_differentiated():
    model, data = problem("tanh")

    def quartic(model, data):
        return jnp.mean((jax.vmap(model)(data[0]) - data[1]) ** 4)

    landscape = Landscape(model, quartic, data)
    hessian = hessian_of(landscape)
    assert isinstance(hessian, DenseHessian)
    expected = jax.jit(jax.hessian(landscape.value))(landscape.theta)
    np.testing.assert_allclose(hessian(landscape.theta), expected, atol=1e-12)
