"""Linear attention and modular addition: fixed points, times and levels on exact population statistics."""

from itertools import chain, combinations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis import classify, critical_point, itinerary, spectrum, theory
from saddlescope.analysis.theory.closed_forms.attention import context_gains
from saddlescope.experiments import modular_addition
from saddlescope.experiments.data.cyclic_shifts import fourier_template
from saddlescope.flows import Landscape, flatten, in_context_population, mean_squared_error, simulate, statistics_loss
from saddlescope.models import Dense, LinearAttention, MergedAttention, TwoLayer, quadratic
from saddlescope.models.units import with_units

VALUES, CONTEXT = (0.4, 0.3, 0.2, 0.1), 31


@pytest.fixture(scope="module")
def population():
    """The half squared error on infinitely many sequences, with β divided by N."""
    return in_context_population(np.diag(VALUES), CONTEXT, normalised=True, weight=0.5)


def heads(sizes):
    """One aligned head v = k = q for each direction."""
    model = TwoLayer(LinearAttention(inputs=len(sizes)), width=len(sizes), scale=0.0, key=jax.random.key(0))
    keys = np.diag(sizes)
    return with_units(model, jnp.asarray(np.concatenate([keys, keys], axis=1)), jnp.asarray(sizes)[:, None])


# λ⁻¹ / (1 + (1 + tr Λ/λ)/N) is what a head's v k qᵀ has grown to.
ENDS = context_gains(VALUES, CONTEXT) / np.array(VALUES) ** 2
SUBSETS = list(chain.from_iterable(combinations(range(4), m) for m in range(5)))


def test_the_fixed_points_are_all_sets_of_directions(population):
    gradient = eqx.filter_jit(eqx.filter_value_and_grad(statistics_loss))
    for learned in SUBSETS:
        sizes = np.where(np.isin(np.arange(4), learned), np.cbrt(ENDS), 0.0)
        loss, slope = gradient(heads(sizes), population)
        assert np.max(np.abs(flatten(slope))) < 1e-14
        assert 2 * float(loss) == pytest.approx(theory.attention_fixed_point_loss(VALUES, CONTEXT, learned), abs=1e-12)


def test_only_the_largest_directions_leave_no_negative_curvature(population):
    """The saddles that are visited have index zero, yet a third-order descent; all others are strict."""
    for learned in SUBSETS:
        model = heads(np.where(np.isin(np.arange(4), learned), np.cbrt(ENDS), 0.0))
        index = spectrum(Landscape(model, statistics_loss, population)).index
        assert (index == 0) == (learned == tuple(range(len(learned))))
        if learned == (0, 1):
            kind = classify(critical_point(Landscape(model, statistics_loss, population)))
            assert (kind.name, kind.order) == ("degenerate saddle", 3)


@pytest.fixture(scope="module")
def aligned(population):
    """Four heads that have found their directions already."""
    half = lambda model: model.v[:, 0] ** 3 / ENDS - 0.5  # noqa: E731
    return simulate(
        heads(np.full(4, 0.02)), statistics_loss, population, t1=8000.0, sign_changes={"half": half}, rtol=1e-11
    )


def test_heads_learn_their_directions_one_after_the_other(aligned):
    """Half times of aligned heads in closed form."""
    np.testing.assert_array_equal(aligned.sign_changes["half"].entries, range(4))
    expected = theory.head_half_times(VALUES, CONTEXT, 0.02)
    np.testing.assert_allclose(aligned.sign_changes["half"].times, expected, rtol=1e-8)


@pytest.mark.slow
def test_the_saddles_on_the_way_are_the_published_plateaus(aligned):
    visits = itinerary(aligned)
    levels = theory.linear_attention_levels(VALUES, CONTEXT)
    np.testing.assert_allclose([2 * visit.critical_point.loss for visit in visits], levels, atol=1e-10)
    np.testing.assert_allclose(levels, [1, 0.6406, 0.3774, 0.2098, 0.1360], atol=5e-5)


@pytest.mark.slow
def test_levels_of_the_two_tied_directions_of_the_paper():
    """Λ = I/2, 31 examples: 0.544 and 0.088 of the initial loss, at the refined critical points of a random start."""
    population = in_context_population(np.eye(2) / 2, 31)
    model = TwoLayer(LinearAttention(inputs=2), width=4, scale=2e-4, key=jax.random.key(1))
    visits = itinerary(simulate(model, statistics_loss, population, t1=2000.0))
    found = [visit.critical_point.loss / visits[0].critical_point.loss for visit in visits]
    np.testing.assert_allclose(found, [1, 37 / 68, 3 / 34], atol=1e-9)
    assert all(visit.critical_point.converged for visit in visits)


def test_merged_key_and_query_learn_all_directions_at_once():
    """One sigmoid: û(t) and the loss ½(D − 2su + bu²) in closed form; a single plateau."""
    inputs, context, start = 3, 10, 1e-3
    population = in_context_population(np.eye(inputs), context, normalised=True, weight=0.5)
    weights, direction = start * np.array([[0.6], [0.8]]), np.eye(inputs).ravel() / np.sqrt(inputs)
    model = TwoLayer(MergedAttention(inputs=inputs), width=2, scale=0.0, key=jax.random.key(0))
    model = with_units(model, jnp.asarray(weights * direction), jnp.asarray(weights))
    times = np.array([3.0, 4.0, 5.0, 20.0])
    flow = simulate(model, statistics_loss, population, t1=20.0, save_times=times)
    u = theory.merged_attention_strength(times, inputs, context, start**2)
    expected = (inputs - 2 * np.sqrt(inputs) * u + (1 + (1 + inputs) / context) * u**2) / 2
    np.testing.assert_allclose(flow.losses[np.searchsorted(flow.ts, times)], expected, rtol=1e-8)
    levels = theory.merged_attention_levels(inputs * (1.0,), context)
    assert levels[0] == inputs and 2 * flow.losses[-1] == pytest.approx(levels[1], rel=1e-10)


def test_heads_of_rank_two_learn_two_directions_each(population):
    model = TwoLayer(LinearAttention(inputs=4, rank=2), width=2, scale=0.0, key=jax.random.key(0))
    gradient = eqx.filter_value_and_grad(statistics_loss)
    for heads_used, level in enumerate(theory.linear_attention_levels(VALUES, CONTEXT, rank=2)):
        keys, v = np.zeros((2, 2, 4)), np.zeros((2, 1))
        for head in range(heads_used):
            pair = slice(2 * head, 2 * head + 2)
            v[head] = 1.3
            keys[head][:, pair] = np.diag(np.sqrt(ENDS[pair] / 1.3))
        point = with_units(model, jnp.asarray(np.concatenate([keys, keys], axis=1).reshape(2, -1)), jnp.asarray(v))
        loss, slope = gradient(point, population)
        assert np.max(np.abs(flatten(slope))) < 1e-14
        assert 2 * float(loss) == pytest.approx(level, abs=1e-12)


# Modular addition (Kunin et al. 2025): p = 20 and three frequencies.
AMPLITUDES = {1: 10.0, 3: 5.0, 5: 2.5}


def solved(template, frequencies):
    """Eight units for each frequency that add two cosines exactly: 4ab = (a + b)² − (a − b)²."""
    p, sizes = len(template), np.fft.rfft(template)
    rows_u, rows_v = [], []
    shifts = np.arange(p)
    for frequency in frequencies:
        wave = np.exp(2j * np.pi * frequency * shifts / p)
        # w(t) = Re Σ: the readers c, s of a shift give cos and sin of its phase, the writers the template's part.
        reader = 2 * wave * np.exp(1j * np.angle(sizes[frequency])) / (2 * abs(sizes[frequency]))
        writer = 2 * np.abs(sizes[frequency]) * wave * np.exp(1j * np.angle(sizes[frequency])) / p
        # Shift by a: phase −ωa. cos(a+b) = cc − ss and sin(a+b) = sc + cs.
        terms = [(reader.real, reader.real, writer.real), (reader.imag, reader.imag, -writer.real)]
        terms += [(reader.imag, reader.real, writer.imag), (reader.real, reader.imag, writer.imag)]
        for first, second, out in terms:
            for sign in (1, -1):
                rows_u.append(np.concatenate([first, sign * second]))
                rows_v.append(sign * out / 4)
    model = TwoLayer(
        Dense(quadratic, inputs=2 * p, outputs=p), width=max(len(rows_u), 1), scale=0.0, key=jax.random.key(0)
    )
    return with_units(model, jnp.asarray(rows_u), jnp.asarray(rows_v)) if rows_u else model


@pytest.mark.slow
def test_modular_addition_has_a_saddle_for_each_set_of_learned_frequencies():
    x = fourier_template(20, AMPLITUDES, key=jax.random.key(0))
    data, levels = modular_addition(x), theory.modular_addition_levels(x)
    np.testing.assert_allclose(levels, [0.65625, 0.15625, 0.03125, 0], atol=1e-12)
    for learned, level in enumerate(levels):
        model = solved(x, list(AMPLITUDES)[:learned])
        loss, slope = eqx.filter_value_and_grad(mean_squared_error)(model, data)
        assert float(loss) == pytest.approx(level, abs=1e-12)
        assert np.max(np.abs(flatten(slope))) < 1e-12
