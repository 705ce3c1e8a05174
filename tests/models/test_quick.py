"""Programs compiled without optimisation: for small landscapes, with the same values, wherever they are called."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.flows import Landscape, half_squared_error
from saddlescope.models import Dense, TwoLayer, quick, tanh
from saddlescope.models.quick import Effort, by_effort, quickly_compiled

from architectures import normal, problem


def landscape_of(samples):
    """Ten tanh units on some samples."""
    model = TwoLayer(Dense(tanh, inputs=4), width=10, scale=1.0, key=jax.random.key(0))
    return Landscape(model, half_squared_error, (normal(0, samples, 4), normal(1, samples, 1)))


def test_much_data_are_worth_an_optimised_program():
    efforts = [landscape_of(samples).effort for samples in (100, 2_000, 10_000)]
    assert efforts == [Effort.LITTLE, Effort.SOME, Effort.FULL]


def test_the_rounds_of_a_loop_are_run_each_and_compiled_once():
    """A thousand rounds of a hundred numbers are not small, though the program is short; many operations are."""

    def iterated(rounds):
        step = lambda point, _: (jnp.sin(point), None)  # noqa: E731
        return lambda model, data: jnp.sum(jax.lax.scan(step, model, length=rounds)[0])

    def unrolled(model, data):
        for _ in range(1000):
            model = jnp.sin(model)
        return jnp.sum(model)

    start = jnp.ones(100)
    assert Landscape(start, iterated(10), None).small
    assert not Landscape(start, iterated(1000), None).small
    assert Landscape(start, unrolled, None).small


@pytest.mark.parametrize("effort", Effort)
def test_the_effort_changes_no_value(effort):
    matrix = normal(0, 20, 20)
    function = lambda x: jnp.tanh(x @ x.T)  # noqa: E731
    np.testing.assert_allclose(by_effort(function)[effort](matrix), np.tanh(matrix @ matrix.T), rtol=1e-13)


@pytest.mark.parametrize("name", ["tanh", "softmax-attention"])
def test_values_are_those_of_optimised_programs(name):
    model, data = problem(name)
    landscape = Landscape(model, half_squared_error, data)
    theta = jnp.asarray(landscape.theta)
    value, gradient = jax.jit(lambda theta: (landscape.value(theta), landscape.gradient(theta)))(theta)
    assert landscape.small
    np.testing.assert_allclose(landscape.value(theta), value, rtol=1e-13)
    np.testing.assert_allclose(landscape.gradient(theta), gradient, rtol=1e-11, atol=1e-13)


def test_transformations_go_through():
    square = quickly_compiled(lambda x: x**2)
    assert square(3.0) == 9.0
    np.testing.assert_array_equal(jax.vmap(square)(jnp.arange(3.0)), [0.0, 1.0, 4.0])
    assert jax.grad(square)(3.0) == 6.0
    assert jax.jit(lambda x: 2 * square(x))(3.0) == 18.0


@pytest.fixture
def another_compiler(monkeypatch):
    unoptimised = {"xla_backend_optimization_level": 0}
    options = ({"xla_no_such_option": True, **unoptimised}, unoptimised, {})
    monkeypatch.setitem(quick._OPTIONS, Effort.LITTLE, options)
    quick._known_options.cache_clear()
    yield unoptimised
    quick._known_options.cache_clear()


def test_options_are_those_that_the_compiler_knows(another_compiler):
    assert quickly_compiled(lambda x: x + 1.0)(1.0) == 2.0
    assert quick._known_options(Effort.LITTLE) == another_compiler
