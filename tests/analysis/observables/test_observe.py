"""Functions of the model along a flow: values, labels, one program, and failures that are told."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from saddlescope.analysis import (
    Observable,
    Quantity,
    attention_patterns,
    effective_rank,
    observe,
    plot_observables,
    stable_rank,
    units_in_use,
    weight_norms,
)
from saddlescope.flows import half_squared_error, simulate
from saddlescope.models import Dense, DiagonalLinear, SoftmaxAttention, TwoLayer, linear

from compilations import compiled

X = np.sqrt(3) * np.vstack([np.eye(3), -np.eye(3)])
STRENGTHS = np.array([4.0, 2.0, 1.0])


@pytest.fixture(scope="module")
def flow():
    model = TwoLayer(Dense(linear, inputs=3, outputs=3), width=5, scale=1e-4, key=jax.random.key(0))
    return simulate(model, half_squared_error, (X, X * STRENGTHS), t1=22.0)


def strengths(model):
    """The singular values of the map."""
    u, v = model.parameters
    return jnp.linalg.svd(v.T @ u, compute_uv=False)


def test_values_are_those_of_the_function_at_each_step(flow):
    """Compiled, and by NumPy; the map's singular values tell the loss."""
    host = lambda model: np.linalg.svd(np.asarray(model.parameters[1]).T @ model.parameters[0], compute_uv=False)  # noqa: E731
    seen = observe(flow, {"compiled": strengths, "host": host})
    np.testing.assert_array_equal(seen["time"], flow.ts)
    assert seen["compiled"].dims == ("time", "compiled_0") and seen["host"].shape == (len(flow.ts), 3)
    np.testing.assert_allclose(seen["compiled"], seen["host"], rtol=1e-9, atol=1e-16)
    # Of aligned maps, as this one is from the first plateau on to within its small initial weights.
    late = flow.ts > 6
    losses = 0.5 * np.sum((seen["compiled"].values - STRENGTHS) ** 2, axis=1)
    np.testing.assert_allclose(losses[late], flow.losses[late], atol=1e-6)


def test_given_times_are_stepped_onto(flow):
    times = [0.0, 1.2345, 7.0, float(flow.ts[-1])]
    seen = observe(flow, {"strengths": strengths}, ts=times)
    expected = [strengths(flow.model(t)) for t in times]
    np.testing.assert_allclose(seen["strengths"], expected, rtol=1e-12)
    np.testing.assert_array_equal(seen["time"], times)


def test_names_axes_and_attributes(flow):
    labels = {"direction": ("east", "north", "up")}
    quantity = Quantity("strength", axes=("direction",), labels=labels, measured_in="m")
    norms = weight_norms(flow.initial_model)
    pair = lambda model: {"sum": jnp.sum(strengths(model)), "two": jnp.stack(model.parameters)[:, 0]}  # noqa: E731
    labelled = Observable(strengths, quantities={"": quantity})
    seen = observe(flow, {"strengths": labelled, "pair": pair, "norms": norms}, ts=[0.0, 22.0])
    assert seen["strengths"].sel(direction="up", time=22.0) == pytest.approx(1.0, abs=1e-6)
    assert seen["strengths"].attrs == {"long_name": "strength", "units": "m"}
    assert set(seen.data_vars) == {"strengths", "pair_sum", "pair_two", "norms"}
    assert seen["pair_sum"].dims == ("time",) and seen["pair_two"].dims == ("time", "pair_two_0", "pair_two_1")
    assert list(seen["array"].values) == ["parameters[0]", "parameters[1]"]
    assert str(labelled) == "strength (direction)"


def test_axes_of_one_name_and_other_entries_are_not_joined(flow):
    axis = lambda *labels: Quantity("", axes=("part",), labels={"part": labels})  # noqa: E731
    first = Observable(lambda m: jnp.ones(2), quantities={"": axis("a", "b")})
    second = Observable(lambda m: jnp.ones(3), quantities={"": axis("b", "c", "d")})
    third = Observable(lambda m: jnp.ones(2), quantities={"": axis("a", "b")})
    seen = observe(flow, {"first": first, "second": second, "third": third}, ts=[0.0])
    assert seen["first"].dims == seen["third"].dims == ("time", "part")
    assert seen["second"].dims == ("time", "second_part") and np.all(seen["second"] == 1)


def test_all_steps_and_observables_are_one_program(flow):
    functions = {"strengths": strengths, "norm": lambda model: jnp.linalg.norm(model.parameters[0])}
    with compiled() as first:
        observe(flow, functions)
    assert len(first) <= 1
    with compiled() as second:
        observe(flow, {"strengths": lambda model: strengths(model), "norm": functions["norm"]}, ts=flow.ts[::7])
    assert not second


def test_what_is_not_finite_is_told(flow):
    """The logarithm of what is negative in a part of the flow."""
    function = lambda model: jnp.log(strengths(model)[1] - 1.0)  # noqa: E731
    with pytest.warns(UserWarning, match=r"'late' is not finite at \d+ of \d+ times, first at t = 0"):
        seen = observe(flow, {"late": function, "fine": strengths})
    missing = ~np.isfinite(seen["late"].values)
    assert f"at {missing.sum()} of {len(flow.ts)} times" in seen["late"].attrs["missing"]
    assert "missing" not in seen["fine"].attrs


def test_a_function_that_fails_somewhere_is_told_and_elsewhere_known(flow):
    def late(model):
        if float(strengths(model)[2]) < 0.5:
            raise ArithmeticError("too small")
        return 1.0

    with pytest.warns(UserWarning, match=r"'late' failed \(ArithmeticError\('too small'\)\) at \d+ of"):
        seen = observe(flow, {"late": late}, ts=[0.0, 7.0, 15.0])
    np.testing.assert_array_equal(seen["late"], [np.nan, np.nan, 1.0])


def always(model):
    return 1 / (0 * float(strengths(model)[0]))


def growing(model):
    return np.ones(1 + int(strengths(model)[0] > 1))


@pytest.mark.parametrize(
    ("functions", "words"),
    [
        ({}, "give functions of the model by name"),
        ({"two words": strengths}, "an identifier other than 'time'"),
        ({"time": strengths}, "an identifier other than 'time'"),
        ({"number": 1.0}, "'number' must be a function of the model"),
        ({"wrong": lambda model: model.weight}, "'wrong' cannot be computed of this model: AttributeError"),
        ({"always": always}, "'always' fails at all times: ZeroDivisionError"),
        ({"text": lambda model: "large"}, "'text' must return arrays of numbers; got 'large'"),
        ({"none": lambda model: None}, "'none' must return arrays of numbers; got None"),
        ({"growing": growing}, "'growing' returns arrays of different shapes"),
    ],
)
def test_bad_functions_are_refused(flow, functions, words):
    with pytest.raises(ValueError, match=words):
        observe(flow, functions)


@pytest.mark.parametrize("ts", [[], [1.0, 1.0], [2.0, 1.0], [0.0, 99.0]])
def test_bad_times_are_refused(flow, ts):
    with pytest.raises(ValueError, match="ts must be|t must lie in"):
        observe(flow, {"strengths": strengths}, ts=ts)


def test_ranks_and_shares_of_units_of_a_network_that_learns_mode_by_mode(flow):
    """Plateaus of one, two and three equal directions of size √s: all three ranks tell their number."""
    model = flow.initial_model
    ranks = {"entropy": effective_rank(model), "stable": stable_rank(model), "used": units_in_use(flow)}
    seen = observe(flow, {**ranks, "norms": weight_norms(model)}, ts=[0.0, 3.2, 22.0])
    np.testing.assert_allclose(seen["used"].values[:, 0], [0, 0.2, 0.6])
    one, all_three = seen.isel(time=1), seen.isel(time=2)
    np.testing.assert_allclose(one["stable"], 1, atol=1e-2)
    # Balanced weights have the roots of the map's singular values.
    sizes = np.sqrt(STRENGTHS)
    p = sizes / sizes.sum()
    np.testing.assert_allclose(all_three["entropy"], np.exp(-np.sum(p * np.log(p))), rtol=1e-6)
    np.testing.assert_allclose(all_three["stable"], STRENGTHS.sum() / STRENGTHS[0], rtol=1e-6)
    np.testing.assert_allclose(all_three["norms"], np.sqrt(STRENGTHS.sum()), rtol=1e-6)


def test_units_that_nobody_declared_are_in_use_as_declared_ones(flow):
    """The same flow of an `eqx.nn.MLP` without biases."""
    u, v = flow.initial_model.parameters
    options = {"activation": lambda x: x, "use_bias": False, "use_final_bias": False, "key": jax.random.key(0)}
    plain = eqx.nn.MLP(3, 3, 5, 1, **options)
    plain = eqx.tree_at(lambda m: [layer.weight for layer in m.layers], plain, [u, v.T])
    other = simulate(plain, half_squared_error, (X, X * STRENGTHS), t1=22.0)
    seen = observe(other, {"used": units_in_use(other)}, ts=[0.0, 3.2, 22.0])
    np.testing.assert_allclose(seen["used"].values[:, 0], [0, 0.2, 0.6])


@given(seed=st.integers(0, 10**6), rank=st.integers(1, 4))
def test_ranks_lie_between_one_and_the_rank_and_do_not_see_scale_or_basis(seed, rank):
    random = np.random.default_rng(seed)
    left, right = random.standard_normal((5, rank)), random.standard_normal((rank, 4))
    rotation = np.linalg.qr(random.standard_normal((5, 5)))[0]
    for observable in (effective_rank, stable_rank):
        found = [float(observable([m])([m])[0]) for m in (left @ right, 1e-9 * rotation @ left @ right)]
        assert 1 - 1e-9 <= found[0] <= rank + 1e-9
        assert found[1] == pytest.approx(found[0], rel=1e-9)
    equal = rotation[:, :rank] @ np.linalg.qr(right.T)[0].T
    assert float(effective_rank([equal])([equal])[0]) == pytest.approx(rank)
    assert float(stable_rank([equal])([equal])[0]) == pytest.approx(rank)


def test_the_figure_has_a_panel_for_each_observable_that_can_be_drawn(flow):
    many = lambda model: jnp.outer(jnp.arange(60.0), strengths(model))  # noqa: E731
    seen = observe(flow, {"strengths": strengths, "norms": weight_norms(flow.initial_model), "many": many})
    panels = [ax for ax in plot_observables(seen, logarithmic=True).axes if ax.axison]
    assert [ax.get_title() for ax in panels] == ["strengths", "Frobenius norm"]
    assert [len(ax.lines) for ax in panels] == [3, 2]
    np.testing.assert_array_equal(panels[0].lines[2].get_ydata(), seen["strengths"][:, 2])
    assert [text.get_text() for text in panels[1].get_legend().get_texts()] == ["parameters[0]", "parameters[1]"]
    with pytest.raises(ValueError, match="no variable of at most 50 entries"):
        plot_observables(seen[["many"]])


@pytest.mark.parametrize("scale", [0.0, 1e-200])
def test_ranks_of_vanishing_matrices(flow, scale):
    """Of zeros there is none; of very small ones it is that of their multiples."""
    model = jax.tree.map(lambda leaf: scale * leaf, flow.initial_model)
    with np.errstate(all="raise"):
        entropy, stable = (np.asarray(rank(flow.initial_model)(model)) for rank in (effective_rank, stable_rank))
    if not scale:
        np.testing.assert_array_equal([entropy, stable], 0)
    else:
        np.testing.assert_allclose(entropy, effective_rank(model)(flow.initial_model), rtol=1e-9)
        np.testing.assert_allclose(stable, stable_rank(model)(flow.initial_model), rtol=1e-9)


def test_attention_patterns_are_the_weights_of_the_output():
    """Each head's sum to one; the prediction is their mean of the tokens times v."""
    tokens = jax.random.normal(jax.random.key(1), (4, 6, 3)).at[:, -1, -1].set(0)
    model = TwoLayer(SoftmaxAttention(inputs=2), width=3, scale=1.0, key=jax.random.key(0))
    pattern = attention_patterns(model, tokens)(model)
    assert pattern.shape == (4, 3, 6)
    np.testing.assert_allclose(jnp.sum(pattern, axis=2), 1, rtol=1e-12)
    expected = jnp.einsum("pht,ptd,hdo->po", pattern, tokens, model.parameters[2])
    np.testing.assert_allclose(jax.vmap(model)(tokens), expected, rtol=1e-12)
    key = eqx.tree_at(lambda m: m.parameters[0], model, jnp.zeros_like(model.parameters[0]))
    np.testing.assert_allclose(attention_patterns(model, tokens)(key), 1 / 6, rtol=1e-12)


def test_observables_refuse_models_that_do_not_fit(flow):
    diagonal = simulate(DiagonalLinear(inputs=3, scale=0.1), half_squared_error, (X, X[:, :1]), t1=0.1)
    with pytest.raises(ValueError, match="has no units"):
        units_in_use(diagonal)
    with pytest.raises(ValueError, match="no arrays of two axes"):
        effective_rank(diagonal.initial_model)
    with pytest.raises(ValueError, match="observe a function from your model"):
        attention_patterns(flow.initial_model, np.ones((2, 3, 4)))
    heads = TwoLayer(SoftmaxAttention(inputs=2), width=3, scale=1.0, key=jax.random.key(0))
    with pytest.raises(ValueError, match="array of three axes"):
        attention_patterns(heads, np.ones((3, 3)))
