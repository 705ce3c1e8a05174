"""What a plateau costs does not depend on its length."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.flows import Landscape, mean_squared_error, simulate
from saddlescope.flows.curvature.hessian import FlowJacobian, hessian_of
from saddlescope.flows.solvers import BDF, ExponentialRosenbrock, Rodas5P
from saddlescope.models import Dense, TwoLayer, tanh


class Offset(eqx.Module):
    """A network plus an offset, which relaxes in a time of 1/2 at any plateau."""

    network: TwoLayer
    offset: jax.Array

    def __call__(self, x):
        return self.network(x) + self.offset


def teacher_and_student(strength):
    """Tanh teacher of 4 units times a strength, plus 1; a student of 10 units and an offset, all but zero.

    The first plateau is the origin's, once the offset is learnt: its escape rate is proportional to the strength, the
    fastest rate is not. Initial and final weights are proportional to its square root, so that the e-folds between them
    are the same.
    """
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (500, 4))
    y = strength * jax.vmap(TwoLayer(Dense(tanh, inputs=4, outputs=1), width=4, scale=1.0, key=keys[1]))(x) + 1
    student = TwoLayer(Dense(tanh, inputs=4, outputs=1), width=10, scale=1e-2 * strength**0.5, key=keys[2])
    return Offset(student, jnp.zeros(1)), (x, y)


def dense(solver, *arguments):
    def make(landscape):
        return solver(*arguments, jacobian=FlowJacobian(hessian_of(landscape)))

    return make


SOLVERS = {
    "default": lambda landscape: None,
    "exponential": dense(ExponentialRosenbrock, 5, True, 1),
    "rodas5p": dense(Rodas5P, True, 1),
    "bdf": dense(BDF),
}


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.slow
def test_steps_across_the_first_plateau_do_not_grow_with_its_length(name):
    steps = []
    for length in (1e3, 1e6):
        model, data = teacher_and_student(1 / length)
        landscape = Landscape(model, mean_squared_error, data)
        found = simulate(
            model,
            mean_squared_error,
            data,
            t1=1.3 * length,
            save_times=[0.5 * length],
            rtol=1e-6,
            solver=SOLVERS[name](landscape),
        )
        plateau = float(jnp.var(data[1]))
        at_half = found.losses[np.searchsorted(found.ts, 0.5 * length)]
        # It lasts for half of the time and more, and is over in the end.
        assert at_half == pytest.approx(plateau, rel=0.02)
        assert found.losses[-1] < 0.5 * plateau
        # Explicit steps of three fastest times would be many.
        assert landscape.sharpness(landscape.theta) * length > 1e3
        steps.append(found.stats["num_steps"])
    print(f"{name}: {steps[0]} and {steps[1]} steps tried")
    assert steps[1] < 1.2 * steps[0], steps
