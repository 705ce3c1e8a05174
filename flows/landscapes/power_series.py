r"""Arithmetic of truncated power series $u(s) = \sum_k s^k u_k$, held as arrays with the coefficients along axis 0.

Products are Cauchy products; a function of a series follows from the differential equation that it satisfies, one
coefficient after the other, in a loop that is compiled once for all orders.

Source: Griewank & Walther (2008), "Evaluating derivatives", Chapter 13; Neidinger (2010).
"""

import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

Step = Callable[..., tuple[Array, ...]]
# Of coefficients with up to so many numbers a Cauchy product is computed at once, from all pairs, half of them in vain:
# it is compiled in a fraction of the time that one sum for each coefficient takes, and runs as fast.
FEW = 32


def constant(value: Array, size: int) -> Array:
    """The series of a constant, of `size` coefficients."""
    return lax.pad(jnp.asarray(value)[None], _zero(value), [(0, size - 1, 0), *[(0, 0, 0)] * jnp.ndim(value)])


def delayed(u: Array, by: int) -> Array:
    """The series $s^m u(s)$ with `by` = m more coefficients."""
    return lax.pad(u, _zero(u), [(by, 0, 0), *[(0, 0, 0)] * (u.ndim - 1)])


def _zero(like: Array) -> Array:
    return jnp.zeros((), jnp.result_type(like))


def product(u: Array, w: Array, summed: Callable[[Array, Array], Array] | None = None) -> Array:
    r"""The Cauchy product $v_k = \sum_{j \le k} u_j w_{k-j}$.

    Args:
        u: a series.
        w: a series of as many coefficients.
        summed: from equally many coefficients of both to the sum of their products; by default element by element.

    Returns:
        The product's coefficients, as many.
    """
    if summed is None and math.prod(jnp.broadcast_shapes(u.shape, w.shape)[1:]) <= FEW:
        return _product_of_few(u, w)
    size, backward, summed = len(u), lax.rev(w, (0,)), summed or (lambda u, w: jnp.sum(u * w, 0))
    return jnp.stack([summed(u[: k + 1], backward[size - 1 - k :]) for k in range(size)])


def _product_of_few(u: Array, w: Array) -> Array:
    later = np.arange(len(u))[:, None] - np.arange(len(u))
    pairs = u * w[np.maximum(later, 0)]
    # Not as products with zero: coefficients that are not finite concern those after them only.
    return jnp.sum(jnp.where((later >= 0).reshape(later.shape + (1,) * (pairs.ndim - 2)), pairs, 0), 1)


def derivative(u: Array) -> Array:
    r"""$j u_j$ for j = 1, 2, …: the series of $u'$, with one coefficient less."""
    return u[1:] * _numbers(u)


def _numbers(u: Array) -> Array:
    return jnp.asarray(np.arange(1, len(u)).reshape((-1,) + (1,) * (u.ndim - 1)), u.dtype)


def antiderivative(start: Array, slope: Array) -> Array:
    r"""The series v with $v_0$ = `start` and $v'$ = `slope`."""
    v = delayed(slope, 1)
    return jnp.concatenate([start[None], v[1:] / _numbers(v)])


def recurrence(starts: tuple[Array, ...], rows: Array, step: Step) -> tuple[Array, ...]:
    r"""Series of which each coefficient follows from those before it.

    Args:
        starts: $v_0$ of each series.
        rows: what the steps k = 1, 2, … are given besides.
        step: from k, the row and the coefficients $v_{k-1}, v_{k-2}, \ldots$ of each series, zeros after $v_0$, to
            $v_k$.

    Returns:
        The series, with one coefficient more than there are rows.
    """
    count = len(rows)

    def body(past: tuple[Array, ...], given: tuple[Array, Array]) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        new = step(*given, *past)
        return tuple(jnp.concatenate([v[None], p[:-1]]) for v, p in zip(new, past, strict=True)), new

    past = tuple(constant(v, count) for v in starts)
    _, found = lax.scan(body, past, (jnp.arange(1, count + 1, dtype=starts[0].dtype), rows))
    return tuple(jnp.concatenate([v[None], rows]) for v, rows in zip(starts, found, strict=True))


def quotient(u: Array, w: Array) -> Array:
    """u/w."""
    (v,) = recurrence((u[0] / w[0],), u[1:], lambda k, row, past: ((row - jnp.sum(w[1:] * past, 0)) / w[0],))
    return v


def exponential(u: Array) -> Array:
    r"""$e^u$, from $v' = u' v$."""
    slope = derivative(u)
    return recurrence((jnp.exp(u[0]),), slope, lambda k, row, past: (jnp.sum(slope * past, 0) / k,))[0]


def rotation(u: Array, starts: tuple[Array, Array], sign: float) -> tuple[Array, Array]:
    """Sine and cosine (sign −1) or their hyperbolic counterparts (1) of u, given their values at its beginning."""
    slope = derivative(u)

    def step(k: Array, row: Array, sines: Array, cosines: Array) -> tuple[Array, Array]:
        return jnp.sum(slope * cosines, 0) / k, sign * jnp.sum(slope * sines, 0) / k

    sine, cosine = recurrence(starts, slope, step)
    return sine, cosine


def sigmoidal(u: Array, start: Array, slope: Array, linear: float, quadratic: float) -> Array:
    r"""The function with $v' = q(v) u'$, $q(v) = a + b v + c v^2$: tanh, tan, the logistic function.

    Args:
        u: the argument.
        start: $v_0$.
        slope: $q(v_0)$.
        linear: b.
        quadratic: c.

    Returns:
        The series v.
    """
    rates = derivative(u)

    def body(carry: tuple[Array, ...], number: Array) -> tuple[tuple[Array, ...], Array]:
        known, past, slopes = carry
        v = jnp.sum(rates * slopes, 0) / (number + 1)
        inner = jnp.sum(known * past, 0)  # Σ v_j v_{k-j} without the two terms of v_0
        q = (linear + 2 * quadratic * start) * v + quadratic * inner
        known = lax.dynamic_update_index_in_dim(known, v, number, 0)
        return (known, jnp.concatenate([v[None], past[:-1]]), jnp.concatenate([q[None], slopes[:-1]])), v

    first = jnp.zeros_like(rates), constant(start, len(rates)), constant(slope, len(rates))
    return jnp.concatenate([start[None], lax.scan(body, first, jnp.arange(len(rates)))[1]])


def power(u: Array, start: Array, exponent: Array | float) -> Array:
    r"""$u^r$ with a constant exponent, from $u v' = r u' v$; not finite where $u_0 = 0$."""
    slope = derivative(u)

    def step(k: Array, row: Array, past: Array) -> tuple[Array]:
        return (((exponent + 1) * jnp.sum(slope * past, 0) / k - jnp.sum(u[1:] * past, 0)) / u[0],)

    return recurrence((start,), slope, step)[0]


def integer_power(u: Array, exponent: int) -> Array:
    """$u^m$ by repeated multiplication, right also where $u_0 = 0$; negative powers are those of the reciprocal."""
    if exponent < 0:
        u = quotient(constant(jnp.ones_like(u[0]), len(u)), u)
    result, exponent = None, abs(exponent)
    while exponent:
        if exponent % 2:
            result = u if result is None else product(result, u)
        exponent //= 2
        u = product(u, u) if exponent else u
    return constant(jnp.ones_like(u[0]), len(u)) if result is None else result


def exceeds(u: Array, w: Array, *, ties: bool = False) -> Array:
    r"""Whether u(s) > w(s) for all small s > 0: the first coefficients that differ decide, `ties` if none does."""
    above = jnp.full(jnp.broadcast_shapes(u.shape, w.shape)[1:], ties)
    for k in reversed(range(len(u))):
        above = (u[k] > w[k]) | ((u[k] == w[k]) & above)
    return above


def largest(u: Array, axes: tuple[int, ...]) -> Array:
    """The largest of several series for small s > 0, over axes counted without that of the coefficients."""
    contenders, rows = jnp.ones(u.shape[1:], bool), []
    for row in u:
        rows.append(jnp.max(jnp.where(contenders, row, -jnp.inf), axes, keepdims=True))
        contenders &= row == rows[-1]
    return jnp.squeeze(jnp.stack(rows), tuple(axis + 1 for axis in axes))
