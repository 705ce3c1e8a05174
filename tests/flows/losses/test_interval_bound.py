"""Lower bounds that programs prove: by hand for common losses, never above a value that a loss takes."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.flows.losses.interval_bound import lowest_value

X = np.random.default_rng(0).standard_normal((6, 3))
WEIGHTS = np.array([0.5, 0.0, 2.0, 1.0, 1.0, 3.0])

# Losses of a matrix of outputs and of the sample's weights, and the largest bound that interval arithmetic proves.
PROVED = {
    "mean of squares": (lambda f, w: jnp.mean((f - X) ** 2), 0.0),
    "half of a sum": (lambda f, w: 0.5 * jnp.sum(jnp.square(f - X)), 0.0),
    "product with itself": (lambda f, w: jnp.sum((r := f - X) * r), 0.0),
    "inner product with itself": (lambda f, w: (r := jnp.ravel(f - X)) @ r / 6, 0.0),
    "einsum": (lambda f, w: jnp.einsum("ni,ni->", r := f - X, r) + 1, 1.0),
    "norms of samples": (lambda f, w: jnp.mean(jax.vmap(lambda r: r @ r)(f - X)) + 2.0, 2.0),
    "norm": (lambda f, w: jnp.linalg.norm(f - X), 0.0),
    "absolute": (lambda f, w: jnp.mean(jnp.abs(f - X)) - 1, -1.0),
    "masked": (lambda f, w: jnp.sum(jnp.where(w[:, None] > 0.7, (f - X) ** 2, 0.0)), 0.0),
    "weighted": (lambda f, w: jnp.sum(w[:, None] * (f - X) ** 2) / jnp.sum(w), 0.0),
    "with decay": (lambda f, w: jnp.mean((f - X) ** 2) + 0.1 * jnp.sum(f**2), 0.0),
    "huber": (lambda f, w: jnp.mean(jnp.where(jnp.abs(f) < 1, 0.5 * f**2, jnp.abs(f) - 0.5)), -0.5),
    "fourth powers": (lambda f, w: jnp.sum((f - 1.0) ** 4), 0.0),
    "bounded": (lambda f, w: jnp.sum(jnp.tanh(f)) + jnp.exp(f[0, 0]) + jax.nn.sigmoid(f[0, 0]), -18.0),
    "compiled": (lambda f, w: jax.jit(lambda g: jnp.mean((g - X) ** 2))(f), 0.0),
    "difference of squares": (lambda f, w: jnp.sum(f**2) - jnp.sum(f[0] ** 2), None),
    "linear": (lambda f, w: jnp.sum(f), None),
    "cubes": (lambda f, w: jnp.sum(f**3), None),
    "products": (lambda f, w: jnp.sum(f[:3] * f[3:]), None),
}


@pytest.mark.parametrize("name", PROVED)
def test_bounds_are_those_by_hand(name):
    function, bound = PROVED[name]
    program = eqx.filter_make_jaxpr(function)(X, WEIGHTS)[0]
    found = lowest_value(program.jaxpr, program.consts, [None, WEIGHTS])
    assert found == (None if bound is None else pytest.approx(bound))
    if bound is not None:
        draws = np.random.default_rng(1).standard_normal((50, *X.shape)) * 10.0 ** np.linspace(-3, 2, 50)[:, None, None]
        assert min(float(function(f, WEIGHTS)) for f in (X, 0 * X, *draws)) >= bound


def test_weights_of_either_sign_prove_nothing():
    program = eqx.filter_make_jaxpr(PROVED["weighted"][0])(X, WEIGHTS)[0]
    assert lowest_value(program.jaxpr, program.consts, [None, -WEIGHTS]) == 0.0  # both the sum and its divisor
    assert lowest_value(program.jaxpr, program.consts, [None, WEIGHTS - 1]) is None
    assert lowest_value(program.jaxpr, program.consts, [None, None]) is None
