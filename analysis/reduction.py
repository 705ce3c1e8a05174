"""Narrow networks inside wide ones: reduce by Theorem 3, embed back by Theorem 1."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..models import declared_units, incoming, outgoing, unit_vectors, with_units
from .width import EffectiveWidth, effective_width, shares_of_ray


class Reduction(eqx.Module):
    r"""A narrow network and the linear maps that embed it in the wide one: $U = P_u U'$, $V = P_v V'$.

    - `narrow`: the model with r units.
    - `incoming`, `outgoing`: $P_u, P_v \in R^{H \times r}$. Type iv: equal, with orthonormal columns; type iii: equal,
      unit columns of shares γ with disjoint supports; types ii and i: $P_u$ marks the copies of a unit and $P_v$
      divides its output evenly among them. A zero row is a zero unit.
    - `wide`: the model that was reduced.
    """

    narrow: Any
    incoming: Float[np.ndarray, "H r"]
    outgoing: Float[np.ndarray, "H r"]
    wide: Any

    @property
    def dormant(self) -> np.ndarray:
        """Which units of the wide network are zero after embedding (bool, length H)."""
        return ~np.any(self.incoming != 0, axis=1) if self.incoming.shape[1] else np.ones(len(self.incoming), bool)

    def embed(self, narrow: Any = None) -> Any:
        """The wide network with the narrow one's map; `narrow` may be another network of the same shape.

        Its gradient is zero wherever the narrow network's is, and it lies on the invariant manifold of the reduction.
        """
        narrow = self.narrow if narrow is None else narrow
        u = jnp.asarray(self.incoming) @ incoming(narrow)
        v = jnp.asarray(self.outgoing) @ outgoing(narrow)
        # The narrow model carries the parameters outside the units, if there are any.
        return with_units(narrow, u, v)


def reduce(model: Any, effective: EffectiveWidth | None = None) -> Reduction:
    """The nearest network on the manifold of the effective width, as a narrow network with its embedding.

    Exact where the model lies on that manifold; otherwise the remainder is dropped.

    **Arguments:** `model`: a model with units; `effective`: its effective width, computed if not given.

    Source: Zhang, Saxe & Latham (2025), Theorem 3 and its Appendix F.3.
    """
    effective = effective_width(model) if effective is None else effective
    theta = np.asarray(unit_vectors(model))
    split = incoming(model).shape[1]
    if effective.groups is None:
        left, sizes, right = np.linalg.svd(theta, full_matrices=False)
        shares = left[:, : effective.width]
        rows = sizes[: effective.width, None] * right[: effective.width]
        return _reduction(model, rows[:, :split], rows[:, split:], shares, shares)
    members = [np.flatnonzero(effective.groups == k) for k in range(effective.width)]
    build = _merge_ray if effective.embedding == "iii" else _merge_copies
    signed = declared_units(model).law.field == "real"
    columns = [build(theta, group, split, signed) for group in members]
    if not columns:
        empty = np.zeros((theta.shape[0], 0))
        return _reduction(model, np.zeros((0, split)), np.zeros((0, theta.shape[1] - split)), empty, empty)
    u, v, p, q = (np.stack(parts) for parts in zip(*columns, strict=True))
    return _reduction(model, u, v, p.T, q.T)


def _reduction(model, u, v, p, q) -> Reduction:
    return Reduction(with_units(model, jnp.asarray(u), jnp.asarray(v)), p, q, model)


def _merge_ray(theta: np.ndarray, group: np.ndarray, split: int, signed: bool):
    direction, shares = shares_of_ray(theta[group], signed)
    size = np.linalg.norm(shares)
    column = np.zeros(len(theta))
    column[group] = shares / size
    return size * direction[:split], size * direction[split:], column, column


def _merge_copies(theta: np.ndarray, group: np.ndarray, split: int, signed: bool):
    mean = theta[group].mean(axis=0)
    marks = np.zeros(len(theta))
    marks[group] = 1.0
    return mean[:split], len(group) * mean[split:], marks, marks / len(group)
