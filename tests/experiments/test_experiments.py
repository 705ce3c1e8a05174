"""The six set-ups of the reference paper's Figure 1B–G, against theory."""

from functools import cache

import jax
import numpy as np
import pytest
from saddlescope.analysis import theory
from saddlescope.experiments import experiment, run
from saddlescope.flows import mean_squared_error
from saddlescope.models.units import unit_vectors

EMBEDDINGS = {
    "linear": "iv",
    "linear-conv": "iv",
    "relu": "iii",
    "relu-conv": "iii",
    "attention": "ii",
    "quadratic": "ii",
}
# At the published scale ε = 0.005 these grow a second (or third) unit together with the one before: the runner-up is
# O(ε) only up to a factor that ε = 0.005 does not make small. At a tenth of the scale, or a hundredth, they go one by
# one and the first one reaches its place.
TOGETHER = {("attention", 0): 5e-4, ("attention", 2): 5e-5, ("quadratic", 1): 5e-4}
FAST = [("linear", 0), ("relu", 0), ("attention", 1), ("quadratic", 0)]
ALL = [(name, seed) for name in EMBEDDINGS for seed in range(3)]
SLOW = [pytest.param(*case, marks=pytest.mark.slow) for case in ALL if case not in FAST]
CASES = [*FAST, *SLOW]


@cache
def finished(name, seed):
    return run(name, seed)


def kinds(visits):
    return [visit.kind.name for visit in visits]


@pytest.mark.parametrize(("name", "seed"), CASES)
@pytest.mark.fast_for("attention-1", "linear-0")
def test_itinerary(name, seed):
    visits = finished(name, seed).itinerary
    assert visits[-1].kind.name == "minimum"
    assert all(visit.effective_width.embedding == EMBEDDINGS[name] for visit in visits)
    widths = [visit.effective_width.width for visit in visits]
    if (name, seed) in TOGETHER:
        assert "grew together" in str(visits) or "unclear" in str(visits)
        assert widths[0] == 0 and widths == sorted(widths)
        return
    assert widths == [0, 1, 2]
    saddle = {"linear": "strict", "relu": "non-smooth"}.get(name.removesuffix("-conv"), "degenerate") + " saddle"
    assert kinds(visits) == [saddle, saddle, "minimum"]
    order = 3 if saddle == "degenerate saddle" else 2
    assert [visit.kind.order for visit in visits] == [order, order, None]


@pytest.mark.parametrize(("name", "seed"), CASES)
def test_every_refined_critical_point_is_critical(name, seed):
    result = finished(name, seed)
    for visit in result.itinerary:
        if visit.critical_point.converged:
            assert visit.critical_point.gradient_norm <= 1e-10
        else:
            assert visit.kind.name == "no critical point"
    assert result.record["conserved_drift"] <= 1e-8
    assert result.record["energy_error"] <= 1e-8


@pytest.mark.parametrize(("name", "seed"), [case for case in CASES if "linear" in str(case)])
def test_measured_rates_match_the_predicted_ones(name, seed):
    """To 1 % wherever the exponential phase lasts three e-folds or more; the first one always does."""
    escapes = [visit.escape for visit in finished(name, seed).itinerary[:-1]]
    assert escapes[0].e_folds > 8
    for left in escapes:
        if left.e_folds >= 3:
            assert left.rate_measured == pytest.approx(left.rate_predicted, rel=0.01)


@pytest.mark.parametrize(("name", "seed"), [case for case in CASES if "linear" in str(case)])
def test_losses_are_those_of_theory(name, seed):
    """Lemma 6 on the sample at hand; for the convolution the best weighted low-rank fit, found independently."""
    result = finished(name, seed)
    found = [visit.critical_point.loss for visit in result.itinerary]
    np.testing.assert_allclose(found[:2], result.levels[:2], rtol=1e-9)
    assert found[2] < 1e-20


@pytest.mark.parametrize(("name", "seed"), [case for case in CASES if "'linear'" in str(case)])
def test_linear_index_and_nullity(name, seed):
    """(H − r)(ρ − r) and r² + (H − r)(N_v + N_u − 2(ρ − r)) + ties; white targets tie the two modes."""
    for r, visit in enumerate(finished(name, seed).itinerary):
        ties = 1 if r == 1 else 0
        assert visit.kind.spectrum.index == (50 - r) * (2 - r)
        assert visit.kind.spectrum.nullity == r**2 + (50 - r) * 2 * r + ties


@pytest.mark.parametrize(("name", "seed"), [case for case in CASES if "relu" in str(case)])
def test_relu_escapes_along_the_maximiser(name, seed):
    result = finished(name, seed)
    np.testing.assert_allclose([v.critical_point.loss for v in result.itinerary], result.levels, atol=1e-12)
    for visit in result.itinerary[:-1]:
        assert visit.kind.name == "non-smooth saddle"
        assert visit.escape.overlap >= 0.999
        if visit.escape.e_folds >= 3:
            assert visit.escape.rate_measured == pytest.approx(visit.escape.rate_predicted, rel=0.01)
    if name == "relu":
        # Rates of the mean squared error: 2|y||x|/P.
        rates = [visit.escape.rate_predicted for visit in result.itinerary[:-1]]
        np.testing.assert_allclose(rates, [np.sqrt(5), np.sqrt(5) / 2], rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "seed"), sorted(TOGETHER))
def test_units_that_grow_together_separate_at_a_smaller_scale(name, seed):
    visits = run(name, seed, scale=TOGETHER[name, seed], t1=0.5 / TOGETHER[name, seed]).itinerary
    assert [visit.effective_width.width for visit in visits] == [0, 1, 2]
    assert kinds(visits) == ["degenerate saddle", "degenerate saddle", "minimum"]


@pytest.mark.slow
def test_a_head_that_does_not_reach_its_place_is_at_the_saddle_of_its_valley():
    """The best single heads form a circle in the population and have two critical points on it in a sample.

    The first head comes out 18° away from the worse one, turns by 25° towards the better one, over 60° away then, and
    leaves as the second head grows. At a tenth of the scale there is time to come to the better one.
    """
    _, near, _ = run("attention", 2, scale=5e-4, t1=1000.0).itinerary
    _, better, _ = run("attention", 2, scale=5e-5, t1=10_000.0).itinerary
    assert (near.kind.name, near.kind.index, near.kind.nullity) == ("strict saddle", 1, 47)
    assert better.critical_point.loss < near.loss < near.critical_point.loss
    models = near.critical_point.start_model, near.critical_point.model, better.critical_point.model
    start, worse, best = (bearing(model) for model in models)
    assert abs(start - worse) < 20 and 60 < abs(start - best) < 120


def bearing(model):
    """The angle of the largest head's key, in degrees from 0 to 180."""
    units = np.asarray(unit_vectors(model))
    largest = units[np.argmax(np.linalg.norm(units, axis=1))]
    return np.degrees(np.arctan2(largest[1], largest[0])) % 180


def test_attention_and_quadratic_levels_are_those_of_the_population():
    """The sample's saddles lie within a few per cent of the population's plateaus."""
    for name, seed in (("attention", 1), ("quadratic", 0), ("quadratic", 2)):
        result = finished(name, seed)
        found = [visit.critical_point.loss / result.trajectory.losses[0] for visit in result.itinerary]
        np.testing.assert_allclose(found, np.array(result.levels) / result.levels[0], atol=0.04)


def test_data_are_as_described():
    for name in EMBEDDINGS:
        setup = experiment(name).setup(7)
        again = experiment(name).setup(7)
        same = jax.tree.map(lambda a, b: bool(np.all(a == b)), setup.data, again.data)
        assert all(jax.tree.leaves(same))
        # All targets have unit second moment, in the population or on the sample.
        assert float(np.mean(np.asarray(setup.data[1]) ** 2)) == pytest.approx(1.0, abs=0.05)
        assert setup.loss is mean_squared_error
    x, y = experiment("linear").setup(0).data
    assert x.shape == (8192, 2)
    np.testing.assert_allclose(y.T @ y / 8192, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(x.T @ x / 8192, [[1, 1], [1, 4]], atol=0.2)
    x, y = experiment("relu-conv").setup(0).data
    np.testing.assert_allclose(x.T @ x / 4, np.diag([1, 1, 2, 1]), atol=1e-12)
    (beta, query), y = experiment("attention").setup(0).data
    moment = np.asarray(beta.T @ beta / 8192)
    expected = 31**2 * ((1 + 1 / 31) / 4 + 1 / 62)  # N²[(1 + 1/N)Λ² + tr Λ Λ/N] with Λ = I/2
    np.testing.assert_allclose(moment, expected * np.eye(2), rtol=0.1, atol=10)
    np.testing.assert_allclose(query.T @ query / 8192, np.eye(2) / 2, atol=0.03)


def test_population_levels_of_the_paper():
    np.testing.assert_allclose(theory.linear_attention_levels((0.5, 0.5), 31), [1, 0.5441176, 0.0882353], atol=1e-7)
    np.testing.assert_allclose(theory.isotropic_quadratic_levels(2), [1, 1 / 3, 0])
    assert experiment("relu").levels(experiment("relu").setup(0).data) == (1.0, 0.5, 0.0)


def test_digits():
    """Half the mean square of one-hot targets without weights; a convolution by hand."""
    for name, size in (("digits-tanh", 3700), ("digits-relu", 3700), ("digits-conv", 792)):
        setup = experiment(name).setup(0, scale=0.0)
        assert str(setup).split()[1] == str(size)
        assert experiment(name).levels(setup.data) == (0.5,)
        assert float(setup.loss(setup.model, setup.data)) == pytest.approx(0.5, rel=1e-12)
    model = experiment("digits-conv").setup(0, scale=1.0, width=2).model
    x = np.random.default_rng(0).standard_normal((8, 8))
    expected = np.zeros(10)
    for kernel, readout in zip(np.asarray(model.kernels), np.asarray(model.readout), strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3))
        channel = np.tanh(np.einsum("abij,ij->ab", windows, kernel))
        squares = [channel[2 * a : 2 * a + 2, 2 * b : 2 * b + 2].mean() for a in range(3) for b in range(3)]
        expected += np.array(squares) @ readout
    np.testing.assert_allclose(model(x.ravel()), expected, rtol=1e-12)
