"""A flow with a long plateau; as a program, one that kills itself on the way.

Usage: `python long_run.py CHECKPOINT TIME`: dies by SIGKILL past that time, a checkpoint written after each call.
"""

import os
import signal
import sys

import jax
from saddlescope.flows import mean_squared_error, simulate
from saddlescope.flows.simulation import checkpoint as checkpoint_module
from saddlescope.models import Dense, TwoLayer, tanh


def problem():
    """Tanh teacher and student: 4 inputs, 4 teacher units, 10 students, 100 samples."""
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (100, 4))
    y = jax.vmap(TwoLayer(Dense(tanh, inputs=4, outputs=1), width=4, scale=1.0, key=keys[1]))(x)
    return TwoLayer(Dense(tanh, inputs=4, outputs=1), width=10, scale=1e-2, key=keys[2]), (x, y)


def run(t1, **options):
    model, data = problem()
    return simulate(model, mean_squared_error, data, t1=t1, rtol=1e-6, **options)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    checkpoint_module.INTERVAL = 0.0

    def die(t, loss):
        if t > float(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)

    run(1e4, checkpoint=sys.argv[1], progress=die)
