"""Hessian eigenpairs along a flow whose Hessian is a matrix of choice, at the speed of choice."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float
from saddlescope.analysis import eigenvalue_crossings, spectrum, tracked_eigenpairs
from saddlescope.analysis.observables import eigenpairs
from saddlescope.flows import Landscape, half_squared_error, simulate
from saddlescope.models import Dense, TwoLayer, tanh


class Point(eqx.Module):
    """A clock s and coordinates x."""

    s: Float[Array, ""]
    x: Float[Array, " n"]


def levels(model, data):
    """−s + ½ xᵀ(A + sB)x: the flow from x = 0 is ṡ = 1, with the Hessian A + sB in x."""
    a, b = data
    return -model.s + 0.5 * model.x @ (a + model.s * b) @ model.x


def tracked(a, b, t1, count, ts=None, end="highest"):
    model = Point(jnp.zeros(()), jnp.zeros(len(a)))
    flow = simulate(model, levels, (jnp.asarray(a), jnp.asarray(b)), t1=t1, reduce_data=False)
    return tracked_eigenpairs(flow, count=count, ts=np.linspace(0, t1, 41) if ts is None else ts, end=end)


def two_levels(gap, at=1.0):
    """5 ± √((s − at)² + gap²/4)."""
    return np.array([[5 - at, gap / 2], [gap / 2, 5 + at]]), np.diag([1.0, -1.0])


def test_levels_that_cross_keep_their_eigenvectors():
    seen = tracked(*two_levels(0.0), 2.3, 2)
    times = seen["time"].values
    np.testing.assert_allclose(seen["eigenvalue"], np.stack([6 - times, 4 + times], axis=1), atol=1e-12)
    np.testing.assert_allclose(seen["overlap"], 1, atol=1e-12)
    (crossing,) = eigenvalue_crossings(seen)
    assert crossing.kind == "crossing" and crossing.tracks == (0, 1)
    assert crossing.time == pytest.approx(1.0, abs=1e-10) and crossing.exchanged < 1e-20
    # What the times do not resolve is said: at 1 ± 2.3/80 or nearer.
    assert crossing.gap <= 2.3 / 40
    assert "crossing of eigenvalues 0 and 1 at t = 1: no gap above" in str(crossing)


@pytest.mark.parametrize("gap", [0.3, 0.5])
def test_levels_with_a_coupling_avoid_each_other_and_exchange_eigenvectors(gap):
    seen = tracked(*two_levels(gap), 2.3, 2)
    half = np.sqrt((seen["time"].values - 1) ** 2 + gap**2 / 4)
    np.testing.assert_allclose(seen["eigenvalue"], np.stack([5 + half, 5 - half], axis=1), atol=1e-12)
    (crossing,) = eigenvalue_crossings(seen)
    assert crossing.kind == "avoided crossing" and crossing.tracks == (0, 1)
    assert crossing.time == pytest.approx(1.0, abs=1e-9) and crossing.gap == pytest.approx(gap, rel=1e-9)
    # The angle turns from less than 15° to more than 75°.
    assert crossing.exchanged > 0.75
    assert f"gap {gap:.3g}" in str(crossing)


def test_levels_that_come_near_without_a_coupling_do_not_exchange():
    """5 ± (0.1 + (s − 1)²) without a coupling: their eigenvectors stay."""
    model = Point(jnp.zeros(()), jnp.zeros(2))

    def curve(model, _):
        away = 0.1 + (model.s - 1) ** 2
        return -model.s + 0.5 * jnp.array([5 + away, 5 - away]) @ model.x**2

    flow = simulate(model, curve, (), t1=2.0)
    assert not eigenvalue_crossings(tracked_eigenpairs(flow, count=2, end="highest", ts=np.linspace(0, 2, 41)))


def test_a_gap_that_the_times_do_not_resolve_is_a_crossing_with_a_bound():
    gap = 1e-3
    (crossing,) = eigenvalue_crossings(tracked(*two_levels(gap), 2.3, 2))
    assert crossing.kind == "crossing" and crossing.gap >= gap
    assert crossing.time == pytest.approx(1.0, abs=2.3 / 40)


def test_a_gap_of_the_size_of_the_steps_is_unresolved():
    """From 17° before to 78° after the middle, of which an overlap with the other level of cos² 61° is left."""
    (crossing,) = eigenvalue_crossings(tracked(*two_levels(0.03), 2.3, 2))
    assert crossing.kind == "unresolved" and 0.2 < crossing.exchanged < 0.3
    assert str(crossing).startswith("unresolved crossing of eigenvalues 0 and 1")


def test_the_basis_of_a_multiple_eigenvalue_goes_on_smoothly():
    """A triple level in a rotated basis beside one that crosses it: overlaps stay one, one crossing with each."""
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0]
    a, b = (rotation @ np.diag(part) @ rotation.T for part in ([5.0, 5, 5, 4], [0.0, 0, 0, 1]))
    seen = tracked(a, b, 2.3, 4)
    np.testing.assert_allclose(seen["overlap"], 1, atol=1e-9)
    found = eigenvalue_crossings(seen)
    assert [crossing.kind for crossing in found] == 3 * ["crossing"]
    assert {crossing.tracks for crossing in found} == {(0, 3), (1, 3), (2, 3)}
    np.testing.assert_allclose([crossing.time for crossing in found], 1.0, atol=1e-6)


def test_eigenvectors_that_turn_between_two_times_are_told():
    """From before to the middle of an avoided crossing, where each eigenvector is half of both."""
    with pytest.warns(UserWarning, match="tracks are ambiguous there"):
        # Three levels in a cyclic rotation: no former eigenvector has half of a later one.
        rotation = np.linalg.qr(np.array([[1.0, 1, 1], [1, -1, 0], [1, 1, -2]]).T)[0]
        a = np.diag([4.0, 5, 6])
        tracked(a, 100 * rotation @ np.diag([3.0, 4, 5]) @ rotation.T, 1.0, 3, ts=[0.0, 1.0])


def test_pairs_are_eigenpairs_of_the_hessian_along_a_flow_and_their_overlaps_one():
    x = np.random.default_rng(0).standard_normal((10, 2))
    model = TwoLayer(Dense(tanh, inputs=2), width=4, scale=0.3, key=jax.random.key(0))
    flow = simulate(model, half_squared_error, (x, np.sin(x[:, :1])), t1=5.0)
    seen = tracked_eigenpairs(flow, count=3)
    assert seen["eigenvector"].shape == (len(flow.ts), 3, 12)
    assert np.all(np.diff(seen["eigenvalue"][0]) >= 0)
    for k in (0, len(flow.ts) // 2, -1):
        theta, values, vectors = flow.thetas[k], seen["eigenvalue"].values[k], seen["eigenvector"].values[k]
        products = flow.landscape.hessian_products(theta, vectors.T)
        np.testing.assert_allclose(products, vectors.T * values, atol=1e-10)
        np.testing.assert_allclose(vectors @ vectors.T, np.eye(3), atol=1e-12)
    lowest = spectrum(Landscape(flow.initial_model, flow.loss, flow.data)).eigenvalues[:3]
    np.testing.assert_allclose(seen["eigenvalue"][0], lowest, atol=1e-12)
    assert np.all(np.sum(seen["eigenvector"].values[1:] * seen["eigenvector"].values[:-1], axis=2) > 0.9)


@pytest.mark.parametrize("end", ["lowest", "highest"])
def test_products_alone_give_the_same_tracks(monkeypatch, end):
    """Where a dense Hessian would be too large, as here that of 45 parameters by decree."""
    x = np.random.default_rng(0).standard_normal((10, 2))
    model = TwoLayer(Dense(tanh, inputs=2), width=15, scale=0.5, key=jax.random.key(0))
    flow = simulate(model, half_squared_error, (x, np.sin(x[:, :1])), t1=1.0)
    times = np.linspace(0, 1, 5)
    dense = tracked_eigenpairs(flow, count=2, end=end, ts=times)
    monkeypatch.setattr(eigenpairs, "DENSE_HESSIAN_LIMIT", 44)
    found = tracked_eigenpairs(flow, count=2, end=end, ts=times)
    np.testing.assert_allclose(found["eigenvalue"], dense["eigenvalue"], atol=1e-7)
    overlaps = np.sum(found["eigenvector"].values * dense["eigenvector"].values, axis=2) ** 2
    np.testing.assert_allclose(overlaps, 1, atol=1e-6)


@pytest.mark.parametrize("count", [0, 4])
def test_more_tracks_than_eigenvalues_are_refused(count):
    with pytest.raises(ValueError, match="count must be between 1 and 3"):
        tracked(*two_levels(0.1), 1.0, count)
