r"""Flows known in closed form, recorded as trajectories: nothing is integrated.

In a double well $\frac a4 (y^2 - 1)^2$ the flow $\dot y = a (y - y^3)$ is $y^{-2} = 1 + (y_0^{-2} - 1) e^{-2at}$.
"""

import numpy as np
from saddlescope.flows import Result
from saddlescope.flows.simulation.steps import Steps
from saddlescope.flows.simulation.trajectory import Trajectory

from separable import rotation, separable, well

SEED = 0


def recorded(ts, ys, *rows, rtol=1e-9, atol=1e-12, **stats):
    """The trajectory through given y at given times, on the landscape of given polynomials."""
    landscape = separable(*rows, at=ys[0], seed=SEED)
    thetas = ys @ rotation(SEED)
    losses, gradients = landscape.values_and_gradients(thetas)
    speeds = np.linalg.norm(gradients, axis=1)
    steps = Steps(ts=ts, thetas=thetas, energies=losses[0] - losses, losses=losses, speeds=speeds)
    stats = {"rtol": rtol, "atol": atol, **stats}
    return Trajectory(steps=steps, result=Result.reached_t1, stats=stats, landscape=landscape, solver=None)


def leaving(ts, start, rate):
    """A double well's coordinate."""
    return (1 + (start**-2 - 1) * np.exp(-2 * rate * ts)) ** -0.5


def time_of(start, rate, left):
    """When the share `left` of its drop is still to come: (y² − 1)² = left."""
    square = 1 - np.sqrt(left)
    return np.log(square * (1 - start**2) / (start**2 * (1 - square))) / (2 * rate)


# Rate and start of two wells.
FAST, SLOW = (4.0, 1e-3), (1.0, 1e-4)


def two_wells(fast=FAST, slow=SLOW, t1=25.0, pace=1.0, **stats):
    """Two double wells: the deeper one is left first, then the other. Times are stretched by 1/`pace`."""
    ts = np.linspace(0, t1, 5001)
    ys = np.stack([leaving(ts, start, rate) for rate, start in (fast, slow)] + [0 * ts], axis=1)
    return recorded(ts / pace, ys, well(FAST[0]), well(SLOW[0]), **stats)
