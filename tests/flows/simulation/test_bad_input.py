"""Bad input raises before any work, with a sentence; nothing is half-written."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.__main__ import main
from saddlescope.analysis import Thresholds, added_unit_form, effective_width, hessian, theory
from saddlescope.analysis.visits.passages import closest_approaches
from saddlescope.experiments import experiment
from saddlescope.flows import Landscape, half_squared_error, simulate
from saddlescope.models import Convolution, Dense, TwoLayer, UnitLaw, linear, relu

X, Y, KEY = jnp.ones((4, 2)), jnp.ones((4, 1)), jax.random.key(0)


def squares(model, data):
    return jnp.sum(model.w**2)


class Bare(eqx.Module):
    w: jax.Array

    def __call__(self, x):
        return self.w @ x


def model(**changes):
    settings = {"width": 3, "scale": 0.1, **changes}
    return TwoLayer(Dense(linear, inputs=2), **settings, key=jax.random.key(0))


def stateful():
    return eqx.nn.make_with_state(eqx.nn.BatchNorm)(2, axis_name="batch", mode="ema")[0]


def flow(net=None, data=(X, Y), loss=half_squared_error, **options):
    return simulate(model() if net is None else net, loss, data, **{"t1": 1.0, **options})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: experiment("nonsense"), "unknown experiment 'nonsense'; there are: linear"),
        (lambda: model(scale=-1.0), "must be finite and not negative; got -1.0"),
        (lambda: model(scale=float("nan")), "must be finite"),
        (lambda: model(width=0), "width must be at least 1; got 0"),
        (lambda: Dense(linear, inputs=0), "inputs must be at least 1"),
        (lambda: Convolution(relu, inputs=2, kernel=3), "kernel must fit the signal"),
        (lambda: UnitLaw(zero=True, linear=True), "linear unit law must state"),
        (lambda: UnitLaw(zero=True, order=0), "order must be"),
        (lambda: flow(data=(X[:0], Y[:0])), "no samples"),
        (lambda: flow(data=(X.at[0, 0].set(jnp.nan), Y)), "data hold NaN or infinite"),
        (lambda: flow(data=(X, Y.at[0, 0].set(jnp.inf))), "data hold NaN or infinite"),
        (lambda: flow(data=(X, jnp.ones((4, 2)))), r"outputs have shape \(4, 1\) but the targets have shape \(4, 2\)"),
        (lambda: flow(data=(jnp.ones((4, 3)), Y)), "loss does not fit model and data"),
        (lambda: flow(data=(jnp.ones((5, 2)), Y)), "but the targets have shape"),
        (lambda: flow(Bare(jnp.ones((1, 2), int))), "must be floating point; got an array of int64"),
        (lambda: flow(Bare(jnp.ones((1, 2), complex))), "real weights; got complex128"),
        (lambda: flow(Bare(jnp.full((1, 2), jnp.nan))), "weights hold NaN"),
        (lambda: flow(Bare(jnp.ones((1, 2), jnp.bfloat16))), "bfloat16 are too coarse.*convert them to float32"),
        (lambda: flow(Bare(jnp.ones((1, 2), jnp.float16))), "float16 are too coarse"),
        (lambda: flow(eqx.nn.BatchNorm(2, axis_name="batch", mode="ema")), "state among its weights.*make_with_state"),
        (lambda: flow(stateful(), data=(X, X)), "keeps a state.*inference_mode"),
        (lambda: flow(eqx.nn.Sequential([eqx.nn.Linear(2, 1, key=KEY), eqx.nn.Dropout()])), "dropout.*inference_mode"),
        (lambda: flow(eqx.nn.Lambda(jnp.sin)), "no floating-point arrays"),
        (lambda: flow(Bare(jnp.ones((1, 2), jnp.float32)), rtol=1e-8), "cannot be met in float32"),
        (lambda: flow(rtol=1e-16), "cannot be met in float64"),
        (lambda: flow(rtol=-1.0), "tolerances must be positive"),
        (lambda: flow(atol=0.0), "tolerances must be positive"),
        (lambda: flow(t1=0.0), "t1 must be positive"),
        (lambda: flow(t1=float("inf")), "t1 must be positive and finite"),
        (lambda: flow(save_times=[0.5, 0.2]), "increasing"),
        (lambda: flow(save_times=[2.0]), "beyond t1"),
        (lambda: flow(max_steps=0), "max_steps must be at least 1"),
        (lambda: flow(loss=lambda m, d: m.v), "real scalar"),
        (lambda: flow(loss=lambda m, d: jnp.log(-jnp.sum(m.v**2))), "not finite at the initial weights"),
        (lambda: flow().evaluate(2.0), r"t must lie in \[0, 1\]"),
        (lambda: closest_approaches(np.ones(5), prominence=0.0), "prominence must be positive"),
        (lambda: effective_width(Bare(jnp.ones((1, 2)))), "declares no units"),
        (lambda: effective_width(model(), thresholds=Thresholds(unit_share=2.0)), "share must lie between 0 and 1"),
        (
            lambda: hessian(Landscape(Bare(jnp.ones((1, 4000))), lambda model, data: jnp.sum(model.w**2), ())),
            "at most 3000 parameters",
        ),
        (lambda: theory.orthogonal_relu_levels(np.ones((2, 2)), np.ones(2)), "not applicable"),
    ],
)
def test_bad_input_raises(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_law_without_zero_has_no_dormant_unit():
    from saddlescope.models import Slot, Units

    from architectures import Foreign

    class Offset(Foreign):
        @property
        def units(self):
            slots = super().units
            return Units(
                incoming=slots.incoming,
                outgoing=(Slot(lambda m: m.readout.weight, axis=1),),
                law=UnitLaw(zero=False, order=0),
            )

    with pytest.raises(ValueError, match="has no zero"):
        added_unit_form(Landscape(Offset(3, key=jax.random.key(0)), half_squared_error, (X, jnp.ones((4, 2)))))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "unknown experiment"),
        (["linear", "--scale", "-1"], "not negative"),
        (["linear", "--width", "0"], "width must be"),
        (["linear", "--t1", "-2"], "t1 must be positive"),
        (["linear", "--out", "/dev/null/runs"], "cannot write to"),
        (["linear", "--json", "/dev/null/x.json"], "cannot write to"),
    ],
)
def test_the_command_line_says_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["run", *arguments]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert message in output.err
    assert len(output.err.strip().splitlines()) == 1
    assert not list(tmp_path.rglob("*.*"))


def test_weights_of_several_precisions_are_warned_about():
    class Two(eqx.Module):
        w: jax.Array
        b: jax.Array

        def __call__(self, x):
            return self.w @ x + self.b

    with pytest.warns(UserWarning, match="float32 and float64.*Convert all of them to float64"):
        flow(Two(jnp.ones((1, 2), jnp.float32), jnp.ones(1)), rtol=1e-4)
