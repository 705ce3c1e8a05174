"""Kind, order, index and nullity are the same in any units and coordinates: laws over the family of known points."""

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from saddlescope.analysis import classify, critical_point

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


def said(case) -> Truth:
    kind = classify(critical_point(case.make()))
    return Truth(kind.name, kind.order, kind.index, kind.nullity)


@law
@given(bases, loss_units)
def test_the_unit_of_the_loss(base, unit):
    assert said(polynomial_point(base, size=SIZE, loss_unit=unit)) == said(polynomial_point(base, size=SIZE))


@law
@given(bases, weight_units)
def test_the_unit_of_the_weights(base, unit):
    assert said(polynomial_point(base, size=SIZE, weight_unit=unit)) == said(polynomial_point(base, size=SIZE))


@law
@given(bases, constants)
def test_a_constant(base, constant):
    assert said(polynomial_point(base, size=SIZE, constant=constant)) == said(polynomial_point(base, size=SIZE))


@law
@given(bases, seeds.map(lambda seed: 2 * seed))
def test_rotations_and_another_origin(base, seed):
    assert said(polynomial_point(base, size=SIZE, seed=seed)) == said(polynomial_point(base, size=SIZE))


@law
@given(bases, st.permutations(range(SIZE)), st.lists(st.sampled_from([-1.0, 1.0]), min_size=SIZE, max_size=SIZE))
def test_permutations_and_reflections(base, order, signs):
    matrix = np.eye(SIZE)[list(order)] * np.array(signs)
    plain = polynomial_point(base, size=SIZE)
    assert said(polynomial_point(base, size=SIZE, rotation=matrix)) == said(plain)


@law
@given(bases, loss_units, weight_units, constants, seeds)
def test_all_at_once(base, loss_unit, weight_unit, constant, seed):
    """Also in bent coordinates, which change no kind, order, index or nullity."""
    units = {"loss_unit": loss_unit, "weight_unit": weight_unit, "constant": constant}
    assert said(polynomial_point(base, size=SIZE, seed=seed, **units)) == said(polynomial_point(base, size=SIZE))


@law
@given(st.sampled_from(FUNCTIONS), loss_units, weight_units, constants, seeds)
def test_functions_that_are_no_polynomials(function, loss_unit, weight_unit, constant, seed):
    terms, base = function
    plain = said(function_point(terms, base))
    assert said(
        function_point(terms, base, seed=seed, loss_unit=loss_unit, weight_unit=weight_unit, constant=constant)
    ) == (plain)
