"""What does a long plateau cost, adaptively and by gradient descent with a small step, at equal error?

The network is linear, of two layers and two aligned modes, so that the exact loss is a sum of two sigmoids (Saxe,
McClelland & Ganguli 2014). As ε falls, the plateaus lengthen like ln(1/ε). Gradient descent of step η is late by about
η ln(1/ε)/2 at each escape, so its step must shrink with the tolerated error. For each ε the script integrates with
`simulate` at several tolerances and with plain gradient descent at several steps, and prints for each the largest error
of the loss over twenty times, relative to L(0), the number of gradients, and the wall time without compilation (median
of five) as a ratio to the first row.

Run: `python benchmarks/plateau.py`. Times are ratios within one run, so that the machine's speed cancels.
"""

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)

from rich.console import Console
from rich.table import Table
from saddlescope.flows import flatten, half_squared_error, simulate, unflatten
from saddlescope.models import Dense, TwoLayer, linear
from saddlescope.models.units import with_units

from suite.timing import median_seconds

STRENGTHS = np.array([2.0, 1.0])
REPEATS = 5
TSIT5_STAGES = 7  # six new gradients a step, and one to record loss and speed


def problem(scale):
    """Aligned weights of that size and the data, both modes in rotated coordinates."""
    c, s = np.cos(0.4), np.sin(0.4)
    rotation = np.array([[c, -s], [s, c]])
    model = TwoLayer(Dense(linear, inputs=2, outputs=2), width=2, scale=1.0, key=jax.random.key(0))
    weights = jnp.asarray(scale * np.eye(2))
    x = np.sqrt(2) * np.eye(2)
    target = rotation @ np.diag(STRENGTHS) @ rotation.T
    return with_units(model, weights, weights), (jnp.asarray(x), jnp.asarray(x @ target.T))


def exact_losses(scale, times):
    """The loss of the two sigmoids."""
    u = STRENGTHS / (1 + (STRENGTHS / scale**2 - 1) * np.exp(-2 * STRENGTHS * times[:, None]))
    return 0.5 * np.sum((STRENGTHS - u) ** 2, axis=1)


def descend(model, data, times, step):
    """Gradient descent; the loss at each of the equally spaced times."""
    value = jax.value_and_grad(lambda theta: half_squared_error(unflatten(model, theta), data))
    inner = round((times[1] - times[0]) / step)

    def segment(theta, _):
        theta = jax.lax.fori_loop(0, inner, lambda _, p: p - step * value(p)[1], theta)
        return theta, value(theta)[0]

    return jax.lax.scan(segment, flatten(model), None, length=len(times))[1], inner * len(times)


def main():
    table = Table("ε", "method", "largest error", "gradients", "time ratio", title="Two plateaus at equal horizon")
    for scale in (1e-3, 1e-6):
        model, data = problem(scale)
        times = np.linspace(0, 3 * np.log(1 / scale), 21)[1:]
        expected = exact_losses(scale, times)
        reference = None
        for rtol in (1e-6, 1e-10):
            flow = simulate(model, half_squared_error, data, t1=times[-1], save_times=times, rtol=rtol)
            error = np.max(np.abs(flow.losses[np.searchsorted(flow.ts, times)] - expected)) / flow.losses[0]
            duration = median_seconds(
                lambda m=model, d=data, r=rtol, t=times: simulate(m, half_squared_error, d, t1=t[-1], rtol=r).thetas,
                REPEATS,
            )
            reference = reference or duration
            gradients = TSIT5_STAGES * flow.stats["num_steps"]
            table.add_row(
                f"{scale:g}", f"simulate, rtol {rtol:g}", f"{error:.1e}", str(gradients), f"{duration / reference:.2f}"
            )
        for divisor in (100, 1000, 10_000):
            step = (times[1] - times[0]) / divisor
            run = jax.jit(lambda m=model, d=data, t=times, h=step: descend(m, d, t, h)[0])
            error = np.max(np.abs(np.asarray(run()) - expected)) / expected[0]
            row = (f"{scale:g}", f"gradient descent, step {step:.2g}", f"{error:.1e}", str(divisor * len(times)))
            table.add_row(*row, f"{median_seconds(run, REPEATS) / reference:.2f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
