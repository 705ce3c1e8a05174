"""Two-layer networks of units, and the six architectures of the reference paper made from them."""

import math
from collections.abc import Callable
from typing import Any, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .activation import Activation, linear, quadratic
from .features import (
    Features,
    identity_features,
    outer_features,
    product_features,
    symmetric_coefficients,
)
from .unit_law import UnitLaw
from .units import Slot, Units


class Architecture(Protocol):
    """What a two-layer network needs: the shape of one unit, its law, and the sum over units."""

    @property
    def law(self) -> UnitLaw: ...

    @property
    def slot_degrees(self) -> tuple[int | None, ...]: ...

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]: ...

    @property
    def output(self) -> Callable[..., Array]: ...

    @property
    def features(self) -> Features | None: ...


class Dense(eqx.Module):
    r"""A hidden neuron: $\sum_i \sigma(u_i \cdot z)\, v_i$ with $z, u_i \in R^{inputs}$ and $v_i \in R^{outputs}$."""

    activation: Activation = eqx.field(static=True)
    inputs: int = eqx.field(static=True)
    outputs: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        _check_sizes(inputs=self.inputs, outputs=self.outputs)

    @property
    def law(self) -> UnitLaw:
        return self.activation.law

    @property
    def slot_degrees(self) -> tuple[int | None, ...]:
        return (self.activation.law.degree, 1)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        return (self.inputs,), (self.outputs,)

    def output(self, z: Float[Array, " inputs"], u: Array, v: Array) -> Float[Array, " outputs"]:
        return self.activation(u @ z) @ v

    @property
    def features(self) -> Features | None:
        if self.activation is linear:
            return Features(identity_features, _linear_coefficients)
        if self.activation is quadratic:
            return Features(product_features, _quadratic_coefficients)
        return None


class Convolution(eqx.Module):
    r"""A kernel on a one-dimensional signal with one output: $\sum_i v_i \cdot \sigma(\tilde X u_i)$.

    The rows of $\tilde X \in R^{positions \times kernel}$ are the windows of the signal, `stride` apart; $u_i$ is
    the kernel and $v_i \in R^{positions}$ reads its feature map.
    """

    activation: Activation = eqx.field(static=True)
    inputs: int = eqx.field(static=True)
    kernel: int = eqx.field(static=True)
    stride: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        _check_sizes(inputs=self.inputs, kernel=self.kernel, stride=self.stride)
        if self.kernel > self.inputs:
            raise ValueError(f"the kernel must fit the signal: kernel={self.kernel} > inputs={self.inputs}.")

    @property
    def law(self) -> UnitLaw:
        return self.activation.law

    @property
    def slot_degrees(self) -> tuple[int | None, ...]:
        return (self.activation.law.degree, 1)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        positions = (self.inputs - self.kernel) // self.stride + 1
        return (self.kernel,), (positions,)

    def windows(self, z: Float[Array, "... inputs"]) -> Float[Array, "... positions kernel"]:
        """The windows of one or more signals, as rows."""
        (positions,) = self.shapes[1]
        index = self.stride * np.arange(positions)[:, None] + np.arange(self.kernel)
        return z[..., index]

    def output(self, z: Float[Array, " inputs"], u: Array, v: Array) -> Float[Array, " 1"]:
        maps = self.activation(self.windows(z) @ u.T)
        return jnp.sum(maps * v.T)[None]

    def flat_windows(self, z: Float[Array, " inputs"]) -> Float[Array, " positions*kernel"]:
        """The windows of one signal, one after the other."""
        return self.windows(z).ravel()

    @property
    def features(self) -> Features | None:
        return Features(self.flat_windows, _convolution_coefficients) if self.activation is linear else None


class LinearAttention(eqx.Module):
    r"""A head of linear self-attention with separate key and query of given rank.

    It reads in-context regression: the tokens $(x_n, y_n)$ and a query $x_q$ with label zero, and predicts the
    query's label. The entry of the output that is read depends on the context through
    $\beta = \sum_n y_n x_n$ alone once the blocks of value and key that multiply $\sum_n x_n x_n^\top$ are zero
    (they stay zero on infinite data), so the input is $z = (\beta, x_q)$ from `context_statistics`:
    $\hat y = \sum_i v_i\, \beta^\top K_i^\top Q_i\, x_q$ with $K_i, Q_i \in R^{rank \times inputs}$.

    Source: Zhang, Singh, Latham & Saxe (2025), separate key and query.
    """

    inputs: int = eqx.field(static=True)
    rank: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        _check_sizes(inputs=self.inputs, rank=self.rank)

    @property
    def law(self) -> UnitLaw:
        return UnitLaw(zero=True, degree=2, order=2)

    @property
    def slot_degrees(self) -> tuple[int | None, ...]:
        return (1, 1, 1)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        return (self.rank, self.inputs), (self.rank, self.inputs), (1,)

    def output(self, z: tuple[Array, Array], key: Array, query: Array, v: Array) -> Float[Array, " 1"]:
        beta, x = z
        return jnp.sum((key @ beta) * (query @ x), axis=1) @ v

    @property
    def features(self) -> Features | None:
        return Features(outer_features, _attention_coefficients)


def context_statistics(tokens: Float[Array, "P N+1 D+1"]) -> tuple[Float[Array, "P D"], Float[Array, "P D"]]:
    r"""What linear attention reads of each sequence: $(\beta, x_q)$ with $\beta = \sum_n y_n x_n$.

    **Arguments:** `tokens`: sequences of tokens $(x_n, y_n)$, the last one the query with label zero.
    """
    x, y = tokens[..., :-1], tokens[..., -1]
    return jnp.einsum("pn,pnd->pd", y[:, :-1], x[:, :-1]), x[:, -1]


class TwoLayer(eqx.Module):
    r"""The network $f(x) = \sum_{i=1}^H \phi(x; u_i)\, v_i$ of one architecture.

    **Arguments:** `architecture`: what a unit is; `width`: number H of units; `scale`: standard deviation
    $\varepsilon \ge 0$ of the entries, drawn from $N(0, \varepsilon^2)$; `key`: random key.

    **Raises:** `ValueError` for a width below 1 or a negative or non-finite scale.
    """

    parameters: tuple[Float[Array, "H ..."], ...]
    architecture: Architecture = eqx.field(static=True)

    def __init__(self, architecture: Architecture, width: int, scale: float, *, key: PRNGKeyArray):
        _check_sizes(width=width)
        if not (math.isfinite(scale) and scale >= 0):
            raise ValueError(f"the initialisation scale must be finite and not negative; got {scale}.")
        keys = jax.random.split(key, len(architecture.shapes))
        self.parameters = tuple(
            scale * jax.random.normal(k, (width, *shape)) for k, shape in zip(keys, architecture.shapes, strict=True)
        )
        self.architecture = architecture

    @property
    def units(self) -> Units:
        """Every parameter array is a slot with the units on its first axis; the last one is outgoing."""
        slots = tuple(Slot(_Item(k), 0, degree) for k, degree in enumerate(self.architecture.slot_degrees))
        return Units(slots[:-1], slots[-1:], self.architecture.law)

    @property
    def features(self) -> Features | None:
        """The features in which the network is linear, if its architecture has such."""
        return self.architecture.features

    @property
    def v(self) -> Float[Array, "H ..."]:
        """The outgoing parameters of the units."""
        return self.parameters[-1]

    @property
    def u(self) -> Float[Array, "H ..."]:
        """The first array of incoming parameters: weights, kernels, or keys."""
        return self.parameters[0]

    def __call__(self, x: Any) -> Float[Array, " outputs"]:
        """The output for one input (no batch axis)."""
        return self.architecture.output(x, *self.parameters)


class _Item(eqx.Module):
    """Picks parameter array `index`; a class, not a lambda, so that two declarations compare equal under jit."""

    index: int = eqx.field(static=True)

    def __call__(self, model: TwoLayer) -> Array:
        return model.parameters[self.index]


def _linear_coefficients(model: TwoLayer) -> Array:
    return model.v.T @ model.u


def _quadratic_coefficients(model: TwoLayer) -> Array:
    return symmetric_coefficients(jnp.einsum("ho,hi,hj->oij", model.v, model.u, model.u))


def _convolution_coefficients(model: TwoLayer) -> Array:
    return jnp.einsum("hp,hk->pk", model.v, model.u).reshape(1, -1)


def _attention_coefficients(model: TwoLayer) -> Array:
    key, query, v = model.parameters
    return jnp.einsum("ho,hri,hrj->oij", v, key, query).reshape(v.shape[1], -1)


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1; got {size}.")
