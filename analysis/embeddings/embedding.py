"""Narrow networks inside wide ones: the four types of embedded fixed points."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import ArrayLike, Float

from ...models.unit_law import EmbeddingType
from ...models.units import declared_units, map_units, width

# P_u, P_v, and the layer whose units they map.
LayerMap = tuple[Float[np.ndarray, "H r"], Float[np.ndarray, "H r"], int]


class Embedding(eqx.Module):
    r"""A narrow network and the linear maps that embed it in a wide one: $U = P_u U'$, $V = P_v V'$.

    - `narrow`: the model with r units.
    - `incoming`, `outgoing`: $P_u, P_v \in R^{H \times r}$ with $P_v^\top P_u = 1$. Types i–iii: every wide unit
      belongs to one narrow unit, its column, or is zero; type iv: any columns.
    - `layer`: whose units these are, from 0; all others are the same in both networks.
    """

    narrow: Any
    p_in: Float[np.ndarray, "H r"]
    p_out: Float[np.ndarray, "H r"]
    layer: int = eqx.field(static=True, default=0)

    @property
    def maps(self) -> tuple[LayerMap, ...]:
        """The maps of all layers in which the two networks differ: this one."""
        return ((self.p_in, self.p_out, self.layer),)

    @property
    def dormant(self) -> np.ndarray:
        """Which units of the wide network are zero (bool, length H)."""
        return ~np.any((self.p_in != 0) | (self.p_out != 0), axis=1)

    def wide(self, narrow: Any = None) -> Any:
        """The wide network with the narrow one's map; `narrow` may be another network of the same shape.

        Its gradient is zero wherever the narrow network's is.
        """
        narrow = self.narrow if narrow is None else narrow
        return map_units(narrow, self.p_in, self.p_out, self.layer)

    def then(self, outer: "Embedding") -> "Embedding":
        """This embedding followed by an embedding of its wide network in a wider one."""
        if outer.layer != self.layer:
            raise ValueError(f"embeddings of different layers, {self.layer} and {outer.layer}, do not follow another.")
        return Embedding(self.narrow, outer.p_in @ self.p_in, outer.p_out @ self.p_out, self.layer)


class LayeredEmbedding(eqx.Module):
    """A network that is narrow in every layer, and the linear maps that embed each of them.

    - `narrow`: the narrow model; `layers`: for each layer of units the maps $P_u$, $P_v$ of an `Embedding`.
    """

    narrow: Any
    layers: tuple[tuple[Float[np.ndarray, "H r"], Float[np.ndarray, "H r"]], ...]

    @property
    def maps(self) -> tuple[LayerMap, ...]:
        """The maps of all layers, from the lowest up."""
        return tuple((p, q, layer) for layer, (p, q) in enumerate(self.layers))

    @property
    def dormant(self) -> np.ndarray:
        """Which units of the wide network are zero, one layer after the other (bool)."""
        return np.concatenate([Embedding(None, p, q).dormant for p, q in self.layers])

    def wide(self, narrow: Any = None) -> Any:
        """The wide network with the narrow one's map; `narrow` may be another network of the same shape."""
        model = self.narrow if narrow is None else narrow
        for layer, (p, q) in enumerate(self.layers):
            model = map_units(model, p, q, layer)
        return model

    def projected(self, model: Any) -> Any:
        """The nearest wide network of this embedding's shape: another one's units seen through the narrow network."""
        for layer, (p, q) in enumerate(self.layers):
            model = map_units(model, p @ q.T, q @ p.T, layer)
        return model


def embed(
    model: Any,
    type: EmbeddingType,
    *,
    unit: int = 0,
    gamma_u: ArrayLike | None = None,
    gamma_v: ArrayLike | None = None,
    count: int = 1,
    layer: int = 0,
) -> Embedding:
    r"""A network with more units and the same map, whose gradient is zero where the given one's is.

    - Type i, for any φ, copies: $u_{new} = u_i$, $v_{new} = \gamma_v v_i$, and $v_i$ becomes $(1 - \gamma_v) v_i$.
    - Type ii, where $\phi(z; 0) = 0$: zero units.
    - Type iii, where φ is homogeneous of degree 1: $u_{new} = \gamma_u u_i$, $v_{new} = \gamma_v v_i$, and $v_i$
      becomes $(1 - \gamma_u \gamma_v) v_i$.
    - Type iv, where φ is linear: $u_{new} = \sum_i \gamma_{u,i} u_i$, $v_{new} = \sum_i \gamma_{v,i} v_i$, and $v_i$
      becomes $v_i - \gamma_{u,i} \sum_j \gamma_{v,j} v_j$.

    **Arguments:**

    - `model`: the narrow network, r units; `type`: one of the types.
    - `unit`: which unit is copied (types i and iii), from 0.
    - `gamma_u`, `gamma_v`: one number for each new unit (i: `gamma_v`; iii: both), or r numbers for each (iv: both),
      any real numbers; $\gamma_u \ge 0$ where φ is homogeneous for these alone.
    - `count`: number of zero units (ii); `layer`: where the new units are, from 0.

    **Returns:** the `Embedding`; `.wide()` is the network.

    **Raises:** `ValueError` where φ lacks the property, and for γ that do not fit.

    Source: Zhang, Saxe & Latham (2025), Theorem 1, Eqs. 4–7; types i and ii: Fukumizu & Amari (2000).
    """
    law, r = declared_units(model, layer).law, width(model, layer)
    needs = {"ii": (law.zero, "φ(z; 0) = 0"), "iii": (law.degree == 1, "degree 1"), "iv": (law.linear, "linear φ")}
    if type not in ("i", *needs):
        raise ValueError(f"type must be i, ii, iii or iv; got {type!r}.")
    if type != "i" and not needs[type][0]:
        raise ValueError(f"embedding of type {type} needs a unit law with {needs[type][1]}, which the model's has not.")
    if type in ("i", "iii") and not 0 <= unit < r:
        raise ValueError(f"unit must be between 0 and {r - 1}; got {unit}.")
    if type == "ii":
        if count < 1:
            raise ValueError(f"count must be at least 1; got {count}.")
        rows_u = rows_v = np.zeros((count, r))
    else:
        shape = (-1, r) if type == "iv" else (-1, 1)
        rows_v = _rows("gamma_v", gamma_v, shape)
        rows_u = np.ones_like(rows_v) if type == "i" else _rows("gamma_u", gamma_u, shape)
        if type == "iii" and law.field == "nonnegative" and np.any(rows_u < 0):
            raise ValueError(f"φ is homogeneous for factors ≥ 0 only; got gamma_u = {gamma_u}.")
        if rows_u.shape != rows_v.shape:
            raise ValueError(f"gamma_u and gamma_v must agree in shape; got {rows_u.shape} and {rows_v.shape}.")
        if type != "iv":
            rows_u, rows_v = (rows * np.eye(r)[unit] for rows in (rows_u, rows_v))
    p, q = np.vstack([np.eye(r), rows_u]), np.vstack([np.eye(r) - rows_u.T @ rows_v, rows_v])
    return Embedding(model, p, q, layer)


def _rows(name: str, values: ArrayLike | None, shape: tuple[int, int]) -> Float[np.ndarray, "k r"]:
    values = np.asarray(() if values is None else values, float)
    if values.size == 0 or values.size % shape[1] or not np.all(np.isfinite(values)):
        raise ValueError(f"{name} must be {shape[1]} finite number(s) for each new unit; got {values}.")
    return values.reshape(shape)
