"""The spectral radius of the Jacobian along a flow, by Jacobian–vector products that start where the last ended."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

# The estimate has converged when a product changes it by less than this share. On dense random spectra the first
# estimate is then within a tenth in 199 of 200 cases, and later products correct the rest; along a flow it is within
# one in a hundred at 19 of 20 steps, for two products a step.
TOLERANCE = 0.001
# Number of products at most (Sommeijer, Shampine & Verwer 1997), which warm starts hardly ever need.
MAX_PRODUCTS = 50
# Share of the field's last change that is mixed into the vector. The change contains every direction that has begun to
# grow, which the vector may have lost; it lowers the estimate of a converged vector by its square at most, 1e-3.
FRESH = 0.03


class SpectralRadius(eqx.Module):
    r"""An estimate of $\max|\lambda(J)|$ at the current state.

    Attributes:
        radius: the estimate, $\|Jv\|/\|v\|$; a lower bound if J is symmetric.
        vector: v, normalised, nearly an eigenvector of the eigenvalue that is largest in modulus.
        products: number of products $Jv$ made since the start.
    """

    radius: Float[Array, ""]
    vector: Float[Array, " n"]
    products: Int[Array, ""]

    def __str__(self) -> str:
        return f"spectral radius {self.radius:.4g} by {self.products} Jacobian–vector products"


def sharpness(solver_state: Any) -> Float[Array, ""]:
    r"""The sharpness along the flow, $\max|\lambda(\nabla^2 L)|$, from the state of a stabilised solver.

    Args:
        solver_state: that of `RKC2` or `ExtrapolatedRKC`, as `SaveAt(solver_state=True)` returns it.

    Returns:
        The estimate of the last step's power iteration, a lower bound that is within a few hundredths along a flow.
    """
    return solver_state.spectrum.radius


def radius_by_products(
    product: Callable[[Float[np.ndarray, " n"]], Float[np.ndarray, " n"]], size: int, dtype: Any
) -> float:
    r"""The spectral radius of a constant J by the same power iteration from a cold start, on the host.

    Args:
        product: $v \mapsto Jv$.
        size: the length of v.
        dtype: its type.

    Returns:
        The estimate; not finite where a product is not.
    """
    vector, radius = np.cos(np.arange(1, size + 1, dtype=dtype) ** 2), 0.0
    for _ in range(MAX_PRODUCTS):
        vector = vector / np.linalg.norm(vector)
        image = product(vector)
        before, radius = radius, float(np.linalg.norm(image))
        if not abs(radius - before) > TOLERANCE * radius:
            break
        vector = image
    return radius


def cold_start(size: int, dtype: Any) -> SpectralRadius:
    """An unknown radius, with a vector that has a part in every direction, the same at every start."""
    # A chirp contains all frequencies alike, and compiles ten times faster than random numbers.
    vector = jnp.cos(jnp.arange(1, size + 1, dtype=dtype) ** 2)
    return SpectralRadius(
        radius=jnp.zeros((), dtype), vector=vector / jnp.linalg.norm(vector), products=jnp.zeros((), int)
    )


def power_iteration(
    product: Callable[[Float[Array, " n"]], Float[Array, " n"]],
    start: SpectralRadius,
    change: Float[Array, " n"],
) -> SpectralRadius:
    r"""Power iteration $v \leftarrow Jv/\|Jv\|$ until the estimate stands still.

    One product is enough when it confirms the radius of `start`. The iteration can rest on an eigenvalue below the
    largest while its vector has no part in the latter's direction; therefore a share of `change` is mixed in at each
    start, and callers multiply the radius by a safety factor.

    Args:
        product: $v \mapsto Jv$; not differentiated.
        start: what is known from the state before.
        change: a vector that has grown if anything has, such as the change of the field; zero for none.

    Returns:
        The new estimate, with the number of products since the start of the flow.
    """
    size = jnp.linalg.norm(change)
    vector = start.vector + jnp.where(size > 0, FRESH / jnp.where(size > 0, size, 1.0), 0.0) * change

    def unsettled(carry: Any) -> Array:
        count, _, now, before = carry
        return (count < MAX_PRODUCTS) & ((count == 0) | (jnp.abs(now - before) > TOLERANCE * now))

    def multiply(carry: Any) -> Any:
        count, v, now, _ = carry
        image = product(v)
        length = jnp.linalg.norm(image)
        # J = 0 gives no direction: the old one is kept.
        v = jnp.where(length > 0, image / jnp.where(length > 0, length, 1.0), v)
        return count + 1, v, length, now

    first = (jnp.zeros_like(start.products), vector / jnp.linalg.norm(vector), start.radius, start.radius)
    count, vector, estimate, _ = jax.lax.while_loop(unsettled, multiply, first)
    return SpectralRadius(radius=estimate, vector=vector, products=start.products + count)
