"""ReLU networks: exact solutions on orthogonal inputs, kinks as events, sliding modes, slopes of two staircases."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis import theory
from saddlescope.experiments import orthogonal_points
from saddlescope.flows import Result, gaussian_loss, half_squared_error, simulate
from saddlescope.models import Dense, TwoLayer, incoming, outgoing, relu
from saddlescope.models.units import with_units
from scipy.optimize import brentq


def network(u, v):
    u, v = np.asarray(u, dtype=float), np.asarray(v, dtype=float)
    model = TwoLayer(Dense(relu, inputs=u.shape[1]), width=len(u), scale=1.0, key=jax.random.key(0))
    return with_units(model, jnp.asarray(u), jnp.asarray(v)[:, None])


def test_units_of_one_sign_on_orthogonal_inputs_are_solved_exactly():
    """Each is a linear network of width one whose imbalance is conserved, whatever it is."""
    nu, n, targets = 2.0, 4, np.array([1.0, 0.5, -0.8, -0.4])
    data = orthogonal_points(np.full(n, np.sqrt(nu)), targets)
    u = 1e-3 * np.array([[1, 0.3, -0.2, -0.5], [-0.1, -0.4, 0.2, 0.9]])
    v = np.array([1.2e-3, -1.5e-3])
    times = np.array([2.0, 8, 14, 20, 26])
    settings = {"save_times": times, "solver": dfx.Tsit5(), "rtol": 1e-12, "atol": 1e-17}
    flow = simulate(network(u, v), half_squared_error, data, t1=26.0, **settings)
    expected = np.zeros(5)
    for row, weight, active in ((u[0], v[0], slice(0, 2)), (u[1], v[1], slice(2, 4))):
        w, a = theory.orthogonal_unit(nu / n * times, row[active], weight, targets[active] / np.sqrt(nu))
        expected += np.sum((np.sqrt(nu) * a[:, None] * w - targets[active]) ** 2, axis=1) / (2 * n)
    np.testing.assert_allclose(flow.losses[np.searchsorted(flow.ts, times)], expected, rtol=1e-9)


def test_the_time_of_a_kink_is_the_exact_one():
    """A unit loses its second sample when w₂ = 0, of which the exact solution tells when; then w₂ stays."""
    targets, start, weight = np.array([1.0, -1.0]), np.array([0.02, 0.05]), 0.06
    data = orthogonal_points(np.ones(2), targets)

    def second(t):
        return theory.orthogonal_unit(np.array([t]) / 2, start, weight, targets)[0][0, 1]

    kink = brentq(second, 0.1, 3.0, xtol=1e-14)
    settings = {"sign_changes": {"kinks": lambda model: incoming(model)[0]}, "solver": dfx.Tsit5(), "rtol": 1e-12}
    flow = simulate(network([start], [weight]), half_squared_error, data, t1=12.0, **settings)
    found = flow.sign_changes["kinks"]
    assert (list(found.entries), list(found.directions)) == ([1], [-1])
    assert found.times[0] == pytest.approx(kink, abs=1e-12)
    # From there on it is alone with its first sample.
    w, a = theory.orthogonal_unit(np.array([kink]) / 2, start, weight, targets)
    w, a = theory.orthogonal_unit(np.array([12.0 - kink]) / 2, w[0, :1], a[0], targets[:1])
    model = flow.final_model
    assert float(model.v[0, 0] * model.u[0, 0]) == pytest.approx((a * w[:, 0])[0], rel=1e-9)
    assert abs(float(model.u[0, 1])) < 1e-9


# Four inputs on a line with a bias, as in one-dimensional regression.
LINE = np.stack([[-1.0, -0.4, 0.3, 1.2], np.ones(4)], axis=1), np.array([0.8, -0.6, 0.5, -0.3])


@pytest.mark.parametrize("sign", [1, -1])
def test_small_units_slide_along_the_predicted_kinks_and_it_is_said(sign):
    """Both attractors of each sign are kinks: the flow turns to one of them, and ends there with that reason."""
    x, y = LINE
    predicted = theory.early_alignment(x, y, sign)
    assert len(predicted.angles) == 2 and np.all(predicted.boundary)
    reached = set()
    for angle in predicted.angles:
        # From beside the attractor, at 0.3 from it on either side where the field leads back.
        for offset in (-0.25, 0.25):
            start = 1e-4 * np.array([[np.cos(angle + offset), np.sin(angle + offset)]])
            with pytest.warns(UserWarning, match="slides along a kink"):
                flow = simulate(
                    network(start, [sign * 2e-4]),
                    half_squared_error,
                    (jnp.asarray(x), jnp.asarray(y)[:, None]),
                    t1=40.0,
                    solver=dfx.Tsit5(),
                )
            assert flow.result is Result.sliding
            u = np.asarray(flow.final_model.u[0])
            distances = np.abs((np.arctan2(u[1], u[0]) - predicted.angles + np.pi) % (2 * np.pi) - np.pi)
            assert np.min(distances) < 1e-6
            assert flow.losses[-1] == pytest.approx(flow.losses[0], rel=1e-3)
            reached.add(int(np.argmin(distances)))
    assert reached == {0, 1}


@pytest.mark.slow
def test_both_signs_are_learned_after_their_own_logarithm():
    """Many units on orthogonal inputs: T = ln(1/ε)/‖D±‖ + O(1), plateaus at the levels."""
    targets = np.array([1.0, 0.8, -0.6, -0.5])
    data = orthogonal_points(np.ones(4), targets)
    arrays = np.asarray(data[0]), np.asarray(data[1])[:, 0]
    levels, rates = theory.orthogonal_relu_levels(*arrays), theory.orthogonal_relu_rates(*arrays)
    middles = jnp.array([levels[0] + levels[1], levels[1] + levels[2]]) / 4
    events = {"drops": lambda model: half_squared_error(model, data) - middles}
    base, times = TwoLayer(Dense(relu, inputs=4), width=24, scale=1.0, key=jax.random.key(3)), []
    scales = np.array([1e-8, 1e-12])
    for scale in scales:
        model = with_units(base, scale * incoming(base), scale * outgoing(base))
        flow = simulate(model, half_squared_error, data, t1=180.0, sign_changes=events, solver=dfx.Tsit5(), rtol=1e-8)
        np.testing.assert_array_equal(flow.sign_changes["drops"].entries, [0, 1])
        times.append(flow.sign_changes["drops"].times)
    slopes = (times[1] - times[0]) / np.log(scales[0] / scales[1])
    np.testing.assert_allclose(slopes, 1 / np.array(rates), rtol=1e-3)
    middle = flow.record(float(np.mean(times[1]))).losses[0]
    assert 2 * middle == pytest.approx(levels[1], rel=1e-4)
    # The least that a ReLU network needs: |a| ‖w‖ summed over units is ‖y₊‖ + ‖y₋‖.
    final = flow.final_model
    total = float(jnp.sum(jnp.linalg.norm(final.u, axis=1) * jnp.abs(final.v[:, 0])))
    assert total == pytest.approx(np.linalg.norm(targets[:2]) + np.linalg.norm(targets[2:]), rel=1e-4)


@pytest.mark.slow
def test_two_units_first_meet_and_then_part():
    """Teacher relu(x₁) + relu(x₂), Gaussian inputs: both units go to 45°, contracting at c; there they part at 2κ − c.

    With K the kernel of unit vectors, κ = K(π/4) and c = −2K''(π/4): the first drop comes at ln(1/ε)/(2κ), the second
    plateau lasts c/(2κ)/(2κ − c) ln(1/ε).
    """
    kappa = (np.sin(np.pi / 4) + 3 * np.pi / 4 * np.cos(np.pi / 4)) / (2 * np.pi)
    contraction = -2 * (np.sin(np.pi / 4) - 3 * np.pi / 4 * np.cos(np.pi / 4)) / (2 * np.pi)
    levels = np.array([1 + 1 / np.pi, 1 + 1 / np.pi - 8 * kappa**2, 0.0]) / 2
    teacher = network(np.eye(2), np.ones(2))
    events = {"drops": lambda model: gaussian_loss(model, teacher) - jnp.asarray((levels[:-1] + levels[1:]) / 2)}
    angles, scales, times = np.array([0.2, 1.3]), np.array([1e-4, 1e-6, 1e-8]), []
    for scale in scales:
        model = network(scale * np.stack([np.cos(angles), np.sin(angles)], axis=1), scale * np.ones(2))
        flow = simulate(model, gaussian_loss, teacher, t1=120.0, sign_changes=events, solver=dfx.Tsit5())
        assert flow.losses[0] == pytest.approx(levels[0], rel=1e-6)
        times.append(flow.sign_changes["drops"].times)
        assert len(times[-1]) == 2
    first, second = np.array(times).T
    slopes = np.diff(np.array([first, second - first])) / np.log(100)
    np.testing.assert_allclose(slopes[0], 1 / (2 * kappa), rtol=1e-3)
    expected = contraction / (2 * kappa) / (2 * kappa - contraction)
    assert slopes[1, -1] == pytest.approx(expected, rel=1e-3)
    middle = flow.record(float((first[-1] + second[-1]) / 2)).losses[0]
    assert middle == pytest.approx(levels[1], rel=1e-3)
