"""Optimisers beside the flow: their delays, time scales, drifts and manifolds, in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from saddlescope.analysis import itinerary
from saddlescope.flows import (
    Result,
    adam,
    descend,
    flatten,
    gradient_descent,
    half_squared_error,
    load,
    mean_squared_error,
    momentum,
    simulate,
)
from saddlescope.flows.optimisers.descent import _recorded_steps
from saddlescope.flows.optimisers.optimiser import Optimiser
from saddlescope.models import Dense, TwoLayer, incoming, linear, outgoing, relu, tanh
from saddlescope.models.units import with_units

STRENGTHS = np.array([4.0, 2.0, 1.0])
WHITE = jnp.asarray(np.sqrt(3) * np.vstack([np.eye(3), -np.eye(3)]))
STAIRCASE = (WHITE, WHITE * STRENGTHS)


def diagonal(start):
    """A linear network with one unit per mode, u = v = `start`: every a obeys a' = a(s − a²) by itself."""
    model = TwoLayer(Dense(linear, inputs=3, outputs=3), width=3, scale=1.0, key=jax.random.key(0))
    return with_units(model, jnp.diag(jnp.full(3, start)), jnp.diag(jnp.full(3, start)))


def random_model(activation=linear, scale=0.3, width=4):
    return TwoLayer(Dense(activation, inputs=3, outputs=2), width=width, scale=scale, key=jax.random.key(1))


def random_data(count=20):
    keys = jax.random.split(jax.random.key(2))
    return jax.random.normal(keys[0], (count, 3)), jax.random.normal(keys[1], (count, 2))


def velocity(a):
    return a * (STRENGTHS - a**2)


@pytest.mark.slow
def test_gradient_descent_is_late_by_the_modified_equation():
    """Euler's method follows f − (η/2)f'f up to η², and is late by ∫(η/2)f'/f da = (η/2) ln(f/f₀) in one dimension.

    From small a₀ up to a: half a step per e-fold, (η/2)(ln 1/a₀ + O(1)), in every mode of the staircase.
    """
    start, remainders = 1e-3, []
    for step in (2e-3, 1e-3):
        path = descend(diagonal(start), half_squared_error, STAIRCASE, optimiser=gradient_descent(step), t1=9.0)
        t = path.ts[:, None]
        u = STRENGTHS / (1 + (STRENGTHS / start**2 - 1) * np.exp(-2 * STRENGTHS * t))
        a = np.sqrt(u)
        found = np.stack([np.diag(path.model_at_index(k).u) for k in range(len(path.ts))])
        # Where a mode hardly moves, a difference of weights says little about time.
        near = (u < 0.9 * STRENGTHS) & (u > 0.1 * STRENGTHS)
        speed = velocity(a)[near]
        late = step / 2 * np.log(speed / np.broadcast_to(velocity(start), a.shape)[near])
        remainders.append(np.max(np.abs((a - found)[near] / speed - late)) / np.max(late))
        assert np.max(late) > 2 * step
        losses = 0.5 * np.sum((STRENGTHS - found**2) ** 2, axis=1)
        np.testing.assert_allclose(path.losses, losses, rtol=1e-10)
    assert remainders[0] < 0.03
    assert remainders[1] == pytest.approx(remainders[0] / 2, rel=0.05)


def test_escape_rates():
    """Growth per step near a saddle: 1 + ηλ, and with momentum the larger root of z² − (1 + μ + ηλ)z + μ."""
    step, start, lam = 0.01, 1e-9, STRENGTHS
    plain = descend(diagonal(start), half_squared_error, STAIRCASE, optimiser=gradient_descent(step), t1=1.0)
    grown = np.diag(plain.final_model.u) / start
    np.testing.assert_allclose(grown, (1 + step * lam) ** 100, rtol=1e-12)
    decay = 0.8
    heavy = descend(
        diagonal(start), half_squared_error, STAIRCASE, optimiser=momentum(step, decay), t1=5.0, records=200
    )
    assert heavy.stats["num_steps"] == 100 and heavy.ts[-1] == pytest.approx(100 * step / (1 - decay))
    a = np.stack([np.diag(heavy.model_at_index(k).u) for k in (90, 91)])
    roots = [np.max(np.roots([1, -(1 + decay + step * s), decay]).real) for s in lam]
    np.testing.assert_allclose(a[1] / a[0], roots, rtol=1e-6)
    # On the flow's axis that is the flow's rate, for small steps.
    np.testing.assert_allclose(
        np.log(roots) / heavy.stats["time_per_step"], lam, rtol=0.5 * step / (1 - decay) ** 2 * 4
    )


@pytest.mark.parametrize("make", [gradient_descent, momentum])
@pytest.mark.fast_for("momentum")
def test_small_steps_follow_the_flow(make):
    """The distance to the flow is of first order in the step."""
    model, data = random_model(tanh), random_data()
    flow = simulate(model, half_squared_error, data, t1=2.0)
    gaps = []
    for step in (2e-3, 1e-3):
        optimiser = make(step if make is gradient_descent else step / 10)
        path = descend(model, half_squared_error, data, optimiser=optimiser, t1=2.0, records=10)
        assert path.ts[-1] == pytest.approx(2.0)
        gaps.append(np.linalg.norm(path.thetas[-1] - flow.thetas[-1]))
    assert 1e-6 < gaps[1] < 1e-2
    assert gaps[0] / gaps[1] == pytest.approx(2, rel=0.03)


def test_balancedness_drifts_by_the_identity():
    """Δ(W₂ᵀW₂ − W₁W₁ᵀ) = η²(G₂ᵀG₂ − G₁G₁ᵀ) at every step of gradient descent."""
    model, data, step = random_model(), random_data(), 0.1

    def imbalance(model):
        return outgoing(model) @ outgoing(model).T - incoming(model) @ incoming(model).T

    path = descend(model, half_squared_error, data, optimiser=gradient_descent(step), t1=20 * step)
    drift = 0.0
    for k in range(20):
        gradient = jax.grad(half_squared_error)(path.model_at_index(k), data)
        drift = drift + step**2 * imbalance(gradient)
    changed = imbalance(path.final_model) - imbalance(model)
    assert np.max(np.abs(changed)) > 1e-3
    np.testing.assert_allclose(changed, drift, atol=1e-14)


def equal_units(model):
    u, v = jnp.asarray(incoming(model)), jnp.asarray(outgoing(model))
    return with_units(model, u.at[1].set(u[0]), v.at[1].set(v[0]))


def zero_unit(model):
    u, v = jnp.asarray(incoming(model)), jnp.asarray(outgoing(model))
    return with_units(model, u.at[1].set(0), v.at[1].set(0))


def proportional_units(model):
    u, v = jnp.asarray(incoming(model)), jnp.asarray(outgoing(model))
    return with_units(model, u.at[1].set(2 * u[0]), v.at[1].set(2 * v[0]))


def dependent_units(model):
    u, v = jnp.asarray(incoming(model)), jnp.asarray(outgoing(model))
    return with_units(model, u.at[2].set(u[0] - 0.7 * u[1]), v.at[2].set(v[0] - 0.7 * v[1]))


OPTIMISERS = {"gradient descent": gradient_descent(0.05), "momentum": momentum(0.01), "adam": adam(0.01)}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_optimiser_keeps_equal_and_zero_units(name):
    """Theorem 3 i and ii hold bit for bit for whatever treats equal weights equally and leaves zero gradients alone."""
    data = random_data()
    for make, kept in ((equal_units, lambda x: x[1] - x[0]), (zero_unit, lambda x: x[1])):
        path = descend(make(random_model(tanh)), half_squared_error, data, optimiser=OPTIMISERS[name], t1=2.0)
        model = path.final_model
        assert np.linalg.norm(path.thetas[-1] - path.thetas[0]) > 0.1
        assert np.all(kept(incoming(model)) == 0) and np.all(kept(outgoing(model)) == 0)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_only_steps_along_gradients_keep_proportional_and_dependent_units(name):
    """iii and iv are linear relations between units' gradients, which Adam's quotients do not respect."""
    data = random_data()
    for activation, make, relation in (
        (relu, proportional_units, lambda x: x[1] - 2 * x[0]),
        (linear, dependent_units, lambda x: x[2] - x[0] + 0.7 * x[1]),
    ):
        path = descend(make(random_model(activation)), half_squared_error, data, optimiser=OPTIMISERS[name], t1=2.0)
        broken = max(float(np.max(np.abs(relation(rows(path.final_model))))) for rows in (incoming, outgoing))
        assert broken < 1e-13 if name != "adam" else broken > 1e-3


def test_adam_moves_every_weight_by_a_step():
    """Its first step is η in the direction of each gradient's sign, so that time is the distance travelled."""
    model, data, step = random_model(), random_data(), 1e-3
    path = descend(model, half_squared_error, data, optimiser=adam(step), t1=step)
    gradient = flatten(jax.grad(half_squared_error)(model, data))
    # Up to its eps, to which the smallest of these gradients is as 1 to 1e-6.
    np.testing.assert_allclose(
        path.thetas[1] - path.thetas[0], -step * gradient / (np.abs(gradient) + 1e-8), rtol=1e-10
    )
    assert np.min(np.abs(gradient)) > 1e-3


def test_a_batch_of_all_samples_is_the_full_batch():
    """Up to the order in which samples are summed."""
    model, data = random_model(tanh), random_data()
    options = {"optimiser": gradient_descent(0.05), "t1": 2.0, "records": 40}
    full = descend(model, mean_squared_error, data, **options)
    batched = descend(model, mean_squared_error, data, batch=20, key=jax.random.key(5), **options)
    np.testing.assert_allclose(batched.thetas, full.thetas, atol=1e-13)


def test_an_epoch_of_small_steps_sums_to_the_full_gradient():
    """Every sample is drawn once per epoch, in another order in the next; with tiny steps only the sum matters."""
    model, data, step = random_model(), random_data(), 1e-8
    settings = {"optimiser": gradient_descent(step), "batch": 5, "key": jax.random.key(3)}
    path = descend(model, half_squared_error, data, t1=8 * step, **settings)
    gradient = flatten(jax.grad(half_squared_error)(model, data))
    moves = np.diff(path.thetas, axis=0) / -step
    for epoch in (moves[:4], moves[4:]):
        np.testing.assert_allclose(np.mean(epoch, axis=0), gradient, atol=1e-6)
        assert np.max(np.abs(epoch[0] - gradient)) > 0.01
    assert not np.allclose(moves[:4], moves[4:], atol=1e-3)


def test_an_iteration_that_diverges_says_so():
    """Beyond 2/λ_max the minimum repels; the record ends with the last finite loss."""
    with pytest.warns(UserWarning, match="diverged"):
        path = descend(random_model(), half_squared_error, random_data(), optimiser=gradient_descent(5.0), t1=1e4)
    assert path.result is Result.diverged and path.result.failed
    assert np.all(np.isfinite(path.losses)) and np.all(np.isfinite(path.thetas)) and len(path.ts) < 2000
    assert "diverged" in str(path)


def test_the_same_analysis(tmp_path):
    """The itinerary of gradient descent is that of the flow: the critical points are the same, the rates nearly so."""
    model = TwoLayer(Dense(linear, inputs=3, outputs=3), width=6, scale=1e-4, key=jax.random.key(0))
    path = descend(model, half_squared_error, STAIRCASE, optimiser=gradient_descent(1e-2), t1=25.0)
    assert path.stats["reduced_data"] is False and len(path.ts) == 2001
    visits = itinerary(path)
    assert [visit.effective_width.width for visit in visits] == [0, 1, 2, 3]
    np.testing.assert_allclose([visit.critical_point.loss for visit in visits], [10.5, 2.5, 0.5, 0], atol=1e-12)
    assert visits[0].escape.rate_measured == pytest.approx(np.log(1 + 0.01 * 4) / 0.01, rel=0.01)
    path.save(tmp_path / "descent.npz")
    again = load(tmp_path / "descent.npz", model, half_squared_error, STAIRCASE)
    assert again.solver is None and again.stats == path.stats and np.all(again.thetas == path.thetas)
    assert again.record(float(path.ts[7])).losses[0] == path.losses[7]
    with pytest.raises(ValueError, match="no state between its steps"):
        again.record(float(path.ts[7]) + 1e-3)


def test_statistics_stand_for_the_sample():
    """The same path with a QR factor of 200 samples as with the samples."""
    model, data = random_model(), random_data(200)
    options = {"optimiser": momentum(0.02), "t1": 4.0}
    reduced = descend(model, mean_squared_error, data, **options)
    plain = descend(model, mean_squared_error, data, reduce_data=False, **options)
    assert reduced.stats["reduced_data"] and not plain.stats["reduced_data"]
    np.testing.assert_allclose(reduced.thetas, plain.thetas, atol=1e-12)


def test_bad_input_raises():
    model, data = random_model(), random_data()
    for match, options in (
        ("give a key", {"batch": 5}),
        ("between 1 and all 20", {"batch": 21, "key": jax.random.key(0)}),
        ("records", {"records": 1}),
        ("t1", {"t1": -1.0}),
    ):
        with pytest.raises(ValueError, match=match):
            descend(model, half_squared_error, data, **{"optimiser": gradient_descent(0.1), "t1": 1.0, **options})
    for bad in (
        lambda: gradient_descent(0.0),
        lambda: momentum(0.1, 1.0),
        lambda: Optimiser("x", optax.sgd(1.0), -1.0),
    ):
        with pytest.raises(ValueError, match="step|decay"):
            bad()


def test_optimisers_speak():
    momentum_text, adam_text = str(momentum(0.01, 0.9)), str(adam(0.01))
    assert momentum_text.startswith("momentum 0.9, step 0.01: time 0.1 per step") and "converges to" in momentum_text
    assert adam_text.startswith("Adam, step 0.01: time 0.01 per step") and "does not converge to" in adam_text


@pytest.mark.parametrize(("steps", "last"), [(3.0, 3), (3 * 0.1 / 0.1, 3), (3.001, 4), (0.2, 1)])
def test_the_last_step_is_the_one_that_reaches_the_end(steps, last):
    """Also where the number of steps is whole up to rounding; all steps are recorded if they are few."""
    np.testing.assert_array_equal(_recorded_steps(steps, 100), np.arange(last + 1))
    numbers = _recorded_steps(1e4, 7)
    assert len(numbers) == 8 and numbers[0] == 0 and numbers[-1] == 10_000
    assert np.ptp(np.diff(numbers)) <= 1
