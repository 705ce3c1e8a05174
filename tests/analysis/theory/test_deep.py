"""Three layers and more: algebraic escapes, order of modes, rank on plateaus, greedy low rank, skip connections."""

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from saddlescope.analysis import theory
from saddlescope.experiments import spectral_regression
from saddlescope.flows import half_squared_error, simulate

STRENGTHS = np.array([2.0, 1.0])
DATA = spectral_regression(STRENGTHS)


class Deep(eqx.Module):
    """f(x) = W_L ⋯ W_1 x."""

    weights: tuple[Array, ...]

    def __call__(self, x):
        for weight in self.weights:
            x = weight @ x
        return x

    @property
    def product(self):
        return jax.vmap(self)(jnp.eye(2)).T


def random_network(depth, scale, seed=0, width=3):
    sizes = [2, *(depth - 1) * [width], 2]
    random = np.random.default_rng(seed)
    return Deep(
        tuple(jnp.asarray(scale * random.standard_normal((m, n))) for n, m in zip(sizes, sizes[1:], strict=False))
    )


def aligned_network(depth, starts):
    """Balanced diagonal layers.

    Not rotated: where the weaker mode comes first its saddle is strict, and rounding across the modes would grow there.
    """
    return Deep(depth * (jnp.diag(jnp.asarray(starts)),))


def modes(model):
    """Each mode's strength, less the half of what it grows to."""
    return jnp.diag(model.product) - STRENGTHS / 2


def losses(model):
    """The middles of the two drops: from 5/2 to 1/2 and from there to 0."""
    return half_squared_error(model, DATA) - jnp.array([1.5, 0.25])


@pytest.mark.parametrize(("starts", "order"), [((0.02, 0.02), [0, 1]), ((0.01, 0.05), [1, 0])])
def test_the_winner_is_the_largest_product_of_strength_and_start(starts, order):
    """At depth 3 mode i escapes at 1/(s a): a weaker mode comes first if it starts larger than 2:1."""
    settings = {"sign_changes": {"half": modes}, "rtol": 1e-11, "solver": dfx.Tsit5()}
    flow = simulate(aligned_network(3, starts), half_squared_error, DATA, t1=250.0, **settings)
    expected = theory.deep_mode_time((STRENGTHS / 2) ** (1 / 3), STRENGTHS, 3, np.array(starts))
    found = flow.sign_changes["half"]
    np.testing.assert_array_equal(found.entries, order)
    np.testing.assert_allclose(found.times, expected[order], rtol=1e-8)


def test_the_norm_diverges_as_predicted_until_the_escape():
    """‖θ(t)‖ = (s*(L − 2)(T − t))^(−1/(L − 2)) with T = 1/((L − 2) s* ‖θ₀‖^(L − 2))."""
    start = 1e-3
    model = aligned_network(3, (start, 0.0))
    end = theory.deep_escape_time(2.0, 3, np.sqrt(3) * start)
    assert end == pytest.approx(1 / (2.0 * start))
    flow = simulate(model, half_squared_error, DATA, t1=0.9 * end, save_times=[0.5 * end], solver=dfx.Tsit5())
    for t in (0.5 * end, 0.9 * end):
        norm = np.linalg.norm(flow.thetas[np.searchsorted(flow.ts, t)])
        assert norm == pytest.approx(np.sqrt(3) / (2.0 * (end - t)), rel=1e-6)


# Each depth compiles for seconds: the closed form of depth 2, and of the others the first and the last.
FOUR = [pytest.param(4, a0, marks=pytest.mark.slow) for a0 in (0.1, 0.01)]


@pytest.mark.parametrize(("depth", "start"), [(2, 0.1), (3, 0.1), (3, 0.01), *FOUR, (5, 0.1)])
@pytest.mark.fast_for("3-0.01", "3-0.1")
def test_half_times_of_one_mode_in_rotated_bases(depth, start):
    """a' = a^{N−1}(s − a^N); the other of two modes is absent."""
    s = 2.0
    half_time = float(theory.deep_mode_time((s / 2) ** (1 / depth), s, depth, start))
    bases = [np.linalg.qr(np.random.default_rng(seed).standard_normal((2, 2)))[0] for seed in range(depth + 1)]
    layer = np.diag([start, 0.0])
    weights = tuple(jnp.asarray(bases[k + 1] @ layer @ bases[k].T) for k in range(depth))
    x = np.sqrt(2) * np.vstack([np.eye(2), -np.eye(2)])
    data = jnp.asarray(x), jnp.asarray(x @ (bases[depth] @ np.diag([s, 0.0]) @ bases[0].T).T)
    options = {"t1": half_time, "rtol": 1e-12, "atol": 1e-16}
    flow = simulate(Deep(weights), half_squared_error, data, solver=dfx.Dopri8(), **options)
    u = bases[depth][:, 0] @ np.asarray(flow.final_model.product) @ bases[0][:, 0]
    speed = depth * u ** (2 - 2 / depth) * (s - u)
    error_in_time = abs(u - s / 2) / speed
    assert error_in_time / half_time < 1e-8


# Explicit steps serve for the shorter plateaus, and need less compilation.
POWERS = [(3, (3e-2, 3e-3, 3e-4), 1.5, dfx.Tsit5()), (4, (1e-1, 1e-2, 1e-3), 40.0, None)]


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "scales", "horizon", "solver"), POWERS)
def test_dwell_times_are_powers_of_the_initial_scale(depth, scales, horizon, solver):
    """Both plateaus of generic weights last ε^(2 − L); the product on the second has rank one."""
    times = []
    for scale in scales:
        t1 = horizon * scale ** (2 - depth)
        settings = {"t1": t1, "sign_changes": {"drops": losses}, "solver": solver}
        flow = simulate(random_network(depth, scale, seed=1), half_squared_error, DATA, **settings)
        assert len(flow.sign_changes["drops"]) == 2
        times.append(flow.sign_changes["drops"].times)
    first, second = np.array(times).T
    for dwell in (first, second - first):
        slopes = np.diff(np.log(dwell)) / np.diff(np.log(1 / np.array(scales)))
        assert slopes[-1] == pytest.approx(depth - 2, rel=0.01)
        assert np.mean(slopes) == pytest.approx(depth - 2, rel=0.02)
    sizes = np.linalg.svd(np.asarray(flow.model(np.mean(times[-1])).product), compute_uv=False)
    assert sizes[0] == pytest.approx(2.0, rel=1e-5)
    assert sizes[1] / sizes[0] < 1e-6


class Symmetric(eqx.Module):
    """A square W, learned as W Wᵀ."""

    w: Array


def factorisation_loss(model, target):
    """Its flow is W' = (A − W Wᵀ) W."""
    return jnp.sum((target - model.w @ model.w.T) ** 2) / 4


def test_greedy_low_rank_limit_and_its_rate():
    """From the time of the first escape the product follows m(t) q₁q₁ᵀ, to O(ε^(1 − μ₂/μ₁))."""
    values, random = np.array([2.0, 1.2, 0.5]), np.random.default_rng(2)
    basis, start = np.linalg.qr(random.standard_normal((3, 3)))[0], random.standard_normal((3, 3))
    target, top = jnp.asarray(basis @ np.diag(values) @ basis.T), basis[:, 0]
    scales, errors = (1e-4, 1e-6, 1e-8), []
    for scale in scales:
        escape = np.log(1 / (scale * np.linalg.norm(top @ start)) ** 2) / (2 * values[0])
        flow = simulate(
            Symmetric(jnp.asarray(scale * start)), factorisation_loss, target, t1=escape + 0.3, solver=dfx.Tsit5()
        )
        w = np.asarray(flow.final_model.w)
        limit = theory.greedy_low_rank_limit(0.3, values[0]) * np.outer(top, top)
        errors.append(np.linalg.norm(w @ w.T - limit))
    assert errors[-1] < 1e-3
    slopes = np.diff(np.log(errors)) / np.diff(np.log(scales))
    assert slopes[-1] == pytest.approx(1 - values[1] / values[0], rel=0.01)


class Skip(eqx.Module):
    """Four layers, the first of which also skips none, one or two of those after it (Zhang et al. 2025, Eq. 18)."""

    weights: tuple[Array, ...]
    skipped: int = eqx.field(static=True)

    def __call__(self, x):
        first, second, third, last = self.weights
        x = first @ x
        if self.skipped == 2:
            return last @ (third @ (second @ x) + x)
        return last @ (third @ (second @ x + (x if self.skipped == 1 else 0.0)))


@pytest.mark.slow
def test_skip_connections_make_a_network_as_fast_as_a_shallower_one():
    """Two skipped layers: ln(1/ε) as of two layers; one: 1/ε as of three; none: 1/ε² as of four."""
    first = lambda model: half_squared_error(model, DATA) - 1.5  # noqa: E731
    times = {}
    for skipped, horizon in ((0, 40.0), (1, 40.0), (2, 20.0)):
        for scale in (1e-2, 1e-3):
            model = Skip(random_network(4, scale).weights, skipped)
            t1 = horizon * (scale ** (skipped - 2) if skipped < 2 else 1.0)
            flow = simulate(model, half_squared_error, DATA, t1=t1, sign_changes={"first": first})
            times[skipped, scale] = flow.sign_changes["first"].times[0]
    for scale in (1e-2, 1e-3):
        assert times[2, scale] < times[1, scale] < times[0, scale]
    assert times[2, 1e-3] - times[2, 1e-2] == pytest.approx(np.log(10) / STRENGTHS[0], rel=0.01)
    assert times[1, 1e-3] / times[1, 1e-2] == pytest.approx(10, rel=0.1)
    assert times[0, 1e-3] / times[0, 1e-2] == pytest.approx(100, rel=0.1)
