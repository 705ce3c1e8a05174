"""Hidden neurons and convolutional kernels."""

from dataclasses import KW_ONLY
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .activation import Activation, check_activation
from .architecture import Architecture
from .arguments import check_sizes
from .features import Features, identity_features, number_of_units, product_features, symmetric_coefficients
from .unit_law import UnitLaw


class Dense(Architecture):
    r"""A hidden neuron: $\sum_i \sigma(u_i \cdot z + b_i)\, v_i$ with $z, u_i \in R^{inputs}$, $v_i \in R^{outputs}$.

    Attributes:
        activation: σ.
        inputs: dimension of z, at least 1.
        outputs: dimension of the sum, at least 1; by default 1.
        bias: whether there is a $b_i$, which then belongs to the incoming parameters; by default not.

    Raises:
        ValueError: for a size below 1.
    """

    activation: Activation = eqx.field(static=True)
    _: KW_ONLY
    inputs: int = eqx.field(static=True)
    outputs: int = eqx.field(static=True, default=1)
    bias: bool = eqx.field(static=True, default=False)

    def __check_init__(self) -> None:
        check_activation(self.activation)
        check_sizes(inputs=self.inputs, outputs=self.outputs)

    @property
    def law(self) -> UnitLaw:
        """That of the activation."""
        return self.activation.law

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Those of u, of b where there is one, and of v."""
        return (self.inputs,), *([()] if self.bias else []), (self.outputs,)

    @property
    def names(self) -> tuple[str, ...]:
        """Weights and biases."""
        biases = ["biases of units"] if self.bias else []
        return "incoming weights of units", *biases, "outgoing weights of units"

    @property
    def slot_degrees(self) -> tuple[int | None, ...]:
        """The activation's degree in u, and linear in v; u and b are homogeneous together, neither is alone."""
        return (None, None, 1) if self.bias else (self.activation.law.degree, 1)

    def output(self, z: Float[Any, " inputs"], u: Float[Any, "H inputs"], *rest: Float[Any, "H ..."]) -> Array:
        r"""$\sum_i \sigma(u_i \cdot z + b_i)\, v_i$; `rest` is b, where there is one, and v."""
        *bias, v = rest
        return self.activation(sum(bias, u @ z)) @ v

    @property
    def features(self) -> Features | None:
        """The input for a linear σ, products of two of its entries for a quadratic σ; none with bias."""
        law = self.activation.law
        if law.linear and not self.bias:
            return Features(of_input=identity_features, coefficients=_linear_coefficients, rank=number_of_units)
        if law.degree == 2 and law.field == "real" and not self.bias:
            return Features(of_input=product_features, coefficients=_quadratic_coefficients)
        return None


class Convolution(Architecture):
    r"""A kernel on a one-dimensional signal: $\sum_i \sigma(\tilde X u_i)^\top v_i$.

    The rows of $\tilde X \in R^{positions \times kernel}$ are the windows of the signal, `stride` apart; $u_i$ is
    the kernel and $v_i \in R^{positions \times outputs}$ reads its feature map.

    Attributes:
        activation: σ.
        inputs: length of the signal, at least 1.
        kernel: length of a window, from 1 to `inputs`.
        stride: distance between neighbouring windows, at least 1; by default 1.
        outputs: dimension of the sum, at least 1; by default 1.

    Raises:
        ValueError: for a size below 1, or a kernel longer than the signal.
    """

    activation: Activation = eqx.field(static=True)
    _: KW_ONLY
    inputs: int = eqx.field(static=True)
    kernel: int = eqx.field(static=True)
    stride: int = eqx.field(static=True, default=1)
    outputs: int = eqx.field(static=True, default=1)

    def __check_init__(self) -> None:
        check_activation(self.activation)
        check_sizes(inputs=self.inputs, kernel=self.kernel, stride=self.stride, outputs=self.outputs)
        if self.kernel > self.inputs:
            raise ValueError(f"the kernel must fit the signal: kernel={self.kernel} > inputs={self.inputs}.")

    @property
    def law(self) -> UnitLaw:
        """That of the activation."""
        return self.activation.law

    @property
    def positions(self) -> int:
        """The number of windows."""
        return (self.inputs - self.kernel) // self.stride + 1

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Those of u and v."""
        return (self.kernel,), (self.positions, self.outputs)

    @property
    def names(self) -> tuple[str, ...]:
        """Kernels, and what reads their feature maps."""
        return "kernels", "outgoing weights of kernels"

    @property
    def slot_degrees(self) -> tuple[int | None, ...]:
        """The activation's degree in u, and linear in v."""
        return (self.activation.law.degree, 1)

    def windows(self, z: Float[Any, "... inputs"]) -> Float[Any, "... positions kernel"]:
        """The windows of one or more signals, as rows."""
        index = self.stride * np.arange(self.positions)[:, None] + np.arange(self.kernel)
        return z[..., index]

    def flat_windows(self, z: Float[Any, " inputs"]) -> Float[Any, " F"]:
        """The windows of one signal, one after the other."""
        return self.windows(z).ravel()

    def output(
        self, z: Float[Any, " inputs"], u: Float[Any, "H kernel"], v: Float[Any, "H positions outputs"]
    ) -> Float[Array, " outputs"]:
        r"""$\sum_i \sigma(\tilde X u_i)^\top v_i$."""
        return jnp.einsum("ph,hpo->o", self.activation(self.windows(z) @ u.T), v)

    @property
    def features(self) -> Features | None:
        """The windows, for a linear σ."""
        if not self.activation.law.linear:
            return None
        return Features(of_input=self.flat_windows, coefficients=_convolution_coefficients)


def _linear_coefficients(model: Any) -> Float[Array, "outputs F"]:
    u, v = model.parameters
    return _at_one(model) * (v.T @ u)


def _quadratic_coefficients(model: Any) -> Float[Array, "outputs F"]:
    u, v = model.parameters
    return _at_one(model) * symmetric_coefficients(jnp.einsum("ho,hi,hj->oij", v, u, u))


def _convolution_coefficients(model: Any) -> Float[Array, "outputs F"]:
    u, v = model.parameters
    return _at_one(model) * jnp.einsum("hpo,hk->opk", v, u).reshape(v.shape[2], -1)


def _at_one(model: Any) -> Float[Array, ""]:
    """σ(1): a homogeneous σ is σ(1) times a power."""
    return model.architecture.activation(jnp.ones((), model.parameters[0].dtype))
