"""A filter chooses the weights; what it leaves out is constant."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.flows import Landscape, half_squared_error, simulate
from saddlescope.models import partly_trainable

X = np.random.default_rng(0).integers(0, 5, (12, 2))
Y = np.random.default_rng(1).standard_normal((12, 1))


class Embedded(eqx.Module):
    """The sum of two words' vectors, through one linear layer."""

    words: jax.Array
    out: jax.Array

    def __call__(self, x):
        return self.out @ jnp.sum(self.words[x], axis=0)


class Readout(eqx.Module):
    """The same with given vectors, as its own input."""

    out: jax.Array

    def __call__(self, z):
        return self.out @ z


def embedded():
    random = np.random.default_rng(2)
    return Embedded(jnp.asarray(random.standard_normal((5, 3))), jnp.asarray(0.1 * random.standard_normal((1, 3))))


ONLY_OUT = Embedded(words=False, out=True)


def test_a_frozen_embedding_is_one_given_as_input():
    """Two independent computations of the same flow: constants in the model, and in the data."""
    model = embedded()
    settings = {"t1": 3.0, "reduce_data": False}
    flow = simulate(model, half_squared_error, (X, Y), trainable=ONLY_OUT, **settings)
    vectors = np.sum(np.asarray(model.words)[X], axis=1)
    alone = simulate(Readout(model.out), half_squared_error, (vectors, Y), **settings)
    assert flow.thetas.shape[1] == 3
    np.testing.assert_allclose(flow.thetas[-1], alone.thetas[-1], rtol=1e-9)
    np.testing.assert_array_equal(flow.final_model.model.words, model.words)
    np.testing.assert_array_equal(flow.final_model.model.out.ravel(), flow.thetas[-1])


def test_the_landscape_of_a_part_is_a_section_of_the_whole():
    model = embedded()
    part = Landscape(*partly_trainable(model, half_squared_error, ONLY_OUT), (X, Y))
    whole = Landscape(model, half_squared_error, (X, Y))
    np.testing.assert_allclose(part.gradient(part.theta), whole.gradient(whole.theta)[-3:], rtol=1e-12)
    block = whole.hessian(whole.theta)[-3:, -3:]
    np.testing.assert_allclose(part.hessian(part.theta), block, rtol=1e-12, atol=1e-14)


def test_a_function_of_leaves_is_a_filter_too():
    part, _ = partly_trainable(embedded(), half_squared_error, lambda leaf: eqx.is_array(leaf) and len(leaf) == 5)
    assert part.weights.out is None and part.weights.words.shape == (5, 3)


@pytest.mark.parametrize(
    ("trainable", "message"),
    [(Embedded(words=False, out=False), "chooses no floating-point array"), ({"out": True}, "PyTree of bools")],
)
def test_filters_that_do_not_fit_are_refused(trainable, message):
    with pytest.raises(ValueError, match=message):
        simulate(embedded(), half_squared_error, (X, Y), t1=1.0, trainable=trainable)
