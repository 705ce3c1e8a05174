"""Dense output by a polynomial on each step."""

from typing import Any

import jax
import jax.numpy as jnp
from diffrax import AbstractLocalInterpolation


class PolynomialInterpolation(AbstractLocalInterpolation):
    r"""$y(t) = \sum_j c_j s^j$ with $s = (t - t_0)/(t_1 - t_0)$.

    - `coefficients`: the $c_j$, stacked on a leading axis of every leaf of the state.
    """

    t0: Any
    t1: Any
    coefficients: Any

    def evaluate(self, t0: Any, t1: Any = None, left: bool = True) -> Any:
        """y at t0, or the increment from t0 to t1."""
        del left
        if t1 is not None:
            return jax.tree.map(lambda end, start: end - start, self.evaluate(t1), self.evaluate(t0))
        length = self.t1 - self.t0
        s = jnp.where(length == 0, 0.0, (t0 - self.t0) / jnp.where(length == 0, 1.0, length))
        return jax.tree.map(lambda c: jnp.polyval(c[::-1], s.astype(c.dtype)), self.coefficients)
