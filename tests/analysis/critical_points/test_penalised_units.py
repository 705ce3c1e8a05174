"""Units whose weights are penalised: small ones lower the loss only where what they add outweighs the penalty."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis import added_unit_form, classify, critical_point, itinerary
from saddlescope.flows import Landscape, half_squared_error, simulate
from saddlescope.models import Dense, TwoLayer, relu

# One sample: the form of an added ReLU unit is −s max(u, 0) v with s = |x| y, in the direction of x.
X, Y = np.array([[1.2, 1.6]]), np.array([[1.5]])
STRENGTH = 2.0 * 1.5


def squares(model):
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array)))


def penalised(decay):
    def loss(model, data):
        return 0.5 * jnp.mean((jax.vmap(model)(data[0]) - data[1]) ** 2) + decay / 2 * squares(model)

    return loss


def network(depth, activation, scale=0.0):
    model = eqx.nn.MLP(2, 1, 3, depth, activation, use_bias=False, use_final_bias=False, key=jax.random.PRNGKey(0))
    return jax.tree.map(lambda leaf: scale * leaf if eqx.is_inexact_array(leaf) else leaf, model)


def kind_at_zero(depth, activation, decay):
    return classify(critical_point(Landscape(network(depth, activation), penalised(decay), (X, Y))))


@pytest.mark.parametrize("decay", [0.5, pytest.param(2.5, marks=pytest.mark.slow)])
def test_a_small_unit_lowers_the_loss_by_what_the_penalty_leaves(decay):
    """F(u, v) = −s max(û·u, 0) v + λ (|u|² + v²) / 2, least at |u| = |v|: −(s − λ) / 2 on the unit sphere."""
    kind = kind_at_zero(1, jax.nn.relu, decay)
    assert kind.name == "non-smooth saddle" and kind.order == 2
    assert kind.added_unit_form.steepest == pytest.approx((STRENGTH - decay) / 2, rel=1e-9)
    assert kind.added_unit_form.rate == pytest.approx(STRENGTH - decay, rel=1e-9)


@pytest.mark.parametrize("decay", [3.1, pytest.param(30.0, marks=pytest.mark.slow)])
def test_zero_is_a_minimum_where_the_penalty_outweighs_the_unit(decay):
    kind = kind_at_zero(1, jax.nn.relu, decay)
    assert kind.name == "minimum" and kind.added_unit_form.rises == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("depth", "activation"), [(1, jnp.square), (1, lambda z: jax.nn.relu(z) ** 2), (2, jax.nn.relu)]
)
def test_forms_of_third_order_do_not_outweigh_any_penalty(depth, activation):
    """The loss is λ |θ|² / 2 + O(|θ|³)."""
    assert kind_at_zero(depth, activation, 1e-3).name == "minimum"
    assert kind_at_zero(depth, activation, 0.0).name == "degenerate saddle"


def test_a_flow_into_zero_ends_in_a_minimum_of_no_units():
    (visit,) = itinerary(simulate(network(1, jax.nn.relu, 1e-2), penalised(4.0), (X, Y), t1=1e3))
    assert visit.kind.name == "minimum" and visit.effective_width.width == 0


def test_the_form_of_the_outputs_alone_is_refused():
    model = TwoLayer(Dense(relu, inputs=2), width=2, scale=0.0, key=jax.random.PRNGKey(0))
    loss = lambda model, data: half_squared_error(model, data) + 0.1 * squares(model)  # noqa: E731
    with pytest.raises(ValueError, match="weight decay.*added_units_form"):
        added_unit_form(Landscape(model, loss, (X, Y)))
    assert added_unit_form(Landscape(model, half_squared_error, (X, Y))).strength == pytest.approx(STRENGTH, rel=1e-9)


class Gated(eqx.Module):
    """Rectified gates: units of order 3."""

    value: jax.Array
    gate: jax.Array
    out: jax.Array

    def __call__(self, x):
        return ((self.value @ x) * jax.nn.relu(self.gate @ x)) @ self.out


class Pooled(eqx.Module):
    """Rectified channels, averaged over places."""

    channels: eqx.nn.Conv1d
    out: eqx.nn.Linear

    def __call__(self, x):
        return self.out(jax.nn.relu(self.channels(x[None])).mean(-1))


KEY = jax.random.PRNGKey(0)
MODELS = {
    "rectified": lambda: eqx.nn.MLP(4, 1, 3, 1, key=KEY),
    "elu": lambda: eqx.nn.MLP(4, 1, 3, 1, jax.nn.elu, key=KEY),
    "two hidden layers": lambda: eqx.nn.MLP(4, 1, 3, 2, use_bias=False, use_final_bias=False, key=KEY),
    "gelu": lambda: eqx.nn.MLP(4, 1, 3, 1, jax.nn.gelu, key=KEY),
    "gated": lambda: Gated(jnp.zeros((3, 4)), jnp.zeros((3, 4)), jnp.zeros((3, 1))),
    "convolution": lambda: Pooled(eqx.nn.Conv1d(1, 3, 2, key=KEY), eqx.nn.Linear(3, 1, key=KEY)),
}


@pytest.mark.slow
@pytest.mark.parametrize("decay", [0.02, 0.2, 2.0])
@pytest.mark.parametrize("name", MODELS)
def test_zero_is_what_descent_from_beside_it_says(name, decay):
    """Descent from 1e-4 beside a minimum leads back; from beside a saddle the loss falls by more than 1e-7."""
    random = np.random.default_rng(3)
    x = random.standard_normal((16, 4))
    y = np.tanh(x @ [1, -0.5, 0.2, 0]) + 0.3 * np.abs(x[:, 1])
    model = jax.tree.map(lambda leaf: 0 * leaf if eqx.is_inexact_array(leaf) else leaf, MODELS[name]())
    point = critical_point(Landscape(model, penalised(decay), (x, y[:, None])))
    kind, landscape, fall = classify(point), point.landscape, 0.0
    for _ in range(6):
        theta = point.theta + 1e-4 * random.standard_normal(point.theta.size)
        for _ in range(1500):
            theta = theta - 0.05 * landscape.gradient(theta)
        fall = min(fall, float(landscape.value(theta)) - point.loss)
    assert kind.name in (("minimum",) if fall > -1e-7 else ("strict saddle", "non-smooth saddle")), kind
