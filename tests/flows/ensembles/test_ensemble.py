"""Ensembles: each member is the flow that `simulate` integrates, whatever the others do."""

import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.flows import Result, ensemble, simulate
from saddlescope.flows.ensembles import ensemble as module
from saddlescope.flows.ensembles.arguments import _same_shapes as same_shapes

from chains import Chain, chain, squared


def quartic(model, data):
    """Without a lower bound: $a' = 4 a^3$ reaches infinity at time $1/(8 a_0^2)$."""
    return -(model.a**4) + data * model.b**2


MODELS = [chain(seed, scale) for seed, scale in enumerate([1e-3, 1.0, 1e-2, 0.3, 1e-3])]
T1 = 60.0


@pytest.fixture(scope="module")
def flows():
    return [simulate(model, squared, 1.0, t1=T1) for model in MODELS]


@pytest.fixture(scope="module")
def found():
    return ensemble(MODELS, squared, 1.0, t1=T1)


@pytest.mark.parametrize("method", ["auto", "sequential"])
@pytest.mark.fast_for("sequential")
def test_members_take_the_steps_of_simulate(flows, method):
    """In double precision the programs differ by rounding, which moves no step by more than the tolerance would."""
    found = ensemble(MODELS, squared, 1.0, t1=T1, method=method)
    assert len(found) == len(flows) and not found.failed.any()
    for flow, member in zip(flows, found.members, strict=True):
        assert len(member.ts) == len(flow.ts) and member.stats["num_steps"] == flow.stats["num_steps"]
        assert [name for _, name in member.stats["solver_history"]] == [n for _, n in flow.stats["solver_history"]]
        np.testing.assert_allclose(member.ts, flow.ts, rtol=1e-4)
        np.testing.assert_allclose(member.thetas[-1], flow.thetas[-1], rtol=1e-9)
        # On the same steps, the same losses: the slope where the loss falls is all that differs.
        np.testing.assert_allclose(member.losses, np.interp(member.ts, flow.ts, flow.losses), atol=1e-3)
        # Two conserved quantities: the difference of squares, and the dissipated energy beside the loss.
        imbalance = member.thetas[:, 0] ** 2 - member.thetas[:, 1] ** 2
        assert np.ptp(imbalance) < 1e-8
        assert np.max(np.abs(member.losses[0] - member.losses - member.energies)) < 1e-8


def test_a_member_is_a_trajectory(found, flows):
    flow = found[1]
    np.testing.assert_allclose(flow.evaluate(3.0), flows[1].evaluate(3.0), rtol=1e-8)
    assert flow.energy_error < 1e-9 and flow.stats["rtol"] == flows[1].stats["rtol"]
    assert flow.stats["atol"] == flows[1].stats["atol"] != found[0].stats["atol"]
    some = found[np.array([True, False, True, False, False])]
    assert len(some) == 2 and some.members[1] is found.members[2]
    assert [flow.ts[-1] for flow in some] == [T1, T1]
    assert f"ensemble of {len(MODELS)} gradient flows" in str(found) and "Tsit5" in found.reason


def test_weights_that_do_not_fit_into_memory_are_integrated_again(monkeypatch, found, flows):
    monkeypatch.setattr(module, "KEPT_NUMBERS", 2 * 20 * len(MODELS))
    thin = ensemble(MODELS, squared, 1.0, t1=T1)
    for member, whole, flow in zip(thin.members, found.members, flows, strict=True):
        assert len(member.kept) < 25 < len(member.ts) and not member.complete
        np.testing.assert_allclose(member.speeds, whole.speeds, rtol=1e-6, atol=1e-12)
        np.testing.assert_allclose(member.norms, np.linalg.norm(flow.thetas, axis=1), rtol=1e-4)
    places = [(k, len(member.ts) * j // 7) for k, member in enumerate(thin.members) for j in range(7)]
    exact = [found.members[k].thetas[index] for k, index in places]
    np.testing.assert_allclose(thin.weights(places), exact, rtol=1e-8, atol=1e-12)
    again = thin[2]
    np.testing.assert_allclose(again.thetas, flows[2].thetas, rtol=1e-8)
    assert again.result is Result.reached_t1 and len(again.ts) == len(thin.members[2].ts)


def test_a_member_that_fails_is_a_row_with_a_reason():
    starts = [0.1, 2.0, 0.05]
    models = [Chain(jnp.asarray(a), jnp.asarray(1.0)) for a in starts]
    with pytest.warns(UserWarning, match=r"1 of 3 flows stopped early; number 1 stopped at t = 0\.03"):
        found = ensemble(models, quartic, 1.0, t1=2.0)
    assert [result.failed for result in found.results] == [False, True, False] == found.failed.tolist()
    assert found.failures[1].endswith(Result.not_finite.value) and np.isfinite(found.final_losses).all()
    np.testing.assert_allclose(found.members[1].ts[-1], 1 / 32, rtol=1e-6)
    for number in (0, 2):
        exact = starts[number] / np.sqrt(1 - 8 * starts[number] ** 2 * 2.0)
        np.testing.assert_allclose(found.members[number].thetas[-1, 0], exact, rtol=1e-8)


@pytest.mark.slow
def test_every_member_may_have_its_own_data_and_stops():
    targets = [1.0, 2.0, 3.0]
    models = [chain(3)] * 3
    found = ensemble(models, squared, targets, t1=T1, separate_data=True, save_times=[1.0, 2.5])
    for target, member in zip(targets, found.members, strict=True):
        np.testing.assert_allclose(np.prod(member.thetas[-1]), target, rtol=1e-8)
        assert {1.0, 2.5, T1} <= set(member.ts)
    flow = simulate(models[2], squared, 3.0, t1=T1, save_times=[1.0, 2.5])
    assert len(flow.ts) == len(found.members[2].ts)


def test_a_function_makes_the_members_of_a_grid():
    found = ensemble(chain, squared, 1.0, t1=1.0, keys=[5, 6], grid={"scale": [0.1, 0.2, 0.4]}, rtol=1e-6)
    np.testing.assert_array_equal(found.parameters["scale"], [0.1, 0.1, 0.2, 0.2, 0.4, 0.4])
    np.testing.assert_array_equal(found.parameters["key"], [0, 1] * 3)
    np.testing.assert_allclose(found.members[5].thetas[0], 0.4 * np.random.default_rng(6).standard_normal(2))


def test_interruption_and_budget_keep_what_is_there():
    def interrupt(ended, total):
        raise KeyboardInterrupt

    models = [chain(seed) for seed in range(40)]
    with pytest.warns(UserWarning, match="flows stopped early"):
        found = ensemble(models, squared, 1.0, t1=T1, progress=interrupt)
    results = found.results
    assert results.count(Result.reached_t1) >= 1 and results.count(Result.interrupted) >= 1
    whole = ensemble(models, squared, 1.0, t1=T1)
    for member, other in zip(found.members, whole.members, strict=True):
        np.testing.assert_array_equal(member.losses, other.losses[: len(member.losses)])
    with pytest.warns(UserWarning, match="40 of 40 flows stopped early"):
        assert set(ensemble(models, squared, 1.0, t1=T1, budget=0.0).results) == {Result.budget}


def test_members_of_one_program_have_arrays_of_the_same_shapes():
    alike = lambda model, data: same_shapes(chain(), np.ones(3), model, data)  # noqa: E731
    assert alike(chain(5), np.zeros(3))
    assert not alike(Chain(jnp.ones(2), jnp.ones(())), np.ones(3)) and not alike(chain(), np.ones(4))
    assert not alike(chain(), np.ones(3, int))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "fast"}, "method must be one of auto, vectorised, sequential, parallel; got 'fast'"),
        ({"models": []}, "at least one model"),
        ({"keys": [1]}, "keys and grid are arguments of a function"),
        ({"models": chain}, "needs keys or a grid"),
        ({"separate_data": True, "data": [1.0]}, "one dataset for each model; got 1 for 2"),
        ({"t1": -1.0}, "t1 must be positive"),
        ({"rtol": 1e-20}, "cannot be met"),
        (
            {"models": [chain(), Chain(jnp.asarray(np.nan), jnp.asarray(1.0))]},
            "member number 1: the model's weights hold",
        ),
        ({"models": [chain(), Chain(jnp.ones(2), jnp.ones(()))]}, "member number 1: it has 3 parameters, the first 2"),
        ({"separate_data": True, "data": [1.0, np.ones((1, 1))]}, "member number 1: "),
        ({"separate_data": True, "data": [1.0, np.nan]}, "member number 1: the data hold NaN"),
    ],
)
def test_bad_input_is_refused(changes, message):
    arguments = {"models": [chain(1), chain(2)], "data": 1.0, "t1": 1.0} | changes
    models, data = arguments.pop("models"), arguments.pop("data")
    with pytest.raises(ValueError, match=message):
        ensemble(models, squared, data, **arguments)
