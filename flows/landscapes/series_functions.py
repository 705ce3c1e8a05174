"""Functions of power series, one for each elementwise operation of a traced program."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from . import power_series as ps


def logarithm(u: Array) -> Array:
    """Log u."""
    return ps.antiderivative(jnp.log(u[0]), ps.quotient(ps.derivative(u), u[:-1]))


def _by_slope(function: Callable[..., Any], slope: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """A function by its derivative, an expression in series."""
    return lambda u: ps.antiderivative(function(u[0]), ps.product(slope(u[:-1]), ps.derivative(u)))


def _plus(u: Array, number: float) -> Array:
    return jnp.concatenate([u[:1] + number, u[1:]])


def _root(u: Array, exponent: float) -> Array:
    return ps.power(u, u[0] ** exponent, exponent)


def _inverse(u: Array) -> Array:
    return ps.quotient(ps.constant(jnp.ones_like(u[0]), len(u)), u)


def _shifted_exponential(u: Array) -> Array:
    return jnp.concatenate([jnp.expm1(u[:1]), ps.exponential(u)[1:]])


def _tanh(u: Array) -> Array:
    decay = jnp.exp(-2 * jnp.abs(u[0]))
    # 1 - tanh² without cancellation far out.
    return ps.sigmoidal(u, jnp.tanh(u[0]), 4 * decay / (1 + decay) ** 2, 0.0, -1.0)


def _logistic(u: Array) -> Array:
    decay = jnp.exp(-jnp.abs(u[0]))
    return ps.sigmoidal(u, jax.nn.sigmoid(u[0]), decay / (1 + decay) ** 2, 1.0, -1.0)


def _tan(u: Array) -> Array:
    start = jnp.tan(u[0])
    return ps.sigmoidal(u, start, 1 + start**2, 0.0, 1.0)


def _circular(u: Array) -> tuple[Array, Array]:
    return ps.rotation(u, (jnp.sin(u[0]), jnp.cos(u[0])), -1.0)


def _hyperbolic(u: Array) -> tuple[Array, Array]:
    return ps.rotation(u, (jnp.sinh(u[0]), jnp.cosh(u[0])), 1.0)


def _bell(u: Array) -> Array:
    return 2 / np.sqrt(np.pi) * ps.exponential(-ps.product(u, u))


def _absolute(u: Array) -> Array:
    return jnp.where(ps.exceeds(-u, u), -u, u)


def _sign(u: Array) -> Array:
    zero = jnp.zeros_like(u)
    return ps.exceeds(u, zero).astype(u.dtype) - ps.exceeds(zero, u).astype(u.dtype)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "add": lambda u, w: u + w,
    "add_any": lambda u, w: u + w,
    "sub": lambda u, w: u - w,
    "max": lambda u, w: jnp.where(ps.exceeds(u, w), u, w),
    "min": lambda u, w: jnp.where(ps.exceeds(u, w), w, u),
    "abs": _absolute,
    "square": lambda u: ps.product(u, u),
    "one_minus_square": lambda u: ps.product(_plus(-u, 1.0), _plus(u, 1.0)),
    "sqrt": lambda u: _root(u, 0.5),
    "rsqrt": lambda u: _root(u, -0.5),
    "exp": ps.exponential,
    "exp2": lambda u: ps.exponential(np.log(2.0) * u),
    "expm1": _shifted_exponential,
    "log": logarithm,
    "log2": lambda u: logarithm(u) / np.log(2.0),
    "log1p": _by_slope(jnp.log1p, lambda u: _inverse(_plus(u, 1.0))),
    "tanh": _tanh,
    "logistic": _logistic,
    "tan": _tan,
    "sin": lambda u: _circular(u)[0],
    "cos": lambda u: _circular(u)[1],
    "sinh": lambda u: _hyperbolic(u)[0],
    "cosh": lambda u: _hyperbolic(u)[1],
    "asin": _by_slope(jnp.arcsin, lambda u: _root(_plus(-ps.product(u, u), 1.0), -0.5)),
    "acos": _by_slope(jnp.arccos, lambda u: -_root(_plus(-ps.product(u, u), 1.0), -0.5)),
    "atan": _by_slope(jnp.arctan, lambda u: _inverse(_plus(ps.product(u, u), 1.0))),
    "asinh": _by_slope(jnp.arcsinh, lambda u: _root(_plus(ps.product(u, u), 1.0), -0.5)),
    "acosh": _by_slope(jnp.arccosh, lambda u: _root(_plus(ps.product(u, u), -1.0), -0.5)),
    "atanh": _by_slope(jnp.arctanh, lambda u: _inverse(_plus(-ps.product(u, u), 1.0))),
    "erf": _by_slope(lax.erf, _bell),
    "erfc": _by_slope(lax.erfc, lambda u: -_bell(u)),
}
COMPARISONS: dict[str, Callable[..., Any]] = {
    "gt": ps.exceeds,
    "lt": lambda u, w: ps.exceeds(w, u),
    "ge": functools.partial(ps.exceeds, ties=True),
    "le": lambda u, w: ps.exceeds(w, u, ties=True),
    "eq": lambda u, w: jnp.all(u == w, 0),
    "ne": lambda u, w: jnp.any(u != w, 0),
    "sign": _sign,
}
