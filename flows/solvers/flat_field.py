"""A Diffrax term as a field on flat vectors, and its Jacobian in blocks."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

# A user's Jacobian: (t, y, args) to the matrix ∂f/∂y of the ravelled field and state.
Jacobian = Callable[[Any, Any, Any], Float[Array, "n n"]]


class FlatField(eqx.Module):
    """The vector field f(t, x) of Diffrax's `terms` on the ravelled state x.

    Attributes:
        terms: Diffrax's term, which also knows the direction of the integration.
        args: what the term's vector field takes as `args`.
        unravel: the inverse of ravelling the state.
    """

    terms: Any
    args: Any
    unravel: Callable[[Float[Array, " n"]], Any]

    @property
    def _direction(self) -> Any:
        # Backwards in time, Diffrax reverses the sign of the steps, not of the field.
        return self.terms.contr(0, 1)

    def __call__(self, t: Any, x: Float[Array, " n"]) -> Float[Array, " n"]:
        """The field f(t, x)."""
        return self._direction * ravel_pytree(self.terms.vf(t, self.unravel(x), self.args))[0]

    def with_time_derivative(self, t: Any, x: Float[Array, " n"]) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
        """f(t, x) and ∂f/∂t; the compiler knows the latter to be zero if f does not depend on time."""
        t = jnp.asarray(t, x.dtype)
        return jax.jvp(lambda time: self(time, x), (t,), (jnp.ones_like(t),))

    def jacobian(self, t: Any, x: Float[Array, " n"], given: Jacobian | None) -> Float[Array, "n n"]:
        """The Jacobian ∂f/∂x.

        Args:
            t: time.
            x: ravelled state.
            given: the user's function (t, y, args) of the Jacobian of the ravelled field; `None` for forward
                differentiation, one Jacobian–vector product per column.

        Returns:
            The dense matrix, row i for component i of f.

        Raises:
            ValueError: when the user's function returns another shape.
        """
        if given is None:
            return jax.jacfwd(lambda state: self(t, state))(x)
        matrix = self._direction * given(self._direction * t, self.unravel(x), self.args)
        if matrix.shape != (x.size, x.size):
            raise ValueError(
                f"the Jacobian must have shape {(x.size, x.size)}; the given function's is {matrix.shape}."
            )
        return matrix


def flat_field(terms: Any, y: Any, args: Any) -> tuple[FlatField, Float[Array, " n"]]:
    """The field of `terms` on flat vectors, and the flat state of y."""
    x, unravel = ravel_pytree(y)
    return FlatField(terms, args, unravel), x


def combine(weights: Float[Array, "*k r"], rows: Float[Array, "r *n"]) -> Float[Array, "..."]:
    """Weighted sums of rows, in full precision on any device."""
    return jnp.tensordot(weights, rows, axes=1, precision=jax.lax.Precision.HIGHEST)


def check_quadratures(quadratures: int, size: int) -> None:
    """Checks that the quadratures leave a state.

    Args:
        quadratures: number of trailing components that do not enter the vector field.
        size: number of components in all.

    Raises:
        ValueError: when the number is negative or no other component is left.
    """
    if not 0 <= quadratures < size:
        raise ValueError(
            f"quadratures must be at least 0 and below the number of components {size}; got {quadratures}."
        )
