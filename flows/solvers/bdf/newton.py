"""What Newton's iterations with and without a matrix share: the equation, and when an iteration has converged.

Our own: the iterations of Optimistix start from nothing in every step, while here the rate of convergence, and in
`chord` the factorised matrix, are remembered from step to step.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from ..flat_field import FlatField, Jacobian

# The iteration stops when its estimated remaining error is this share of the tolerated local error. With a tenth, as in
# CVODE, an evaluation is saved in every third step, but the highest differences, which choose the order, are noisy:
# a fifth to a third more steps.
SHARE = 0.03
# The rate of convergence is measured only where a second iteration is needed: an old measurement counts for less,
# rate ← rate^FADING in each step, so that 1/10 has become 1/2 after two dozen steps.
FADING = 0.95
# A measured rate is believed at most to this share of the former (CVODE's share).
FLOOR = 0.3


class System(eqx.Module):
    """The equation $d + ψ = c f(t, p + d)$ of an implicit step for the correction d to a prediction p.

    Attributes:
        field: f on flat vectors.
        t: the time at the step's end.
        p: the prediction.
        psi: ψ.
        c: the step times the formula's coefficient, in units of time.
        given: the user's Jacobian, `None` for forward differentiation.
    """

    field: FlatField
    t: Any
    p: Float[Array, " n"]
    psi: Float[Array, " n"]
    c: Float[Array, ""]
    given: Jacobian | None

    def residual(self, d: Float[Array, " n"]) -> Float[Array, " n"]:
        """The residual $c f(t, p + d) - ψ - d$ of the equation."""
        return self.c * self.field(self.t, self.p + d) - self.psi - d

    def jacobian(self, d: Float[Array, " n"]) -> Float[Array, "n n"]:
        """∂f/∂y at p + d."""
        return self.field.jacobian(self.t, self.p + d, self.given)


def acceptable(system: System, size: Callable[[Array], Array]) -> Float[Array, ""]:
    """The size of the error that an iteration may leave."""
    # A correction of a few units in the last place is none.
    return lax.stop_gradient(jnp.maximum(SHARE, size(4 * jnp.finfo(system.p.dtype).eps * system.p)))


def convergence(
    rate: Float[Array, ""], length: Float[Array, ""], before: Float[Array, ""], first: Bool[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The measured and the believed rate of convergence.

    Args:
        rate: rate of convergence believed so far.
        length: size of the last correction.
        before: size of the correction before.
        first: whether there was none before.

    Returns:
        The ratio of the two corrections, and the rate to be believed, which is the old one after the first correction.
    """
    measured = length / jnp.where(first, 1, before)
    return measured, jnp.where(first, rate, jnp.maximum(FLOOR * rate, measured))


def detach(tree: Any) -> Any:
    """The tree as a constant of differentiation."""
    return jax.tree.map(lambda leaf: lax.stop_gradient(leaf) if eqx.is_inexact_array(leaf) else leaf, tree)
