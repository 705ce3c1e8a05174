"""Taylor coefficients of the gradient along a curve, of all orders from one program."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .landscape import BLOCK, Landscape
from .of_landscape import of_landscape
from .power_series import constant
from .taylor_rules import Series, evaluate

# Order to which the gradient is expanded unless another is asked for; the loss is then known to one more.
ORDER = 5


def gradient_series(
    landscape: Landscape, theta: Float[np.ndarray, " n"], curve: Float[np.ndarray, "k n"], order: int = ORDER
) -> Float[np.ndarray, "p n"]:
    r"""The coefficients $g_0, \ldots, g_p$ of $\nabla L(\theta + \sum_k s^k c_k) = \sum_k s^k g_k + O(s^{p+1})$.

    By Taylor arithmetic on the program of the gradient. It knows sums, products (of arrays, of all elements,
    cumulative), quotients, powers, roots, exponential, logarithmic, trigonometric and hyperbolic functions and their
    inverses, the error function, the logistic function, absolute values, maxima, comparisons, selections, slices,
    indexing, convolutions, branches and loops, with the derivatives that a loss defines for itself. At a kink it gives
    the series for s > 0. Where the loss has another operation (sorting, linear systems, Bessel functions), or the
    series is not finite (a root of zero), orders up to 5 are found by nested forward derivatives; higher ones are not
    known.

    Args:
        landscape: the landscape of the loss L.
        theta: θ.
        curve: $c_1, c_2, \ldots$, at most p rows.
        order: p; each order is a program of its own.

    Returns:
        $g_0, \ldots, g_p$, one row each; rows of NaN from the first that is not known.
    """
    padded = np.zeros((order, theta.size), theta.dtype)
    padded[: len(curve)] = curve
    return _known(landscape, theta, padded, np.asarray(_series(landscape, theta, padded)))


def relaxed_series(
    landscape: Landscape,
    theta: Float[np.ndarray, " n"],
    curve: Float[np.ndarray, "k n"],
    inverse: tuple[Float[Any, "n n"], Float[Any, " n"]],
    last: int,
    order: int = ORDER,
) -> tuple[Float[np.ndarray, "q n"], Float[np.ndarray, "p n"]]:
    r"""`gradient_series` along a curve of which the coefficients $c_2, \ldots, c_q$ are relaxed, $c_k = -H^+ g_k$.

    One after the other, as $g_k$ depends on those before and changes with $c_k$ by $H c_k$; all in one call, of one
    program for any q, since a call takes as long as a series in some dozen parameters.

    Args:
        landscape: the landscape of the loss L.
        theta: θ.
        curve: $c_1, c_2, \ldots$, of which those up to q after the first are not read.
        inverse: eigenvectors of $H^+$, as columns, and its eigenvalues.
        last: q, less than p; 1 for a curve that stays as it is.
        order: p.

    Returns:
        The relaxed curve, and the coefficients of the gradient along it.
    """
    padded = np.zeros((order, theta.size), theta.dtype)
    padded[: len(curve)] = curve
    padded[1:last] = 0
    relaxed, rows = (np.asarray(part) for part in _relaxed_series(landscape, theta, padded, *inverse, last))
    if not np.all(np.isfinite(rows)):
        # As far as nested derivatives reach.
        vectors, values = (np.asarray(part) for part in inverse)
        relaxed = padded
        for k in range(2, last + 1):
            series = gradient_series(landscape, theta, relaxed, order)
            relaxed[k - 1] = -vectors @ (values * (vectors.T @ series[k]))
        rows = gradient_series(landscape, theta, relaxed, order)
    return relaxed, rows


def gradient_series_batch(
    landscape: Landscape, theta: Float[np.ndarray, " n"], curves: Float[np.ndarray, "m k n"], order: int = ORDER
) -> Float[np.ndarray, "m p n"]:
    """`gradient_series` along several curves through one point.

    Args:
        landscape: the landscape of the loss L.
        theta: θ.
        curves: their coefficients, at most p rows each.
        order: p.

    Returns:
        The coefficients along each curve.
    """
    # In blocks of one size, padded with the curve that stays, so that one program serves any number.
    count, rows, n = curves.shape
    padded = np.zeros((count + -count % BLOCK, order, n), theta.dtype)
    padded[:count, :rows] = curves
    found = np.zeros((len(padded), order + 1, n), theta.dtype)
    for k in range(0, count, BLOCK):
        found[k : k + BLOCK] = _series_batch(landscape, theta, padded[k : k + BLOCK])
    for k in range(count):
        found[k] = _known(landscape, theta, padded[k], found[k])
    return found[:count]


def _known(landscape: Landscape, theta: np.ndarray, curve: np.ndarray, rows: np.ndarray) -> Float[np.ndarray, "p n"]:
    """The series as far as it is finite, by nested derivatives where Taylor arithmetic did not reach."""
    if np.all(np.isfinite(rows)) or not np.all(np.isfinite(landscape.gradient(theta))):
        return rows
    nested = np.asarray(_nested_series(landscape, theta, curve[:ORDER]))
    rows = np.full_like(rows, np.nan)
    rows[: len(nested)] = nested
    rows[int(np.sum(np.logical_and.accumulate(np.all(np.isfinite(rows), axis=1)))) :] = np.nan
    return rows


@of_landscape
def _series(landscape: Landscape, theta: Any, curve: Float[Any, "k n"]) -> Float[Array, "p n"]:
    return _expanded(landscape, theta, curve)


@of_landscape
def _relaxed_series(
    landscape: Landscape, theta: Any, curve: Float[Any, "p n"], vectors: Any, values: Any, last: Any
) -> tuple[Float[Array, "p n"], Float[Array, "q n"]]:
    def relaxed(k: Any, state: tuple[Any, Any]) -> tuple[Any, Any]:
        curve = state[0]
        rows = _expanded(landscape, theta, curve)
        # After the last coefficient once more, for the gradient along the curve as it is now.
        step = -vectors @ (values * (vectors.T @ rows[k]))
        return jnp.where(k <= last, curve.at[k - 1].set(step.astype(curve.dtype)), curve), rows

    return jax.lax.fori_loop(2, last + 2, relaxed, (curve, jnp.zeros((len(curve) + 1, theta.size), theta.dtype)))


@of_landscape
def _series_batch(landscape: Landscape, theta: Any, curves: Float[Any, "m k n"]) -> Float[Array, "m p n"]:
    return jax.vmap(lambda curve: _expanded(landscape, theta, curve))(curves)


def _expanded(landscape: Landscape, theta: Any, curve: Float[Any, "k n"]) -> Float[Array, "p n"]:
    """The series by Taylor arithmetic; NaN where the loss has an operation without a rule."""
    closed = jax.make_jaxpr(landscape.gradient)(theta)
    rows = jnp.concatenate([theta[None], curve])
    try:
        (gradient,) = evaluate(closed.jaxpr, closed.consts, Series(rows))
    except NotImplementedError:
        return jnp.full_like(rows, jnp.nan)
    # The gradient of a linear loss does not depend on θ, and is no series.
    return gradient.rows if isinstance(gradient, Series) else constant(gradient, len(rows))


@of_landscape
def _nested_series(landscape: Landscape, theta: Any, curve: Float[Any, "k n"]) -> Float[Array, "p n"]:
    def along(s: Any) -> Any:
        displacement = jnp.zeros_like(theta)
        # By Horner's rule: derivatives of powers are not finite at zero.
        for row in curve[::-1]:
            displacement = s * (displacement + row)
        return landscape.gradient(theta + displacement)

    function, zero, rows = along, jnp.zeros((), theta.dtype), []
    for k in range(len(curve) + 1):
        rows.append(function(zero) / math.factorial(k))
        function = lambda s, inner=function: jax.jvp(inner, (s,), (jnp.ones_like(s),))[1]  # noqa: E731
    return jnp.stack(rows)


def third_products(
    landscape: Landscape, theta: Float[np.ndarray, " n"], directions: Float[np.ndarray, "n k"]
) -> Float[np.ndarray, "n k"]:
    r"""The vectors $D^3 L(d, d, \cdot)$ for several directions d, as columns."""
    return np.asarray(_third_products(landscape, theta, directions.astype(theta.dtype)))


@of_landscape
def _third_products(landscape: Landscape, theta: Any, directions: Float[Any, "n k"]) -> Float[Array, "n k"]:
    def third(d: Array) -> Any:
        return jax.jvp(lambda point: landscape.hessian_product(point, d), (theta,), (d,))[1]

    return jax.vmap(third, in_axes=1, out_axes=1)(directions)
