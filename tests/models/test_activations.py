"""Laws of activations: those stated are those that their values show, and wrong ones raise with a sample."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saddlescope import models
from saddlescope.analysis import embed
from saddlescope.flows import flatten, half_squared_error
from saddlescope.models import Activation, Dense, TwoLayer, UnitLaw, leaky_relu
from saddlescope.models.activation_law import law_of_function

ZOO = [value for value in vars(models).values() if isinstance(value, Activation)]
ZOO += [leaky_relu(slope) for slope in (-1.0, 0.0, 0.3, 1.0, 2.0)]


@pytest.mark.parametrize("activation", ZOO, ids=lambda activation: activation.name)
def test_the_stated_law_is_the_one_that_shows(activation):
    assert law_of_function(activation.function) == activation.law
    # And given, it is confirmed.
    assert Activation(activation.name, activation.function, law=activation.law).law == activation.law


def test_the_zoo_is_whole():
    wanted = "linear relu quadratic cubic tanh sine erf gelu x-tanh-x sigmoid softplus"
    assert {activation.name for activation in ZOO} >= set(wanted.split())


@settings(max_examples=5)
@given(p=st.integers(1, 6), size=st.floats(1e-3, 1e3), sign=st.sampled_from([-1.0, 1.0]))
def test_powers(p, size, sign):
    """c xᵖ is homogeneous over the reals; c |x|ᵖ too for even p, otherwise for positive factors, and smooth from 3."""
    power = law_of_function(lambda x: sign * size * x**p)
    assert power == UnitLaw(zero=True, degree=p, field="real", linear=p == 1, smooth=True, order=p)
    modulus = law_of_function(lambda x: sign * size * jnp.abs(x) ** p)
    assert modulus == UnitLaw(
        zero=True, degree=p, field="real" if p % 2 == 0 else "nonnegative", linear=False, smooth=p > 1, order=p
    )


@pytest.mark.parametrize(
    ("function", "law"),
    [
        (lambda x: jnp.cos(x) - 1, UnitLaw(zero=True, order=2)),
        (lambda x: jnp.tanh(x) - x, UnitLaw(zero=True, order=3)),
        (jax.nn.silu, UnitLaw(zero=True)),
        (jax.nn.elu, UnitLaw(zero=True, smooth=False)),  # its slope is 1 on both sides of zero, its curvature jumps
        (jax.nn.relu6, UnitLaw(zero=True, smooth=False)),
        (lambda x: jax.nn.relu(x) ** 2, UnitLaw(zero=True, degree=2, field="nonnegative", smooth=False, order=2)),
        (jnp.cos, UnitLaw(zero=False, order=0)),
        (lambda x: jnp.abs(x - 1), UnitLaw(zero=False, order=0, smooth=False)),
    ],
)
def test_functions_of_a_user(function, law):
    assert Activation("mine", function).law == law


@pytest.mark.parametrize(
    ("function", "law", "words"),
    [
        (jax.nn.sigmoid, UnitLaw(zero=True), r"states zero=True, but σ\(0\) = 0\.5"),
        (
            jnp.tanh,
            UnitLaw(zero=True, degree=1, linear=True),
            r"degree=1 over real factors, but σ\(.*\) = .* and \(.*\)\^1·σ\(",
        ),
        (jax.nn.relu, UnitLaw(zero=True, degree=1, smooth=False), r"over real factors, but σ\(-1·.*\) = 0 and"),
        (
            jax.nn.relu,
            UnitLaw(zero=True, degree=1, field="nonnegative"),
            "smooth=True, but its slope jumps at x = .*e-1",
        ),
        (jax.nn.relu6, UnitLaw(zero=True), "its slope jumps at x = (6|.*e-1)"),
        (jnp.square, UnitLaw(zero=True), r"states order=1, but near zero it goes as x\^2"),
        (jnp.tanh, UnitLaw(zero=False, order=0), r"states order=0, but near zero it goes as x\^1"),
    ],
)
def test_false_laws_raise_with_a_sample(function, law, words):
    with pytest.raises(ValueError, match=words):
        Activation("mine", function, law=law)


def test_a_law_may_state_less_than_holds():
    assert Activation("modest", jnp.tanh, law=UnitLaw(zero=True, smooth=False)).law.smooth is False
    assert Activation("modest", lambda x: 2 * x, law=UnitLaw(zero=True)).law.embedding == "ii"


def test_functions_that_are_no_activations_raise():
    with pytest.raises(ValueError, match="acts on every entry by itself"):
        Activation("mine", jnp.sum)
    with pytest.raises(ValueError, match="must be finite everywhere; its value at .* is nan"):
        Activation("mine", jnp.sqrt)
    with pytest.raises(ValueError, match="does not show in its values; state its UnitLaw"):
        Activation("mine", lambda x: jax.nn.relu(x - 1) ** 3)
    # A stated law is accepted.
    assert Activation("mine", lambda x: jax.nn.relu(x - 1) ** 3, law=UnitLaw(zero=True, order=3)).law.order == 3


@pytest.mark.parametrize("enabled", [False, True])
def test_the_law_does_not_depend_on_the_precision_in_use(enabled):
    with jax.enable_x64(enabled):
        assert law_of_function(jnp.tanh) == UnitLaw(zero=True)
        assert jnp.zeros(1).dtype == (jnp.float64 if enabled else jnp.float32)


def test_a_determined_law_embeds():
    """A user's function of degree 1: units can be repeated in proportion, with the narrow network's gradient."""
    mine = Activation("mine", lambda x: jnp.where(x > 0, 2 * x, -0.5 * x))
    narrow = TwoLayer(Dense(mine, inputs=2, outputs=1), width=2, scale=1.0, key=jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (9, 2))
    data = x, jnp.sin(x[:, :1])
    wide = embed(narrow, "iii", gamma_u=1.7, gamma_v=0.4).wide()
    np.testing.assert_allclose(jax.vmap(wide)(x), jax.vmap(narrow)(x), atol=1e-14)
    gradient = eqx.filter_jit(jax.grad(half_squared_error))
    gradients = [gradient(model, data) for model in (narrow, wide)]
    np.testing.assert_allclose(gradients[1].u[2], 0.4 * gradients[0].u[0], atol=1e-14)
    assert flatten(wide).size == 9
