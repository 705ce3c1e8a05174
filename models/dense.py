"""Hidden neurons and convolutional kernels."""

from dataclasses import KW_ONLY
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .activation import Activation
from .architecture import check_sizes
from .features import Features, identity_features, product_features, symmetric_coefficients
from .unit_law import UnitLaw


class Dense(eqx.Module):
    r"""A hidden neuron: $\sum_i \sigma(u_i \cdot z)\, v_i$ with $z, u_i \in R^{inputs}$ and $v_i \in R^{outputs}$.

    With `bias` the neuron is $\sigma(u_i \cdot z + b_i)$, and $b_i$ belongs to its incoming parameters.
    """

    activation: Activation = eqx.field(static=True)
    _: KW_ONLY
    inputs: int = eqx.field(static=True)
    outputs: int = eqx.field(static=True, default=1)
    bias: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        check_sizes(inputs=self.inputs, outputs=self.outputs)

    @property
    def law(self) -> UnitLaw:
        return self.activation.law

    @property
    def slot_degrees(self) -> tuple[int | None, ...]:
        # Weights and bias are homogeneous together, neither is alone.
        return (None, None, 1) if self.bias else (self.activation.law.degree, 1)

    @property
    def products(self) -> tuple[tuple[int, int], ...]:
        return ()

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        return (self.inputs,), *([()] if self.bias else []), (self.outputs,)

    def output(self, z: Float[Any, " inputs"], u: Array, *rest: Array) -> Float[Array, " outputs"]:
        *bias, v = rest
        return self.activation(sum(bias, u @ z)) @ v

    @property
    def features(self) -> Features | None:
        law = self.activation.law
        if law.linear and not self.bias:
            return Features(of_input=identity_features, coefficients=_linear_coefficients)
        if law.degree == 2 and law.field == "real" and not self.bias:
            return Features(of_input=product_features, coefficients=_quadratic_coefficients)
        return None


class Convolution(eqx.Module):
    r"""A kernel on a one-dimensional signal: $\sum_i \sigma(\tilde X u_i)^\top v_i$.

    The rows of $\tilde X \in R^{positions \times kernel}$ are the windows of the signal, `stride` apart; $u_i$ is
    the kernel and $v_i \in R^{positions \times outputs}$ reads its feature map.
    """

    activation: Activation = eqx.field(static=True)
    _: KW_ONLY
    inputs: int = eqx.field(static=True)
    kernel: int = eqx.field(static=True)
    stride: int = eqx.field(static=True, default=1)
    outputs: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        check_sizes(inputs=self.inputs, kernel=self.kernel, stride=self.stride, outputs=self.outputs)
        if self.kernel > self.inputs:
            raise ValueError(f"the kernel must fit the signal: kernel={self.kernel} > inputs={self.inputs}.")

    @property
    def law(self) -> UnitLaw:
        return self.activation.law

    @property
    def slot_degrees(self) -> tuple[int | None, ...]:
        return (self.activation.law.degree, 1)

    @property
    def products(self) -> tuple[tuple[int, int], ...]:
        return ()

    @property
    def positions(self) -> int:
        """The number of windows."""
        return (self.inputs - self.kernel) // self.stride + 1

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        return (self.kernel,), (self.positions, self.outputs)

    def windows(self, z: Float[Any, "... inputs"]) -> Float[Array, "... positions kernel"]:
        """The windows of one or more signals, as rows."""
        index = self.stride * np.arange(self.positions)[:, None] + np.arange(self.kernel)
        return z[..., index]

    def output(self, z: Float[Any, " inputs"], u: Array, v: Array) -> Float[Array, " outputs"]:
        return jnp.einsum("ph,hpo->o", self.activation(self.windows(z) @ u.T), v)

    def flat_windows(self, z: Float[Any, " inputs"]) -> Float[Array, " positions*kernel"]:
        """The windows of one signal, one after the other."""
        return self.windows(z).ravel()

    @property
    def features(self) -> Features | None:
        return (
            Features(of_input=self.flat_windows, coefficients=_convolution_coefficients)
            if self.activation.law.linear
            else None
        )


def _linear_coefficients(model: Any) -> Array:
    u, v = model.parameters
    return _at_one(model) * (v.T @ u)


def _quadratic_coefficients(model: Any) -> Array:
    u, v = model.parameters
    return _at_one(model) * symmetric_coefficients(jnp.einsum("ho,hi,hj->oij", v, u, u))


def _convolution_coefficients(model: Any) -> Array:
    u, v = model.parameters
    return _at_one(model) * jnp.einsum("hpo,hk->opk", v, u).reshape(v.shape[2], -1)


def _at_one(model: Any) -> Array:
    """σ(1): a homogeneous σ is that times a power."""
    return model.architecture.activation(jnp.ones((), model.parameters[0].dtype))
