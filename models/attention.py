"""Heads of self-attention that read in-context regression."""

from dataclasses import KW_ONLY
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .architecture import check_sizes
from .features import Features, outer_features
from .unit_law import UnitLaw
from .units import array_namespace


class LinearAttention(eqx.Module):
    r"""A head of linear self-attention with separate key and query of given rank.

    It reads in-context regression: the tokens $(x_n, y_n)$ and a query $x_q$ with label zero, and predicts the
    query's label. The entry of the output that is read depends on the context through
    $\beta = \sum_n y_n x_n$ alone once the blocks of value and key that multiply $\sum_n x_n x_n^\top$ are zero
    (they stay zero on infinite data), so the input is $z = (\beta, x_q)$ from `context_statistics`:
    $\hat y = \sum_i v_i\, \beta^\top K_i^\top Q_i\, x_q$ with $K_i, Q_i \in R^{rank \times inputs}$.

    Source: Zhang, Singh, Latham & Saxe (2025), separate key and query.
    """

    _: KW_ONLY
    inputs: int = eqx.field(static=True)
    rank: int = eqx.field(static=True, default=1)
    outputs: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        check_sizes(inputs=self.inputs, rank=self.rank, outputs=self.outputs)

    @property
    def law(self) -> UnitLaw:
        return UnitLaw(zero=True, degree=2, order=2)

    @property
    def slot_degrees(self) -> tuple[int | None, ...]:
        return (1, 1, 1)

    @property
    def products(self) -> tuple[tuple[int, int], ...]:
        return ((0, 1),)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        return (self.rank, self.inputs), (self.rank, self.inputs), (self.outputs,)

    def output(self, z: tuple[Array, Array], key: Array, query: Array, v: Array) -> Float[Array, " outputs"]:
        beta, x = z
        return jnp.sum((key @ beta) * (query @ x), axis=1) @ v

    @property
    def features(self) -> Features | None:
        return Features(of_input=outer_features, coefficients=_separate_coefficients)


class MergedAttention(eqx.Module):
    r"""A head of linear self-attention with key and query merged in one matrix.

    $\hat y = \sum_i v_i\, \beta^\top U_i\, x_q$ with $U_i \in R^{inputs \times inputs}$, on the input $(\beta, x_q)$
    of `LinearAttention`: linear in $U_i$, as a two-layer linear network is on $\beta \otimes x_q$.

    Source: Zhang, Singh, Latham & Saxe (2025), merged key and query.
    """

    _: KW_ONLY
    inputs: int = eqx.field(static=True)
    outputs: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        check_sizes(inputs=self.inputs, outputs=self.outputs)

    @property
    def law(self) -> UnitLaw:
        return UnitLaw(zero=True, degree=1, linear=True)

    @property
    def slot_degrees(self) -> tuple[int | None, ...]:
        return (1, 1)

    @property
    def products(self) -> tuple[tuple[int, int], ...]:
        return ()

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        return (self.inputs, self.inputs), (self.outputs,)

    def output(self, z: tuple[Array, Array], u: Array, v: Array) -> Float[Array, " outputs"]:
        beta, x = z
        return jnp.einsum("i,hij,j->h", beta, u, x) @ v

    @property
    def features(self) -> Features | None:
        return Features(of_input=outer_features, coefficients=_merged_coefficients)


class SoftmaxAttention(eqx.Module):
    r"""A head of softmax self-attention: $\sum_i \mathrm{smax}(Z Q_i K_i^\top Z^\top) Z V_i$, where it is read.

    The rows of $Z \in R^{tokens \times (inputs + 1)}$ are the tokens $(x_n, y_n)$, the last one the query with label
    zero; what is read is the query's row and, of it, the label: $\hat y = \sum_i a_i^\top Z v_i$ with
    $a_i = \mathrm{smax}(Z K_i^\top Q_i z_q)$, $K_i, Q_i \in R^{rank \times (inputs + 1)}$ and the column
    $v_i \in R^{inputs + 1}$ of the value. (The label that a skip connection would add is zero.)

    With $K_i = 0$ or $Q_i = 0$ the head attends to all tokens alike, so that φ has no zero.

    Source: Zhang, Saxe & Latham (2025), Eq. 2.
    """

    _: KW_ONLY
    inputs: int = eqx.field(static=True)
    rank: int = eqx.field(static=True, default=1)
    outputs: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        check_sizes(inputs=self.inputs, rank=self.rank, outputs=self.outputs)

    @property
    def law(self) -> UnitLaw:
        return UnitLaw(zero=False, order=0)

    @property
    def slot_degrees(self) -> tuple[int | None, ...]:
        return (None, None, 1)

    @property
    def products(self) -> tuple[tuple[int, int], ...]:
        return ((0, 1),)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        size = self.inputs + 1
        return (self.rank, size), (self.rank, size), (size, self.outputs)

    def output(
        self, z: Float[Array, "tokens inputs+1"], key: Array, query: Array, v: Array
    ) -> Float[Array, " outputs"]:
        scores = jnp.einsum("td,hrd,hr->ht", z, key, query @ z[-1])
        return jnp.einsum("ht,td,hdo->o", jax.nn.softmax(scores, axis=1), z, v)

    @property
    def features(self) -> Features | None:
        return None


def context_statistics(tokens: Float[Any, "P N+1 D+1"]) -> tuple[Float[Array, "P D"], Float[Array, "P D"]]:
    r"""What linear attention reads of each sequence: $(\beta, x_q)$ with $\beta = \sum_n y_n x_n$.

    **Arguments:** `tokens`: sequences of tokens $(x_n, y_n)$, the last one the query with label zero.
    """
    xp = array_namespace(tokens)
    tokens = xp.asarray(tokens)
    x, y = tokens[..., :-1], tokens[..., -1]
    return jax.device_put((xp.einsum("pn,pnd->pd", y[:, :-1], x[:, :-1]), x[:, -1]))


def _separate_coefficients(model: Any) -> Array:
    key, query, v = model.parameters
    return jnp.einsum("ho,hri,hrj->oij", v, key, query).reshape(v.shape[1], -1)


def _merged_coefficients(model: Any) -> Array:
    u, v = model.parameters
    return jnp.einsum("ho,hij->oij", v, u).reshape(v.shape[1], -1)
