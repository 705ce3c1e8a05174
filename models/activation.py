"""Scalar nonlinearities, each with the law of its unit."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .activation_law import check_law, law_of_function
from .arguments import quoted
from .gaussian_kernels import (
    Kernel,
    cubic_kernel,
    erf_kernel,
    linear_kernel,
    quadratic_kernel,
    relu_kernel,
    sine_kernel,
)
from .unit_law import EmbeddingType as EmbeddingType
from .unit_law import UnitLaw as UnitLaw


class Activation(eqx.Module):
    r"""A scalar nonlinearity $\sigma$ together with the law of the unit $\phi(z; u) = \sigma(u \cdot z)$.

    Args:
        name: a short name, for tables and messages.
        function: σ, applied elementwise.
        law: the properties of the unit; by default determined from values of σ.
        kernel: $E[\sigma(u \cdot x) \sigma(v \cdot x)]$ over standard normal x as a function of (u, v), for Gaussian
            losses; by default unknown.
        check: whether a given law is checked against values of σ; by default it is.

    Raises:
        ValueError: for a law that values of σ contradict, with one of them, or if none is given and the values do not
            determine one.
    """

    name: str = eqx.field(static=True)
    function: Callable[[Array], Array] = eqx.field(static=True)
    law: UnitLaw = eqx.field(static=True)
    kernel: Kernel | None = eqx.field(static=True)

    def __init__(
        self,
        name: str,
        function: Callable[[Array], Array],
        *,
        law: UnitLaw | None = None,
        kernel: Kernel | None = None,
        check: bool = True,
    ):
        if law is None:
            law = law_of_function(function)
        elif check:
            check_law(name, function, law)
        self.name, self.function, self.law, self.kernel = name, function, law, kernel

    def __call__(self, preactivation: Float[Any, "..."]) -> Float[Array, "..."]:
        """σ of every entry."""
        return self.function(preactivation)

    def __str__(self) -> str:
        return f"{self.name}: {self.law}{'' if self.kernel is None else '; Gaussian kernel known'}"


def check_activation(activation: Any) -> None:
    """Checks that a nonlinearity comes with the law of its unit.

    Args:
        activation: what was given.

    Raises:
        ValueError: for anything but an `Activation`, with what to make of a function.
    """
    if not isinstance(activation, Activation):
        name = getattr(activation, "__name__", "name")
        remedy = f'wrap it: Activation("{name}", function)' if callable(activation) else "import one of models"
        raise ValueError(f"an activation must be an Activation; got {quoted(activation)}: {remedy}.")


def _identity(x: Any) -> Any:
    return x


def _error_function(x: Any) -> Any:
    return jax.scipy.special.erf(x / jnp.sqrt(2.0))


def _cube(x: Any) -> Any:
    return x**3


def _x_tanh_x(x: Any) -> Any:
    return x * jnp.tanh(x)


def _gelu(x: Any) -> Any:
    return x * (1 + _error_function(x)) / 2


class _LeakyReLU(eqx.Module):
    slope: float = eqx.field(static=True)

    def __call__(self, x: Array) -> Array:
        return jnp.where(x > 0, x, self.slope * x)


def leaky_relu(slope: float) -> Activation:
    r"""$\sigma(x) = x$ for x > 0 and `slope` · x otherwise: slope 0 is ReLU, 1 the identity, −1 the modulus."""
    name, function = f"leaky-relu({slope:g})", _LeakyReLU(float(slope))
    if slope == 1:
        return _stated(name, function, law=UnitLaw(zero=True, degree=1, linear=True))
    return _stated(name, function, law=UnitLaw(zero=True, degree=1, field="nonnegative", smooth=False))


def _stated(name: str, function: Callable[[Array], Array], *, law: UnitLaw, kernel: Kernel | None = None) -> Activation:
    # Tests check these laws: a check here would compile programs when the library is imported.
    return Activation(name, function, law=law, kernel=kernel, check=False)


linear: Activation = _stated("linear", _identity, law=UnitLaw(zero=True, degree=1, linear=True), kernel=linear_kernel)
r"""$\sigma(x) = x$."""

relu: Activation = _stated(
    "relu", jax.nn.relu, law=UnitLaw(zero=True, degree=1, field="nonnegative", smooth=False), kernel=relu_kernel
)
r"""$\sigma(x) = \max(x, 0)$."""

quadratic: Activation = _stated(
    "quadratic", jnp.square, law=UnitLaw(zero=True, degree=2, order=2), kernel=quadratic_kernel
)
r"""$\sigma(x) = x^2$."""

cubic: Activation = _stated("cubic", _cube, law=UnitLaw(zero=True, degree=3, order=3), kernel=cubic_kernel)
r"""$\sigma(x) = x^3$."""

tanh: Activation = _stated("tanh", jnp.tanh, law=UnitLaw(zero=True))
r"""$\sigma(x) = \tanh x$."""

sine: Activation = _stated("sine", jnp.sin, law=UnitLaw(zero=True), kernel=sine_kernel)
r"""$\sigma(x) = \sin x$."""

erf: Activation = _stated("erf", _error_function, law=UnitLaw(zero=True), kernel=erf_kernel)
r"""$\sigma(x) = \mathrm{erf}(x / \sqrt 2)$, as in soft committee machines."""

gelu: Activation = _stated("gelu", _gelu, law=UnitLaw(zero=True))
r"""$\sigma(x) = x\, (1 + \mathrm{erf}(x / \sqrt 2)) / 2$."""

x_tanh_x: Activation = _stated("x-tanh-x", _x_tanh_x, law=UnitLaw(zero=True, order=2))
r"""$\sigma(x) = x \tanh x$, of lowest order 2."""

sigmoid: Activation = _stated("sigmoid", jax.nn.sigmoid, law=UnitLaw(zero=False, order=0))
r"""$\sigma(x) = 1 / (1 + e^{-x})$."""

softplus: Activation = _stated("softplus", jax.nn.softplus, law=UnitLaw(zero=False, order=0))
r"""$\sigma(x) = \ln(1 + e^x)$."""
