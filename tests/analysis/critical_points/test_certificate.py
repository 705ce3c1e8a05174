r"""The certificate of Newton and Kantorovich where everything in it is known in closed form.

For one polynomial P at y it says $\eta = |P'/P''|$, $1/\beta = |P''|$, $K = |P'''|$ and $h = |P''' P'| / P''^2$. For
cubic P the theorem is sharp: on the one side its radius is the distance to the critical point, and $h = 1/2$ is where
two critical points merge and vanish.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from saddlescope.analysis import certificate, classify, critical_point, spectrum

from separable import rotation, separable, well


def certified(landscape, explained=True, **options):
    return certificate(landscape, landscape.theta, spectrum(landscape, **options), explained=explained)


def derivatives(row, y):
    """P′, P″ and P‴."""
    p = np.polynomial.Polynomial(row)
    return tuple(float(p.deriv(k)(y)) for k in (1, 2, 3))


def cubic(curvature, third):
    """λy²/2 + κy³/6, which has its critical points at 0 and −2λ/κ."""
    return [0.0, 0.0, curvature / 2, third / 6]


@pytest.mark.parametrize("seed", [None, 0])
def test_all_numbers_in_closed_form(seed):
    """Three double wells of different depths; K is that of the steepest, the gap that of the flattest."""
    rows, y = [well(1.0), well(3.0), well(0.5)], np.array([0.98, -0.03, -1.01])
    found = certified(separable(*rows, at=y, seed=seed))
    slopes, curvatures, thirds = map(np.array, zip(*map(derivatives, rows, y), strict=True))
    step, gap, bound = np.linalg.norm(slopes / curvatures), np.min(np.abs(curvatures)), np.max(np.abs(thirds))
    h = bound * step / gap
    assert found.residual == pytest.approx(np.linalg.norm(slopes), rel=1e-10)
    assert found.step == pytest.approx(step, rel=1e-10)
    assert found.gap == pytest.approx(gap, rel=1e-10)
    assert found.lipschitz == pytest.approx(bound, rel=1e-10)
    assert found.kantorovich == pytest.approx(h, rel=1e-10) and h < 0.5
    assert found.radius == pytest.approx((1 - np.sqrt(1 - 2 * h)) * gap / bound, rel=1e-9)
    assert (found.negative, found.positive) == (1, 2)
    assert found.exists and "a critical point within" in str(found)
    assert "K estimated as" in str(found) and "estimated signs: 1 negative, 2 positive" in str(found)


@pytest.mark.parametrize(("y", "distance"), [(0.7, 0.7), (-2.4, 0.4), (-0.1, None)])
def test_the_radius_is_the_distance_where_the_theorem_is_sharp(y, distance):
    """Cubic, with zeros at 0 and −2: from outside the radius is the distance to the nearer, from between more."""
    found = certified(separable(cubic(1.0, 1.0), [0, 0, 5.0], [0, 0, 5.0], at=(y, 0.0, 0.0), seed=1))
    assert found.exists
    if distance is None:
        assert found.radius > 1.05 * abs(y)
    else:
        assert found.radius == pytest.approx(distance, rel=1e-9)


@pytest.mark.parametrize("epsilon", [-1e-3, 1e-3])
def test_a_proof_ends_where_the_critical_point_does(epsilon):
    """P′ = ε + y²/2 has zeros for ε < 0 only, and h = 1/2 + ε/y², wherever one is."""
    for y in (-0.9, 0.3, 2.0):
        found = certified(separable([0.0, epsilon, 0.0, 1 / 6], at=(y, 0.0, 0.0), seed=2))
        # K, as the convex coordinates have none; the gap, as long as theirs is not smaller.
        assert found.kantorovich == pytest.approx((0.5 + epsilon / y**2) * max(abs(y), 1.0), rel=1e-9)
        if abs(y) > 1:
            continue
        assert found.exists == (epsilon < 0)
        if epsilon < 0:
            assert found.radius == pytest.approx(abs(abs(y) - np.sqrt(-2 * epsilon)), rel=1e-8)
        else:
            assert found.radius == np.inf and (found.negative, found.positive) == (0, 0)
            assert "numerical evidence only" in str(found)


@pytest.mark.parametrize("exponent", [3, 4])
def test_degenerate_points_cannot_be_proven(exponent):
    """Beside y = 0 of y^p: h = (p − 2)/(p − 1) at any distance, more than 1/2 for p ≥ 4, however small the gradient."""
    row = [0.0] * exponent + [1.0]
    for y in (1e-1, 1e-3):
        found = certified(separable(row, at=(y, 0.0, 0.0)), zero_threshold=0.0)
        assert found.kantorovich == pytest.approx((exponent - 2) / (exponent - 1), rel=1e-9)
        if exponent > 3:
            assert not found.exists and found.radius == np.inf and found.positive == found.negative == 0


def test_the_largest_third_derivative_is_found_where_power_iteration_does_not_settle():
    """Cubes along three directions 120° apart make a monkey saddle, D³L(d, d, d) = ¾ κ cos 3φ: the iteration takes the
    angle φ to −2φ and meets all of them."""
    angles = 2 * np.pi * np.arange(3) / 3
    axes = np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    found = certified(separable(*3 * (cubic(1.0, 4.0),), axes=axes, at=(1e-3, 0.0, 0.0)))
    assert found.lipschitz <= 3.0 * (1 + 1e-12) and found.lipschitz == pytest.approx(3.0, rel=1e-3)


@pytest.mark.parametrize("seed", [0, 1])
def test_quadratic_losses_are_always_proven(seed):
    """K = 0: h = 0 at any distance from the saddle, the radius is Newton's step, which leads there, all signs hold."""
    y = np.array([30.0, -20.0, 10.0])
    found = certified(separable([0, 0, -2.0], [0, 0, 0.3], [0, 0, 1.0], at=y, seed=seed))
    assert found.lipschitz == pytest.approx(0.0, abs=1e-12)
    assert found.exists and found.kantorovich == pytest.approx(0.0, abs=1e-9)
    assert found.radius == found.step == pytest.approx(np.linalg.norm(y), rel=1e-10)
    assert (found.negative, found.positive) == (1, 2)


def test_no_probe_contradicts_the_truth():
    """Random cubics at random points: a critical point lies within the radius, and has the estimated signs."""
    random, proven = np.random.default_rng(0), 0
    for seed in range(25):
        curvatures, thirds = random.choice([-1, 1], 3) * random.uniform(0.5, 2, 3), random.uniform(-2, 2, 3)
        y = random.uniform(-0.3, 0.3, 3)
        found = certified(separable(*map(cubic, curvatures, thirds), at=y, seed=seed))
        at_point = np.sign(curvatures + thirds * y)
        assert found.negative <= np.sum(at_point < 0) and found.positive <= np.sum(at_point > 0)
        if not found.exists:
            assert found.negative == found.positive == 0
            continue
        proven += 1
        # The nearest critical point takes the nearer of 0 and −2λ/κ in every coordinate.
        others = -2 * curvatures / thirds
        nearest = np.where(np.abs(y) < np.abs(y - others), 0.0, others)
        assert np.linalg.norm(y - nearest) <= found.radius * (1 + 1e-9)
        true = np.sign(curvatures + thirds * nearest)
        assert (found.negative, found.positive) == (np.sum(true < 0), np.sum(true > 0))
    assert 5 < proven < 20


NONZERO = st.floats(0.3, 3.0) | st.floats(-3.0, -0.3)


# Curvature, third derivative and distance from the critical point, for each coordinate.
ROW = st.tuples(NONZERO, NONZERO, st.floats(-0.2, 0.2))


@given(st.tuples(ROW, ROW, ROW), st.sampled_from([None, 1, 2]))
def test_the_radius_bounds_the_distance(rows, seed):
    """Cubics, whose third derivatives are constant: with K exact the theorem holds, and wherever it does the radius is
    no less than the distance to the critical point, whose eigenvalues have the signs."""
    curvatures, thirds, y = np.array(rows).T
    found = certified(separable(*map(cubic, curvatures, thirds), at=y, seed=seed))
    if found.step:
        assert found.lipschitz == pytest.approx(np.max(np.abs(thirds)), rel=1e-6)
    slopes, at_point = curvatures * y + thirds * y**2 / 2, curvatures + thirds * y
    h = np.max(np.abs(thirds)) * np.linalg.norm(slopes / at_point) / np.min(np.abs(at_point))
    assert found.kantorovich == pytest.approx(h, rel=1e-5, abs=1e-12)
    if not found.exists:
        assert found.radius == np.inf and found.negative == found.positive == 0
        return
    others = -2 * curvatures / thirds
    nearest = np.where(np.abs(y) < np.abs(y - others), 0.0, others)
    assert np.linalg.norm(y - nearest) <= found.radius * (1 + 1e-5) + 1e-14
    true = np.sign(curvatures + thirds * nearest)
    assert found.negative <= np.sum(true < 0) and found.positive <= np.sum(true > 0)


def test_what_rests_on_one_third_derivative_is_an_estimate():
    """P = ay + y²/2 - κy⁴/24 at 0, where P‴ = 0: K is estimated as 0, and the zero of P′ lies beyond the radius |a|."""
    a, kappa = 0.3, 4.0
    found = certified(separable([0.0, a, 0.5, 0.0, -kappa / 24], seed=1))
    assert found.exists and found.lipschitz == pytest.approx(0.0, abs=1e-12)
    distance = min(abs(root.real) for root in np.roots([-kappa / 6, 0.0, 1.0, a]) if abs(root.imag) < 1e-12)
    assert found.radius == pytest.approx(a) and distance > 1.05 * found.radius
    assert "estimated" in found.summary


def test_double_wells_around_every_critical_point():
    """Quartic, so that K at the point is evidence only; it suffices beside each of the wells' 27 critical points."""
    random = np.random.default_rng(1)
    for kinds in np.ndindex(3, 3, 3):
        target = np.array(kinds) - 1.0
        y = target + random.uniform(-0.03, 0.03, 3)
        found = certified(separable(well(1.0), well(2.0), well(1.0), at=y))
        assert found.exists and np.linalg.norm(y - target) <= found.radius < 0.2
        assert found.negative == np.sum(target == 0) and found.positive == 3 - found.negative


def test_far_from_a_critical_point_nothing_is_proven():
    """At the inflections of a double well its curvature vanishes, though the nearest critical point is not far."""
    for y in (0.55, 0.577, 0.6):
        found = certified(separable(well(), at=(y, 0.0, 0.0), seed=3))
        assert found.kantorovich > 0.5 and not found.exists
        assert found.radius == np.inf and found.negative == found.positive == 0
        assert "numerical evidence only" in str(found)


def test_signs_of_rounding_are_not_established():
    """A singular quadratic, rotated: its third eigenvalue is rounding, which no threshold takes for zero here."""
    for seed in range(4):
        found = certified(separable([0, 0, -1.0], [0, 0, 1.0], [0.0], seed=seed), zero_threshold=0.0)
        assert (found.negative, found.positive) == (1, 1)
    # Eigenvalues exact to the last bit, beside 1: rounding of a matrix of three is taken for 7e-15.
    for small, signs in ((1e-15, (0, 1)), (2e-14, (1, 2))):
        found = certified(separable([0, 0, small / 2], [0, 0, -small / 2], [0, 0, 0.5]), zero_threshold=0.0)
        assert found.gap == pytest.approx(small) and (found.negative, found.positive) == signs


def test_null_directions_count_neither_way():
    """A valley: the proof is about the space across it; it is one of a critical point if the null space is explained.

    The third derivative and the gradient along it do not enter the step."""
    rows = cubic(1.0, 1.0), [0, 0, -1.0], [0.0, 1e-3]
    landscape = separable(*rows, at=(0.3, 0.0, 0.0), seed=4)
    found, unexplained = certified(landscape), certified(landscape, explained=False)
    assert found.radius == pytest.approx(0.3, rel=1e-9)
    assert (found.negative, found.positive) == (1, 1)
    assert found.exists and not unexplained.exists and not unexplained.complete
    assert "beside the null space" in str(unexplained)
    assert unexplained.radius == found.radius and unexplained.kantorovich == found.kantorovich
    # Nothing but null directions: no step, no radius, no sign.
    flat = certified(separable([0.0], [0.0], [0.0]))
    assert (flat.step, flat.radius, flat.kantorovich, flat.negative, flat.positive) == (0, 0, 0, 0, 0)
    assert flat.gap == np.inf and flat.exists


def test_the_certificate_of_a_kind_is_that_of_its_point():
    """Asked of a kind: complete where no null direction is left unexplained, and the point within its radius."""
    rows, target = (well(2.0), well(1.0), [0.0, 0.0, 0.5]), np.array([0.0, 1.0, 0.0])
    landscape = separable(*rows, at=target + 0.01, seed=5)
    point = critical_point(landscape)
    found = classify(point).certificate
    assert found.exists and found.complete and (found.negative, found.positive) == (1, 2)
    assert np.linalg.norm(rotation(5) @ point.theta - target) <= max(found.radius, 1e-14) <= 1e-11
    valley = critical_point(separable([0, 0, 1.0], [0, 0, 1.0], [0, 0, 0, 0, 1.0]))
    # The loss of plain data: symmetries cannot be looked for, so that nothing explains the null direction.
    found = classify(valley).certificate
    assert not found.complete and not found.exists and found.positive == 2
