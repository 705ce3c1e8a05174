"""Dense output: what the interpolations of all solvers share, and the polynomial one."""

from abc import abstractmethod
from typing import Any

import jax
import jax.numpy as jnp
from diffrax import AbstractLocalInterpolation


class StepInterpolation(AbstractLocalInterpolation):
    """The solution within one step, from t0 to t1, as a function of time."""

    t0: Any
    t1: Any

    @abstractmethod
    def at(self, t: Any) -> Any:
        """The state at time t."""

    def evaluate(self, t0: Any, t1: Any = None, left: bool = True) -> Any:
        """The state at t0, or the increment from t0 to t1, as Diffrax asks for it."""
        del left
        if t1 is None:
            return self.at(t0)
        return jax.tree.map(lambda end, start: end - start, self.at(t1), self.at(t0))


def fraction(passed: Any, length: Any) -> Any:
    """The share of a step that has passed, 0 for a step of length zero."""
    return jnp.where(length == 0, 0.0, passed / jnp.where(length == 0, 1.0, length))


class PolynomialInterpolation(StepInterpolation):
    r"""$y(t) = \sum_j c_j s^j$ with $s = (t - t_0)/(t_1 - t_0)$.

    Attributes:
        coefficients: the $c_j$, stacked on a leading axis of every leaf of the state.
    """

    coefficients: Any

    def at(self, t: Any) -> Any:
        """The state at time t."""
        s = fraction(t - self.t0, self.t1 - self.t0)
        return jax.tree.map(lambda c: jnp.polyval(c[::-1], s.astype(c.dtype)), self.coefficients)
