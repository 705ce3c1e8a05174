r"""Products of two units, averaged over Gaussian inputs: $K(u, v) = E[\sigma(u \cdot x) \sigma(v \cdot x)]$."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

Kernel = Callable[[Float[Array, " N"], Float[Array, " N"]], Float[Array, ""]]


def linear_kernel(u: Float[Array, " N"], v: Float[Array, " N"]) -> Float[Array, ""]:
    r"""$u \cdot v$."""
    return u @ v


def quadratic_kernel(u: Float[Array, " N"], v: Float[Array, " N"]) -> Float[Array, ""]:
    r"""$|u|^2 |v|^2 + 2 (u \cdot v)^2$."""
    return (u @ u) * (v @ v) + 2 * (u @ v) ** 2


def cubic_kernel(u: Float[Array, " N"], v: Float[Array, " N"]) -> Float[Array, ""]:
    r"""$9 |u|^2 |v|^2 (u \cdot v) + 6 (u \cdot v)^3$."""
    c = u @ v
    return 9 * (u @ u) * (v @ v) * c + 6 * c**3


def sine_kernel(u: Float[Array, " N"], v: Float[Array, " N"]) -> Float[Array, ""]:
    r"""$e^{-(|u|^2 + |v|^2)/2} \sinh(u \cdot v)$, without overflow."""
    # |u ∓ v|² = |u|² + |v|² ∓ 2 u·v: the difference of exponentials suffers cancellation for small u·v alone.
    middle = jnp.sum(u**2 + v**2) / 2
    c = u @ v
    return jnp.where(jnp.abs(c) < 1, jnp.exp(-middle) * jnp.sinh(jnp.clip(c, -1, 1)), _difference(u, v))


def _difference(u: Array, v: Array) -> Array:
    return (jnp.exp(-jnp.sum((u - v) ** 2) / 2) - jnp.exp(-jnp.sum((u + v) ** 2) / 2)) / 2


def erf_kernel(u: Float[Array, " N"], v: Float[Array, " N"]) -> Float[Array, ""]:
    r"""$\frac{2}{\pi} \arcsin(u \cdot v / \sqrt{(1 + |u|^2)(1 + |v|^2)})$ for $\sigma(z) = \mathrm{erf}(z/\sqrt 2)$.

    Args:
        u: weights of the first unit.
        v: weights of the second unit.

    Returns:
        The mean of the product of their outputs.

    Source: Williams (1996), "Computing with infinite networks"; Saad & Solla (1995).
    """
    a, b, c = u @ u, v @ v, u @ v
    # The arctangent has no singular derivative where the arcsine's argument nears one:
    # (1 + a)(1 + b) - c² = 1 + a + b + (ab - c²).
    return 2 / jnp.pi * jnp.arctan2(c, jnp.sqrt(1 + a + b + (a * b - c**2)))


def relu_kernel(u: Float[Array, " N"], v: Float[Array, " N"]) -> Float[Array, ""]:
    r"""$\frac{1}{2\pi} (|u| |v| \sin\varphi + (\pi - \varphi)\, u \cdot v)$, φ the angle between u and v.

    Twice differentiable where neither u nor v is zero; derivatives at parallel vectors are the limits.

    Args:
        u: weights of the first unit.
        v: weights of the second unit.

    Returns:
        The mean of the product of their outputs.

    Source: Cho & Saul (2009), "Kernel methods for deep learning", n = 1.
    """
    nonzero = (u @ u > 0) & (v @ v > 0)
    u, v = (jnp.where(nonzero, w, jnp.ones_like(w)) for w in (u, v))
    size_u, size_v = jnp.linalg.norm(u), jnp.linalg.norm(v)
    apart, together = u / size_u - v / size_v, u / size_u + v / size_v
    parallel, opposite = apart @ apart == 0, together @ together == 0
    # The arccosine of u·v would not resolve angles below 1e-8.
    half = jnp.arctan2(_norm(apart, parallel), _norm(together, opposite))
    angle = 2 * jnp.where(parallel | opposite, 0.0, half)
    value = (size_u * size_v * jnp.sin(angle) + (jnp.pi - angle) * (u @ v)) / (2 * jnp.pi)
    value = jnp.where(opposite, 0.0, value)
    return jnp.where(nonzero, value, 0.0)


def _norm(vector: Array, zero: Array) -> Array:
    """The norm, replaced by that of ones where the vector is zero, since the norm has no derivative there."""
    return jnp.linalg.norm(jnp.where(zero, jnp.ones_like(vector), vector))
