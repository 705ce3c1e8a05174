"""Mode-by-mode sigmoids of linear networks (Saxe, McClelland & Ganguli 2014), in closed form."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis import itinerary, theory
from saddlescope.flows import half_squared_error, simulate
from saddlescope.models import Dense, TwoLayer, linear
from saddlescope.models.units import with_units

STRENGTHS = np.array([4.0, 2.0, 1.0])


def orthogonal(seed, n):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))[0]


def white_data(target):
    """Four-fold orthogonal design with ⟨xxᵀ⟩ = I exactly."""
    inputs = target.shape[1]
    x = np.sqrt(inputs) * np.vstack([np.eye(inputs), -np.eye(inputs)])
    return jnp.asarray(x), jnp.asarray(x @ target.T)


def aligned_model(first, second, u, v, r):
    """W1 = R diag(first) Vᵀ, W2 = U diag(second) Rᵀ in the library's rows of units."""
    w1, w2 = r @ np.diag(first) @ v.T, u @ np.diag(second) @ r.T
    model = TwoLayer(
        Dense(linear, inputs=w1.shape[1], outputs=w2.shape[0]), width=w1.shape[0], scale=1.0, key=jax.random.key(0)
    )
    return with_units(model, jnp.asarray(w1), jnp.asarray(w2.T))


@pytest.fixture(scope="module")
def staircase():
    u, v, r = (orthogonal(seed, 3) for seed in (1, 2, 3))
    model = aligned_model(3 * [1e-3], 3 * [1e-3], u, v, r)
    times = np.array([1, 1.9, 2.5, 3.6, 5, 7, 9.0])
    data = white_data(u @ np.diag(STRENGTHS) @ v.T)
    options = {"t1": 20.0, "save_times": times, "rtol": 1e-12, "atol": 1e-17}
    flow = simulate(model, half_squared_error, data, solver=dfx.Dopri8(), **options)
    return flow, times


def test_staircase_follows_the_sigmoids(staircase):
    flow, times = staircase
    modes = theory.logistic_mode(times, STRENGTHS[:, None], 1e-6, STRENGTHS[:, None])
    expected = 0.5 * np.sum((STRENGTHS[:, None] - modes) ** 2, axis=0)
    at = np.searchsorted(flow.ts, times)
    np.testing.assert_array_equal(flow.ts[at], times)
    np.testing.assert_allclose(flow.losses[at], expected, rtol=1e-9)
    for index, mode in zip(at, modes.T, strict=True):
        model = flow.model_at_index(int(index))
        values = np.linalg.svd(np.asarray(model.v.T @ model.u), compute_uv=False)
        np.testing.assert_allclose(values, np.sort(mode)[::-1], rtol=1e-8)


def test_staircase_has_three_plateaus_and_a_minimum(staircase):
    flow, _ = staircase
    found = itinerary(flow)
    levels = [0.5 * np.sum(STRENGTHS[k:] ** 2) for k in range(4)]
    assert [visit.kind.name for visit in found] == 3 * ["strict saddle"] + ["minimum"]
    np.testing.assert_allclose([visit.critical_point.loss for visit in found], levels, rtol=1e-9, atol=1e-15)
    visits = [visit.passage for visit in found]
    half_times = theory.logistic_half_time(STRENGTHS, 1e-6, STRENGTHS)
    rise = np.log(81) / (2 * STRENGTHS)
    for k in range(3):
        assert abs(visits[k].departure - half_times[k]) < rise[k]
        assert abs(visits[k + 1].arrival - half_times[k]) < rise[k]


def test_evaluate_steps_onto_times_that_were_not_saved(staircase):
    flow, _ = staircase
    loss = flow.record(4.321).losses[0]
    expected = 0.5 * np.sum((STRENGTHS - theory.logistic_mode(4.321, STRENGTHS, 1e-6, STRENGTHS)) ** 2)
    assert loss == pytest.approx(expected, rel=1e-9)


def test_unbalanced_mode():
    """u = (c/2) sinh θ with c = a0² − b0² conserved and the time as a function of θ."""
    s, a0, b0 = 2.0, 0.3, 0.01
    targets = np.array([0.05, 0.5, 1.0, 1.9])
    times = theory.unbalanced_mode_time(targets, s, a0, b0)
    one = np.eye(1)
    model = aligned_model([a0], [b0], one, one, one)
    data = white_data(np.array([[s]]))
    options = {"t1": times[-1], "save_times": times, "rtol": 1e-12}
    flow = simulate(model, half_squared_error, data, solver=dfx.Dopri8(), **options)
    for t, u in zip(times, targets, strict=True):
        model = flow.model_at_index(int(np.searchsorted(flow.ts, t)))
        assert float((model.v.T @ model.u)[0, 0]) == pytest.approx(u, rel=1e-9)
