"""Mistakes of users: calls with one wrong argument, each of which is one sentence or has a right answer."""

import functools
from collections.abc import Callable
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from saddlescope.analysis import (
    Thresholds,
    classify,
    compare,
    critical_point,
    effective_width,
    hessian,
    itinerary,
    observe,
    plot,
    spectrum,
    theory,
)
from saddlescope.flows import Landscape, descend, gradient_descent, half_squared_error, load, simulate
from saddlescope.models import Deep, Dense, TwoLayer, linear, relu

KEY = jax.random.key(0)
X = np.random.default_rng(0).standard_normal((5, 2))
Y = X[:, :1] - X[:, 1:] ** 2
NAN, INF = float("nan"), float("inf")
# What is no number, no array, no function and no record.
NONSENSE = [None, "10", "ten", object(), [], {}, 1j, np.ones(2), NAN, -1, True]


def model(**changes: Any) -> TwoLayer:
    return TwoLayer(Dense(linear, inputs=2), **{"width": 3, "scale": 0.1, "key": KEY, **changes})


def broken() -> TwoLayer:
    return eqx.tree_at(lambda m: m.parameters[0], model(), np.full((3, 2), NAN))


@functools.cache
def flow() -> Any:
    return simulate(model(), half_squared_error, (X, Y), t1=1.0)


def integrated(**changes: Any) -> Any:
    arguments = {"model": model(), "loss": half_squared_error, "data": (X, Y), "t1": 1.0, "max_steps": 50, **changes}
    return simulate(arguments.pop("model"), arguments.pop("loss"), arguments.pop("data"), **arguments)


def landscape(**changes: Any) -> Landscape:
    arguments = {"model": model(), "loss": half_squared_error, "data": (X, Y), **changes}
    return Landscape(*arguments.values())


def raising(error: Exception) -> Callable[..., Any]:
    def function(*_: Any) -> Any:
        raise error

    return function


# By function and argument: the call with one value changed, and values that are wrong for it besides `NONSENSE`.
LOSSES = [raising(KeyError("a")), raising(ZeroDivisionError("0")), lambda m: 0.0, lambda m, d: 1.0, lambda m, d: m.v]
LOSSES += [lambda m, d: d[7], lambda m, d: np.sum(np.asarray(m.v)), lambda m, d: 1.0 if m.v[0, 0] > 0 else 2.0]
LOSSES += [
    lambda m, d: jnp.nan * jnp.sum(m.v),
    lambda m, d: jnp.log(-jnp.sum(m.v**2)),
    "mse",
    lambda m, d: jnp.sum(m.v) > 0,
]
DATA = [X, (X,), (X, Y, Y), {"x": X, "y": Y}, (X, Y[:, 0]), (X[:3], Y), (X[:0], Y[:0]), (X.tolist(), Y.tolist())]
DATA += [
    (X, list("abcde")),
    (X.astype(object), Y),
    (X + 1j, Y),
    (X.astype("datetime64[s]"), Y),
    (X * 1e200, Y),
    (1.0, 2.0),
]
DATA += [(np.ma.masked_array(X, X > 0), Y), (X, np.where(Y > 0, NAN, Y)), (X.astype(np.float16), Y), (X > 0, Y > 0)]
SOLVERS = [dfx.Tsit5, dfx.Euler(), dfx.ItoMilstein(), dfx.SPaRK(), "bdf"]
TIMES = [[0.5, 0.2], [2.0], [0.0, 0.5], [[0.5]], [NAN], (t for t in [0.5]), "abc", 0.5]
QUANTITIES = [{"a": raising(KeyError("b"))}, {"a": lambda m: None}, {"a": lambda m: 1}, {"a b": lambda m: 1.0}]
POINTS = [np.ones(4), np.full(9, NAN), np.full(9, INF), np.ones((1, 9)), np.full(9, 1e200), np.ones(9, int), model()]
CALLS: dict[str, tuple[Callable[[Any], Any], list[Any]]] = {
    "simulate, model": (lambda value: integrated(model=value), [broken(), lambda x: x, X, {"w": 1.0}, {"w": X[:0]}]),
    "simulate, loss": (lambda value: integrated(loss=value), LOSSES),
    "simulate, data": (lambda value: integrated(data=value), DATA),
    "simulate, t1": (lambda value: integrated(t1=value), [0.0, INF, 1e-320, 1e-300, 1e300]),
    "simulate, solver": (lambda value: integrated(solver=value), SOLVERS),
    "simulate, rtol": (lambda value: integrated(rtol=value), [0.0, 1e-16, 10.0, INF]),
    "simulate, atol": (lambda value: integrated(atol=value), [0.0, INF]),
    "simulate, save_times": (lambda value: integrated(save_times=value), TIMES),
    "simulate, convergence": (lambda value: integrated(convergence=value), [INF]),
    "simulate, max_steps": (lambda value: integrated(max_steps=value), [0, 10.5]),
    "simulate, budget": (lambda value: integrated(budget=value), [0]),
    "simulate, trainable": (lambda value: integrated(trainable=value), [lambda leaf: False, {"a": True}]),
    "simulate, sign_changes": (lambda value: integrated(sign_changes=value), QUANTITIES),
    "simulate, checkpoint": (lambda value: integrated(checkpoint=value), ["/", "/missing/x", "a\0b"]),
    "simulate, progress": (lambda value: integrated(progress=value), []),
    "descend, t1": (
        lambda value: descend(model(), half_squared_error, (X, Y), optimiser=gradient_descent(0.1), t1=value),
        [0.0, INF],
    ),
    "TwoLayer, width": (lambda value: model(width=value), [0, 2.5, np.int64(3), "3"]),
    "TwoLayer, scale": (lambda value: model(scale=value), [INF, 1e-320]),
    "TwoLayer, key": (lambda value: model(key=value), [0, jax.random.PRNGKey(0)]),
    "TwoLayer, architecture": (lambda value: TwoLayer(value, width=3, scale=0.1, key=KEY), [Dense, "dense"]),
    "Deep, widths": (lambda value: Deep(Dense(relu, inputs=2), widths=value, scale=0.1, key=KEY), [(0,), 3, [2, 2]]),
    "Dense, activation": (lambda value: Dense(value, inputs=2), [jax.nn.relu, jnp.sin, "relu"]),
    "Dense, inputs": (lambda value: Dense(linear, inputs=value), [0, 2.0]),
    "Landscape, data": (lambda value: critical_point(landscape(data=value)), [(X * NAN, Y), (X, Y * INF)]),
    "Landscape, model": (lambda value: critical_point(landscape(model=value)), [broken()]),
    "critical_point, landscape": (critical_point, [model(), flow]),
    "critical_point, theta": (lambda value: critical_point(flow().landscape, value), POINTS),
    "spectrum, theta": (lambda value: spectrum(flow().landscape, value), POINTS),
    "hessian, theta": (lambda value: hessian(flow().landscape, value), POINTS),
    "classify, point": (classify, [model(), flow]),
    "effective_width, model": (effective_width, [broken(), flow]),
    "effective_width, scale": (lambda value: effective_width(model(), scale=value), [INF]),
    "effective_width, layer": (lambda value: effective_width(model(), layer=value), [3]),
    "itinerary, trajectory": (itinerary, [model()]),
    "itinerary, budget": (lambda value: itinerary(flow(), budget=value), []),
    "itinerary, thresholds": (lambda value: itinerary(flow(), thresholds=value), [Thresholds(unit_share=2.0)]),
    "predictions, landscape": (theory.predictions, [model(), broken()]),
    "predictions, data": (lambda value: theory.predictions(landscape(data=value)), [(X * NAN, Y)]),
    "compare, other": (lambda value: compare(flow(), value), [model()]),
    "compare, same": (lambda value: compare(flow(), flow(), same=value), [2.0]),
    "observe, trajectory": (lambda value: observe(value, {"a": lambda m: m.v}), [model()]),
    "observe, functions": (
        lambda value: observe(flow(), value),
        [{"a": raising(KeyError("b"))}, {"a": 1}, {"time": sum}],
    ),
    "observe, ts": (lambda value: observe(flow(), {"a": lambda m: m.v}, ts=value), [[2.0], [NAN], "abc", [0.5, 0.5]]),
    "plot, trajectory": (plot, [model()]),
    "evaluate, t": (lambda value: flow().evaluate(value), [2.0]),
    "model_at_index, index": (lambda value: flow().model_at_index(value), [10**6, 0.5]),
    "load, path": (lambda value: load(value, model(), half_squared_error, (X, Y)), ["/missing.npz", "/", "/dev/null"]),
}
# Every call with each of its wrong values: the name and the number of the value.
MISTAKES = [(name, k) for name, (_, values) in CALLS.items() for k in range(len(values) + len(NONSENSE))]


def mistake(name: str, number: int) -> tuple[Callable[[], Any], str]:
    """A call with a wrong argument, and what it is in words."""
    call, values = CALLS[name]
    value = [*values, *NONSENSE][number]
    value = value() if value is flow else value
    return lambda: call(value), f"{name} = {type(value).__name__} {value!r:.80}"
