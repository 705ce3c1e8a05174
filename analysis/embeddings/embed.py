"""The four types of embedded fixed points."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import ArrayLike, Float

from ...models.unit_law import EmbeddingType, UnitLaw
from ...models.units import declared_units, width
from .embedding import Embedding

# The factors γ of new units: one number, or several, in a list or an array.
Gammas = ArrayLike | Sequence[Any]


def embed(
    model: Any,
    type: EmbeddingType | str,
    *,
    unit: int = 0,
    gamma_u: Gammas | None = None,
    gamma_v: Gammas | None = None,
    count: int = 1,
    layer: int = 0,
) -> Embedding:
    r"""Embeds a network in a wider one with the same map, whose gradient is zero where the narrow one's is.

    - Type i, for any φ, copies: $u_{new} = u_i$, $v_{new} = \gamma_v v_i$, and $v_i$ becomes $(1 - \gamma_v) v_i$.
    - Type ii, where $\phi(z; 0) = 0$: zero units.
    - Type iii, where φ is homogeneous of degree 1: $u_{new} = \gamma_u u_i$, $v_{new} = \gamma_v v_i$, and $v_i$
      becomes $(1 - \gamma_u \gamma_v) v_i$.
    - Type iv, where φ is linear: $u_{new} = \sum_i \gamma_{u,i} u_i$, $v_{new} = \sum_i \gamma_{v,i} v_i$, and $v_i$
      becomes $v_i - \gamma_{u,i} \sum_j \gamma_{v,j} v_j$.

    Args:
        model: the narrow network, r units.
        type: "i", "ii", "iii" or "iv".
        unit: which unit is copied (types i and iii), from 0.
        gamma_u: $\gamma_u$, real: one number for each new unit (iii), or r numbers for each (iv); not negative where φ
            is homogeneous for such factors only.
        gamma_v: $\gamma_v$, real: one number for each new unit (i, iii), or r numbers for each (iv).
        count: number of zero units (ii).
        layer: the layer that gets the new units, from 0.

    Returns:
        The `Embedding`; its `wide()` is the wide network.

    Raises:
        ValueError: where φ lacks the property that the type needs, and for γ that do not fit.

    Source: Zhang, Saxe & Latham (2025), Theorem 1, Eqs. 4–7; types i and ii: Fukumizu & Amari (2000).
    """
    law, r = declared_units(model, layer).law, width(model, layer)
    _check_type(type, law)
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
    return Embedding(narrow=model, maps=((p, q, layer),))


def _check_type(type: str, law: UnitLaw) -> None:
    needs = {"ii": (law.zero, "φ(z; 0) = 0"), "iii": (law.degree == 1, "degree 1"), "iv": (law.linear, "linear φ")}
    if type not in ("i", *needs):
        raise ValueError(f"type must be i, ii, iii or iv; got {type!r}.")
    if type != "i" and not needs[type][0]:
        raise ValueError(f"embedding of type {type} needs a unit law with {needs[type][1]}, which the model's has not.")


def _rows(name: str, values: Gammas | None, shape: tuple[int, int]) -> Float[np.ndarray, "k r"]:
    values = np.asarray(() if values is None else values, float)
    if values.size == 0 or values.size % shape[1] or not np.all(np.isfinite(values)):
        raise ValueError(f"{name} must be {shape[1]} finite number(s) for each new unit; got {values}.")
    return values.reshape(shape)
