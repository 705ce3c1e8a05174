"""Heads of self-attention that read in-context regression."""

from dataclasses import KW_ONLY
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .architecture import Architecture
from .arguments import check_sizes
from .features import Features, number_of_units, outer_features
from .unit_axis import array_namespace
from .unit_law import UnitLaw


class _Head(Architecture):
    r"""A head with separate key and query, which enter through $K_i^\top Q_i$ alone."""

    _: KW_ONLY
    inputs: int = eqx.field(static=True)
    rank: int = eqx.field(static=True, default=1)
    outputs: int = eqx.field(static=True, default=1)

    def __check_init__(self) -> None:
        check_sizes(inputs=self.inputs, rank=self.rank, outputs=self.outputs)

    @property
    def names(self) -> tuple[str, ...]:
        """Keys, queries and values."""
        return "keys of heads", "queries of heads", "values of heads"

    @property
    def products(self) -> tuple[tuple[int, int], ...]:
        """Key and query."""
        return ((0, 1),)


class LinearAttention(_Head):
    r"""A head of linear self-attention with separate key and query.

    It reads in-context regression: the tokens $(x_n, y_n)$ and a query $x_q$ with label zero, and predicts the
    query's label. The output entry that is read depends on the context through $\beta = \sum_n y_n x_n$ alone if the
    blocks of value and key that multiply $\sum_n x_n x_n^\top$ are zero (on infinite data they remain zero). The
    input is therefore $z = (\beta, x_q)$ of `context_statistics`, and
    $\hat y = \sum_i v_i\, \beta^\top K_i^\top Q_i\, x_q$ with $K_i, Q_i \in R^{rank \times inputs}$.

    Attributes:
        inputs: dimension of $x_n$, at least 1.
        rank: number of rows of key and query, at least 1; by default 1, where heads are learned one by one.
        outputs: number of labels, at least 1; by default 1.

    Raises:
        ValueError: for a size below 1.

    Source: Zhang, Singh, Latham & Saxe (2025), separate key and query.
    """

    @property
    def law(self) -> UnitLaw:
        """Bilinear in key and query, hence homogeneous of degree 2."""
        return UnitLaw(zero=True, degree=2, order=2)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Key, query and v."""
        return (self.rank, self.inputs), (self.rank, self.inputs), (self.outputs,)

    @property
    def slot_degrees(self) -> tuple[int | None, ...]:
        """Linear in each of key, query and v."""
        return (1, 1, 1)

    def output(
        self,
        z: tuple[Float[Any, " inputs"], Float[Any, " inputs"]],
        key: Float[Any, "H rank inputs"],
        query: Float[Any, "H rank inputs"],
        v: Float[Any, "H outputs"],
    ) -> Float[Array, " outputs"]:
        r"""$\sum_i \beta^\top K_i^\top Q_i\, x_q\, v_i$ for $z = (\beta, x_q)$."""
        beta, x = z
        return jnp.sum((key @ beta) * (query @ x), axis=1) @ v

    @property
    def features(self) -> Features | None:
        r"""$\beta \otimes x_q$."""
        return Features(of_input=outer_features, coefficients=_separate_coefficients)


class MergedAttention(Architecture):
    r"""A head of linear self-attention with key and query merged in one matrix.

    $\hat y = \sum_i v_i\, \beta^\top U_i\, x_q$ with $U_i \in R^{inputs \times inputs}$, on the input $(\beta, x_q)$
    of `LinearAttention`: linear in $U_i$, as a two-layer linear network is on $\beta \otimes x_q$.

    Attributes:
        inputs: dimension of $x_n$, at least 1.
        outputs: number of labels, at least 1; by default 1.

    Raises:
        ValueError: for a size below 1.

    Source: Zhang, Singh, Latham & Saxe (2025), merged key and query.
    """

    _: KW_ONLY
    inputs: int = eqx.field(static=True)
    outputs: int = eqx.field(static=True, default=1)

    def __check_init__(self) -> None:
        check_sizes(inputs=self.inputs, outputs=self.outputs)

    @property
    def law(self) -> UnitLaw:
        r"""Linear in $U_i$."""
        return UnitLaw(zero=True, degree=1, linear=True)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """U and v."""
        return (self.inputs, self.inputs), (self.outputs,)

    @property
    def names(self) -> tuple[str, ...]:
        """Key and query in one, and values."""
        return "merged keys and queries of heads", "values of heads"

    @property
    def slot_degrees(self) -> tuple[int | None, ...]:
        """Linear in each of U and v."""
        return (1, 1)

    def output(
        self,
        z: tuple[Float[Any, " inputs"], Float[Any, " inputs"]],
        u: Float[Any, "H inputs inputs"],
        v: Float[Any, "H outputs"],
    ) -> Float[Array, " outputs"]:
        r"""$\sum_i \beta^\top U_i\, x_q\, v_i$ for $z = (\beta, x_q)$."""
        beta, x = z
        return jnp.einsum("i,hij,j->h", beta, u, x) @ v

    @property
    def features(self) -> Features | None:
        r"""$\beta \otimes x_q$."""
        return Features(of_input=outer_features, coefficients=_merged_coefficients, rank=number_of_units)


class SoftmaxAttention(_Head):
    r"""A head of softmax self-attention, $\sum_i \mathrm{smax}(Z Q_i K_i^\top Z^\top) Z V_i$, read at the query.

    The rows of $Z \in R^{tokens \times (inputs + 1)}$ are the tokens $(x_n, y_n)$, the last one the query with label
    zero. Read are the query's row and, of it, the label: $\hat y = \sum_i a_i^\top Z v_i$ with
    $a_i = \mathrm{smax}(Z K_i^\top Q_i z_q)$, $K_i, Q_i \in R^{rank \times (inputs + 1)}$ and the column
    $v_i \in R^{inputs + 1}$ of the value. (The label that a skip connection would add is zero.)

    Attributes:
        inputs: dimension of $x_n$, at least 1.
        rank: number of rows of key and query, at least 1; by default 1.
        outputs: number of labels, at least 1; by default 1.

    Raises:
        ValueError: for a size below 1.

    Source: Zhang, Saxe & Latham (2025), Eq. 2.
    """

    @property
    def law(self) -> UnitLaw:
        r"""With $K_i = 0$ or $Q_i = 0$ the head attends to all tokens equally, so that φ has no zero."""
        return UnitLaw(zero=False, order=0)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Key, query and v."""
        size = self.inputs + 1
        return (self.rank, size), (self.rank, size), (size, self.outputs)

    @property
    def slot_degrees(self) -> tuple[int | None, ...]:
        """Linear in v alone."""
        return (None, None, 1)

    def output(
        self,
        z: Float[Any, "tokens size"],
        key: Float[Any, "H rank size"],
        query: Float[Any, "H rank size"],
        v: Float[Any, "H size outputs"],
    ) -> Float[Array, " outputs"]:
        r"""$\sum_i \mathrm{smax}(Z K_i^\top Q_i z_q)^\top Z v_i$ for the tokens Z."""
        return jnp.einsum("ht,td,hdo->o", self.pattern(z, key, query), z, v)

    def pattern(
        self, z: Float[Any, "tokens size"], key: Float[Any, "H rank size"], query: Float[Any, "H rank size"]
    ) -> Float[Array, "H tokens"]:
        r"""The attention $a_i = \mathrm{smax}(Z K_i^\top Q_i z_q)$ of each head to the tokens Z."""
        scores = jnp.einsum("td,hrd,hr->ht", z, key, query @ z[-1])
        return jax.nn.softmax(scores, axis=1)


def context_statistics(tokens: Float[Any, "P tokens size"]) -> tuple[Float[Array, "P D"], Float[Array, "P D"]]:
    r"""Reduces each sequence to what linear attention reads of it.

    Args:
        tokens: P sequences of tokens $(x_n, y_n) \in R^{D + 1}$, the last one the query with label zero.

    Returns:
        $\beta = \sum_n y_n x_n$ and $x_q$ of every sequence.
    """
    xp = array_namespace(tokens)
    tokens = xp.asarray(tokens)
    x, y = tokens[..., :-1], tokens[..., -1]
    return jax.device_put((xp.einsum("pn,pnd->pd", y[:, :-1], x[:, :-1]), x[:, -1]))


def _separate_coefficients(model: Any) -> Float[Array, "outputs F"]:
    key, query, v = model.parameters
    return jnp.einsum("ho,hri,hrj->oij", v, key, query).reshape(v.shape[1], -1)


def _merged_coefficients(model: Any) -> Float[Array, "outputs F"]:
    u, v = model.parameters
    return jnp.einsum("ho,hij->oij", v, u).reshape(v.shape[1], -1)
