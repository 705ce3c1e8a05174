"""What one fresh process of `first_answer.py` does: from data in a file to an answer, with the time at several marks.

`python benchmarks/suite/answers.py METHOD PROBLEM DATA BEGAN` writes, as its last line, a list of marks in JSON:
seconds of the processor, seconds of the clock since the time BEGAN, and the number of programs handed to XLA until
then. The list is empty if the method gave up. Nothing is imported before it is needed, so that each method pays for its
own imports.
"""

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import jax

jax.config.update("jax_enable_x64", True)

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from saddlescope.models import Convolution, Dense, LinearAttention, TwoLayer, linear, quadratic, relu, tanh

# A plain program must bound its number of steps: Tsit5 takes 14 393 on the longest of the problems.
MAX_STEPS = 2**14
# Seconds of the processor after which LSODA is given up: its steps shrink without end at some kinks of ReLU.
LIMIT = 60


class Problem(NamedTuple):
    """A flow of the mean squared error.

    Attributes:
        model: from a random key to the model.
        t1: the horizon.
        rtol: the relative tolerance.
        stiff: whether an implicit solver may pay.
    """

    model: Callable[[Any], Any]
    t1: float
    rtol: float = 1e-10
    stiff: bool = False


def two_layer(architecture, width, scale):
    return lambda key: TwoLayer(architecture, width=width, scale=scale, key=key)


def perceptron(key):
    """A network of 65 weights and biases, a tenth of what Equinox draws, so that it starts with a plateau."""
    model = eqx.nn.MLP(2, 1, 16, 1, jnp.tanh, key=key)
    return jax.tree.map(lambda leaf: 0.1 * leaf if eqx.is_inexact_array(leaf) else leaf, model)


PROBLEMS = {
    "linear": Problem(two_layer(Dense(linear, inputs=2, outputs=2), 50, 1e-6), 40.0),
    "linear-conv": Problem(two_layer(Convolution(linear, inputs=4, kernel=2, stride=2), 50, 1e-6), 40.0),
    "relu": Problem(two_layer(Dense(relu, inputs=2, outputs=1), 50, 1e-6), 40.0),
    "relu-conv": Problem(two_layer(Convolution(relu, inputs=4, kernel=2, stride=2), 50, 1e-6), 40.0),
    "attention": Problem(two_layer(LinearAttention(inputs=2, rank=1), 10, 5e-3), 100.0),
    "quadratic": Problem(two_layer(Dense(quadratic, inputs=2, outputs=1), 10, 5e-3), 150.0),
    "tanh": Problem(two_layer(Dense(tanh, inputs=4, outputs=1), 10, 1e-2), 1e4, 1e-6, stiff=True),
    "MLP": Problem(perceptron, 1e3, 1e-6, stiff=True),
}


def load(name, path):
    """Model and data of a problem."""
    with np.load(path) as file:
        leaves = [jnp.asarray(file[key]) for key in file.files]
    x, y = (leaves[0] if len(leaves) == 2 else tuple(leaves[:-1])), leaves[-1]
    return PROBLEMS[name].model(jax.random.split(jax.random.key(0))[1]), (x, y)


def with_saddlescope(name, path, mark):
    """The trajectory (first mark), then the printed itinerary (second)."""
    from saddlescope.flows import mean_squared_error, simulate

    problem, (model, data) = PROBLEMS[name], load(name, path)
    flow = simulate(model, mean_squared_error, data, t1=problem.t1, rtol=problem.rtol)
    mark()
    from saddlescope.analysis import itinerary

    print(itinerary(flow))
    mark()


def another_width(name, path, mark):
    """The itinerary of a network, then that of a network of four fifths of its width, in one process."""
    from saddlescope.analysis import itinerary
    from saddlescope.flows import mean_squared_error, simulate

    problem, (model, data) = PROBLEMS[name], load(name, path)
    narrow = TwoLayer(model.architecture, width=4 * len(model.u) // 5, scale=1e-6, key=jax.random.key(1))
    for each in (model, narrow):
        print(itinerary(simulate(each, mean_squared_error, data, t1=problem.t1, rtol=problem.rtol)))
        mark()


def flat(model):
    """The weights as a vector, and the loss as a function of it and of the data, written by hand."""
    from jax.flatten_util import ravel_pytree

    arrays, static = eqx.partition(model, eqx.is_inexact_array)
    theta, unravel = ravel_pytree(arrays)

    def loss(theta, data):
        return jnp.mean((jax.vmap(eqx.combine(unravel(theta), static))(data[0]) - data[1]) ** 2)

    return theta, loss


def tolerances(problem, theta):
    """The tolerances rtol and atol that `simulate` uses."""
    sizes = np.abs(np.asarray(theta))
    return problem.rtol, problem.rtol * float(np.quantile(sizes[sizes > 0], 0.1))


def plain(solver, saveat):
    """One compiled call of `diffeqsolve`, written by hand."""

    def method(name, path, mark):
        import diffrax as dfx

        problem, (model, data) = PROBLEMS[name], load(name, path)
        theta, loss = flat(model)
        rtol, atol = tolerances(problem, theta)

        @jax.jit
        def solve(theta, data):
            return dfx.diffeqsolve(
                dfx.ODETerm(lambda t, y, data: -jax.grad(loss)(y, data)),
                solver(),
                0.0,
                problem.t1,
                None,
                theta,
                args=data,
                saveat=dfx.SaveAt(**saveat),
                stepsize_controller=dfx.PIDController(rtol=rtol, atol=atol),
                max_steps=MAX_STEPS,
            )

        solution = solve(theta, data)
        print(np.asarray(solution.ys).shape, solution.stats["num_steps"])
        mark()

    return method


def of_diffrax(name):
    def solver():
        import diffrax as dfx

        return getattr(dfx, name)()

    return solver


def bdf():
    from saddlescope.flows.solvers import BDF

    return BDF()


def with_scipy(name, path, mark):
    """LSODA with compiled gradient and Hessian (first mark), then the eigenvectors of the final Hessian (second)."""
    from scipy.integrate import solve_ivp

    problem, (model, data) = PROBLEMS[name], load(name, path)
    theta, loss = flat(model)
    rtol, atol = tolerances(problem, theta)
    gradient, hessian = jax.jit(jax.grad(loss)), jax.jit(jax.hessian(loss))
    started = time.process_time()

    def field(t, y):
        if time.process_time() - started > LIMIT:
            raise TimeoutError
        return -np.asarray(gradient(y, data))

    options = {"method": "LSODA", "rtol": rtol, "atol": atol, "jac": lambda t, y: -np.asarray(hessian(y, data))}
    solution = solve_ivp(field, (0.0, problem.t1), theta, **options)
    mark()
    values, _ = np.linalg.eigh(np.asarray(hessian(solution.y[:, -1], data)))
    print(solution.y.shape, values[:3])
    mark()


METHODS = {
    "saddlescope": with_saddlescope,
    "widths": another_width,
    "Tsit5": plain(of_diffrax("Tsit5"), {"steps": True}),
    "Kvaerno5": plain(of_diffrax("Kvaerno5"), {"steps": True}),
    "LSODA": with_scipy,
    "BDF to t1": plain(bdf, {"t1": True}),
    "Kvaerno5 to t1": plain(of_diffrax("Kvaerno5"), {"t1": True}),
}


def main(method, name, path, began):
    event, programs, marks = "/jax/core/compile/backend_compile_duration", [], []
    jax.monitoring.register_event_duration_secs_listener(lambda key, *_, **__: key == event and programs.append(key))

    def mark():
        marks.append((time.process_time(), time.time() - float(began), len(programs)))

    with suppress(TimeoutError):
        METHODS[method](name, path, mark)
    print(json.dumps(marks))


if __name__ == "__main__":
    main(*sys.argv[1:])
