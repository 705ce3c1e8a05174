"""The narrow network behind a wide one."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ...models.units import declared_units, layers_of, map_units, unit_vectors
from ..thresholds import STANDARD, Thresholds
from .embedding import Embedding
from .products import reduce_products
from .width import EffectiveWidth, effective_width, effective_widths, shares_of_ray


def reduce(model: Any, effective: EffectiveWidth | None = None, *, layer: int = 0) -> Embedding:
    r"""The nearest network on the manifold of a layer's effective width, as a narrow network with its embedding.

    For type iv $P_u = P_v$ has orthonormal columns; for type iii columns of shares γ of norm 1 with disjoint supports;
    for types ii and i $P_u$ marks the copies of a unit and $P_v$ divides its output evenly among them. All lie on
    invariant manifolds of the flow; the narrow units are $P_v^\top U$ and $P_u^\top V$. Exact where the model lies on
    that manifold; otherwise the remainder is dropped.

    Args:
        model: a model with declared units.
        effective: its effective width, by default computed.
        layer: whose effective width is computed, from 0.

    Returns:
        The narrow network with its embedding.

    Source: Zhang, Saxe & Latham (2025), Theorem 3 and its Appendix F.3.
    """
    effective = effective_width(model, layer=layer) if effective is None else effective
    p, q = _maps(model, effective)
    narrow = map_units(model, q.T, p.T, effective.layer)
    return Embedding(narrow=narrow, maps=((p, q, effective.layer),))


def reduce_layers(model: Any, effective: EffectiveWidth | tuple[EffectiveWidth, ...] | None = None) -> Embedding:
    """The network that is narrow in all its layers; for a single layer of units the same as `reduce`.

    Args:
        model: a model with declared units.
        effective: the effective width of each layer, by default computed.

    Returns:
        The narrow network with its embedding.

    Raises:
        ValueError: for another number of widths than layers.
    """
    effective = effective_widths(model) if effective is None else effective
    effective = effective if isinstance(effective, tuple) else (effective,)
    if len(effective) != len(layers_of(model)):
        raise ValueError(f"the model has {len(layers_of(model))} layers of units; got {len(effective)} widths.")
    if len(effective) == 1:
        return reduce(model, effective[0])
    # The maps of different layers act on different axes and commute.
    maps, narrow = tuple((*_maps(model, each), each.layer) for each in effective), model
    for p, q, layer in maps:
        narrow = map_units(narrow, q.T, p.T, layer)
    return Embedding(narrow=narrow, maps=maps)


def narrowest(
    model: Any, effective: EffectiveWidth | tuple[EffectiveWidth, ...], *, thresholds: Thresholds = STANDARD
) -> Embedding:
    """The network that is narrow in all its layers, and whose products within units have the rank that they use.

    Args:
        model: a model with declared units.
        effective: the effective width of each layer.
        thresholds: `clear_gap`, as for `reduce_products`.

    Returns:
        The narrow network with its embedding.
    """
    effective = effective if isinstance(effective, tuple) else (effective,)
    embedding = reduce_layers(model, effective)
    narrow = reduce_products(embedding.narrow, effective, thresholds=thresholds)
    return eqx.tree_at(lambda e: e.narrow, embedding, narrow)


def _maps(model: Any, effective: EffectiveWidth) -> tuple[Float[np.ndarray, "H r"], Float[np.ndarray, "H r"]]:
    """$P_u$ and $P_v$ of the nearest point on the manifold of the effective width."""
    theta = np.asarray(unit_vectors(model, effective.layer))
    if effective.groups is None:
        shares = np.linalg.svd(theta, full_matrices=False)[0][:, : effective.width]
        return shares, shares
    signed = declared_units(model, effective.layer).law.field == "real"
    p, q = np.zeros((len(theta), effective.width)), np.zeros((len(theta), effective.width))
    for k in range(effective.width):
        group = np.flatnonzero(effective.groups == k)
        if effective.embedding == "iii":
            _, shares = shares_of_ray(theta[group], signed)
            p[group, k] = q[group, k] = shares / np.linalg.norm(shares)
        else:
            p[group, k], q[group, k] = 1.0, 1 / len(group)
    return p, q
