"""What the theory needs to know of a unit's nonlinearity."""

from collections.abc import Callable
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .gaussian import Kernel, cubic_kernel, erf_kernel, linear_kernel, quadratic_kernel, relu_kernel, sine_kernel

EmbeddingType = Literal["i", "ii", "iii", "iv"]


class UnitLaw(eqx.Module):
    r"""The properties of a unit's map $\phi(z; u)$, as a function of its incoming parameters $u$.

    They decide which wide networks repeat the fixed points of a narrow one (Theorem 1) and which manifolds of
    constrained units the flow keeps (Theorem 3).

    - `zero`: $\phi(z; 0) = 0$ for every $z$.
    - `degree`: $p$ with $\phi(z; \alpha u) = \alpha^p \phi(z; u)$, or `None` where no such $p$ exists.
    - `field`: the $\alpha$ for which that holds: `"real"` or, for positive homogeneity, `"nonnegative"`.
    - `linear`: $\phi(z; u + w) = \phi(z; u) + \phi(z; w)$ besides degree 1 over the reals.
    - `smooth`: $\phi$ is twice differentiable in $u$ everywhere, zero units included.
    - `order`: lowest non-vanishing Taylor order of $\phi(z; u)$ at $u = 0$; 1 for ReLU, whose first-order
      term is positively homogeneous instead of linear.

    Source: Zhang, Saxe & Latham (2025), Theorems 1 and 3.
    """

    zero: bool = eqx.field(static=True)
    degree: int | None = eqx.field(static=True, default=None)
    field: Literal["real", "nonnegative"] = eqx.field(static=True, default="real")
    linear: bool = eqx.field(static=True, default=False)
    smooth: bool = eqx.field(static=True, default=True)
    order: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        if self.linear and (self.degree != 1 or self.field != "real" or not self.zero):
            raise ValueError("a linear unit law must state zero=True, degree=1 and field='real'.")
        if self.degree is not None and self.degree < 1:
            raise ValueError(f"the degree of homogeneity must be at least 1; got {self.degree}.")
        if self.order < 0 or (self.zero and self.order == 0):
            raise ValueError(f"order must be 0 for a law without zero and at least 1 with one; got {self.order}.")

    @property
    def embedding(self) -> EmbeddingType:
        """The most general type of embedded fixed point that this law allows: iv, iii, ii or i."""
        if self.linear:
            return "iv"
        if self.degree == 1:
            return "iii"
        return "ii" if self.zero else "i"


class Activation(eqx.Module):
    r"""A scalar nonlinearity $\sigma$ together with the law of the unit $\phi(z; u) = \sigma(u \cdot z)$.

    - `kernel`: $E[\sigma(u \cdot x) \sigma(v \cdot x)]$ over standard normal x as a function of (u, v), where known.
    """

    name: str = eqx.field(static=True)
    function: Callable[[Array], Array] = eqx.field(static=True)
    law: UnitLaw = eqx.field(static=True)
    kernel: Kernel | None = eqx.field(static=True, default=None)

    def __call__(self, preactivation: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.function(preactivation)


def _identity(x: Array) -> Array:
    return x


def _error_function(x: Array) -> Array:
    return jax.scipy.special.erf(x / jnp.sqrt(2.0))


def _cube(x: Array) -> Array:
    return x**3


linear = Activation("linear", _identity, UnitLaw(zero=True, degree=1, linear=True), linear_kernel)
relu = Activation("relu", jax.nn.relu, UnitLaw(zero=True, degree=1, field="nonnegative", smooth=False), relu_kernel)
quadratic = Activation("quadratic", jnp.square, UnitLaw(zero=True, degree=2, order=2), quadratic_kernel)
cubic = Activation("cubic", _cube, UnitLaw(zero=True, degree=3, order=3), cubic_kernel)
tanh = Activation("tanh", jnp.tanh, UnitLaw(zero=True))
sine = Activation("sine", jnp.sin, UnitLaw(zero=True), sine_kernel)
erf = Activation("erf", _error_function, UnitLaw(zero=True), erf_kernel)
