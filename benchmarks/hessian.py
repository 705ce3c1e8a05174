"""What does a dense Hessian cost, structured and by automatic differentiation?

The networks are those of Brea, Martinelli, Şimşek & Gerstner (2023, arXiv 2301.10638), benchmark B2: 2 inputs, 10, 50
or 100 softplus units with biases, N samples. For each the script prints milliseconds of a gradient, of `jax.hessian`,
of one Hessian–vector product per parameter, and of the structured Hessian `hessian_of`, the median of nine without
compilation; the ratio of `jax.hessian` to ours; and the largest difference of the two relative to the largest entry.

Run: `python benchmarks/hessian.py [--samples 1000 …]`.
"""

import jax

jax.config.update("jax_enable_x64", True)

import equinox as eqx
import jax.numpy as jnp
import tyro
from rich.console import Console
from rich.table import Table
from saddlescope.flows import Landscape, mean_squared_error
from saddlescope.flows.curvature.hessian import DenseHessian, hessian_of

from suite.problems import Perceptron
from suite.timing import median_seconds

REPEATS = 9


def problem(width, samples):
    """The landscape of a student of the given width, on data of a teacher of four units."""
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (samples, 2))
    teacher = Perceptron(2, 4, 1.0, key=keys[1])
    return Landscape(Perceptron(2, width, 1.0, key=keys[2]), mean_squared_error, (x, jax.vmap(teacher)(x)))


def milliseconds(function, *arguments):
    """Of a call of the function, compiled."""
    function = eqx.filter_jit(function)
    return 1e3 * median_seconds(lambda: function(*arguments), REPEATS)


def main(samples: tuple[int, ...] = (10, 1000, 10_000)) -> None:
    """Prints the table.

    Args:
        samples: numbers of samples, one row each.
    """
    table = Table("parameters", "samples", "gradient", "jax.hessian", "products", "hessian_of", "ratio", "difference")
    for width in (10, 50, 100):
        for count in samples:
            landscape = problem(width, count)
            theta, ours = jnp.asarray(landscape.theta), hessian_of(landscape)
            whole = jax.hessian(landscape.value)
            functions = landscape.gradient, whole, DenseHessian(landscape), ours
            times = [milliseconds(function, theta) for function in functions]
            exact = jax.jit(whole)(theta)
            difference = jnp.max(jnp.abs(ours(theta) - exact)) / jnp.max(jnp.abs(exact))
            cells = [f"{t:.3g}" for t in times] + [f"{times[1] / times[3]:.1f}", f"{float(difference):.1e}"]
            table.add_row(str(theta.size), str(count), *cells)
    Console().print(table)


if __name__ == "__main__":
    tyro.cli(main)
