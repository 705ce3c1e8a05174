"""Kind, order, index and nullity are the same in any units and coordinates: laws over the family of known points."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from saddlescope.analysis import classify, critical_point
from saddlescope.flows import Landscape, half_squared_error, simulate
from saddlescope.flows.losses.declaration import declares
from saddlescope.models import Dense, TwoLayer, linear, quadratic, tanh
from saddlescope.models.units import with_units

from architectures import MODELS, normal, problem
from architectures import names as architectures
from known_points.family import BASES
from known_points.functions import FUNCTIONS, function_point
from known_points.polynomials import polynomial, polynomial_point
from known_points.record import Truth

# A draw is small and tells by itself; shrinking would classify thousands of points.
law = settings(phases=(Phase.explicit, Phase.generate))
SIZE = 3
# Of one number of variables, so that all draws are one program.
SMALL = [base for base in BASES if len(polynomial(base.formula, tuple(base.at)).gens) + base.flat <= SIZE]
bases = st.sampled_from([base for base in SMALL if not base.open])
exponents = lambda decades: st.floats(-decades, decades).map(lambda exponent: 10.0**exponent)  # noqa: E731
loss_units, weight_units = exponents(12), exponents(6)
constants = st.floats(-100, 100)
seeds = st.integers(0, 10_000)


def said_of(landscape) -> Truth:
    kind = classify(critical_point(landscape))
    return Truth(kind.name, kind.order, kind.index, kind.nullity)


def said(case) -> Truth:
    return said_of(case.make())


@pytest.mark.slow
@law
@given(bases, loss_units)
def test_the_unit_of_the_loss(base, unit):
    assert said(polynomial_point(base, size=SIZE, loss_unit=unit)) == said(polynomial_point(base, size=SIZE))


@pytest.mark.slow
@law
@given(bases, weight_units)
def test_the_unit_of_the_weights(base, unit):
    assert said(polynomial_point(base, size=SIZE, weight_unit=unit)) == said(polynomial_point(base, size=SIZE))


@pytest.mark.slow
@law
@given(bases, constants)
def test_a_constant(base, constant):
    assert said(polynomial_point(base, size=SIZE, constant=constant)) == said(polynomial_point(base, size=SIZE))


@pytest.mark.slow
@law
@given(bases, seeds.map(lambda seed: 2 * seed))
def test_rotations_and_another_origin(base, seed):
    assert said(polynomial_point(base, size=SIZE, seed=seed)) == said(polynomial_point(base, size=SIZE))


@pytest.mark.slow
@law
@given(bases, st.permutations(range(SIZE)), st.lists(st.sampled_from([-1.0, 1.0]), min_size=SIZE, max_size=SIZE))
def test_permutations_and_reflections(base, order, signs):
    matrix = np.eye(SIZE)[list(order)] * np.array(signs)
    plain = polynomial_point(base, size=SIZE)
    assert said(polynomial_point(base, size=SIZE, rotation=matrix)) == said(plain)


@pytest.mark.slow
@law
@given(bases, loss_units, weight_units, constants, seeds)
def test_all_at_once(base, loss_unit, weight_unit, constant, seed):
    """Also in bent coordinates, which change no kind, order, index or nullity."""
    units = {"loss_unit": loss_unit, "weight_unit": weight_unit, "constant": constant}
    assert said(polynomial_point(base, size=SIZE, seed=seed, **units)) == said(polynomial_point(base, size=SIZE))


@pytest.mark.slow
@law
@given(st.sampled_from(FUNCTIONS), loss_units, weight_units, constants, seeds)
def test_functions_that_are_no_polynomials(function, loss_unit, weight_unit, constant, seed):
    terms, base = function
    plain = said(function_point(terms, base))
    assert said(
        function_point(terms, base, seed=seed, loss_unit=loss_unit, weight_unit=weight_unit, constant=constant)
    ) == (plain)


# Compilation is what these tests cost: a strict, a non-smooth and a degenerate saddle are fast.
COSTLY = set(MODELS) - {"linear", "relu-conv", "quadratic"}


def rescaled(unit, constant):
    """c (L + k), the constants as arrays, so that all are one program."""
    c, k = jnp.asarray(unit), jnp.asarray(constant)
    declared = declares(lower_bound=unit * constant, convex=True)
    return declared(lambda model, data: c * (half_squared_error(model, data) + k))


def saddle_of(name):
    """The origin, where flows from small weights begin."""
    model, data = problem(name)
    return jax.tree.map(lambda leaf: 0 * leaf if eqx.is_inexact_array(leaf) else leaf, model), data


@pytest.mark.parametrize("name", architectures(costly=COSTLY))
@pytest.mark.fast_for("linear")
def test_the_first_saddle_of_every_architecture(name):
    model, data = saddle_of(name)
    plain = said_of(Landscape(model, half_squared_error, data))
    assert plain.name != "minimum"
    for unit, constant in ((1e-12, 1.0), (1e-6, 0.0), (1e12, -1.0)):
        assert said_of(Landscape(model, rescaled(unit, constant), data)) == plain, (unit, constant)


@pytest.mark.parametrize("activation", [linear, tanh, quadratic], ids=lambda activation: activation.name)
@pytest.mark.fast_for("linear")
def test_a_saddle_between_two_transitions(activation):
    """One unit at its best, the others dormant; in any order of the units, and in other units of the loss."""
    x, y = np.asarray(normal(5, 12, 2)), np.asarray(normal(6, 12, 1))
    dense = Dense(activation, inputs=2)
    flow = simulate(
        TwoLayer(dense, width=1, scale=0.1, key=jax.random.key(1)), half_squared_error, (x, y), t1=1e4, rtol=1e-9
    )
    narrow = critical_point(Landscape(flow.final_model, half_squared_error, (x, y))).model
    kinds = []
    for place, unit in ((0, 1.0), (2, 1.0), (1, 1e-9), (0, 1e9)):
        u, v = (np.zeros((3, size)) for size in (2, 1))
        u[place], v[place] = narrow.u[0], narrow.v[0]
        wide = with_units(TwoLayer(dense, width=3, scale=0.0, key=jax.random.key(0)), u, v)
        kinds.append(said_of(Landscape(wide, rescaled(unit, 0.0), (x, y))))
    assert kinds[0].name == "strict saddle" or activation is not tanh
    assert set(kinds) == {kinds[0]}
