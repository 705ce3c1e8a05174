"""The narrow network behind a wide one."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from ..models import declared_units, incoming, unit_vectors, with_units
from .embedding import Embedding
from .width import EffectiveWidth, effective_width, shares_of_ray


def reduce(model: Any, effective: EffectiveWidth | None = None) -> Embedding:
    r"""The nearest network on the manifold of the effective width, as a narrow network with its embedding.

    For type iv $P_u = P_v$ has orthonormal columns; for type iii columns of shares γ of norm 1 with disjoint supports;
    for types ii and i $P_u$ marks the copies of a unit and $P_v$ divides its output evenly among them. All lie on
    manifolds that the flow keeps. Exact where the model lies on that manifold; otherwise the remainder is dropped.

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
        return _embedding(model, rows[:, :split], rows[:, split:], shares, shares)
    members = [np.flatnonzero(effective.groups == k) for k in range(effective.width)]
    build = _merge_ray if effective.embedding == "iii" else _merge_copies
    signed = declared_units(model).law.field == "real"
    columns = [build(theta, group, split, signed) for group in members]
    if not columns:
        empty = np.zeros((theta.shape[0], 0))
        return _embedding(model, np.zeros((0, split)), np.zeros((0, theta.shape[1] - split)), empty, empty)
    u, v, p, q = (np.stack(parts) for parts in zip(*columns, strict=True))
    return _embedding(model, u, v, p.T, q.T)


def _embedding(model, u, v, p, q) -> Embedding:
    return Embedding(with_units(model, jnp.asarray(u), jnp.asarray(v)), p, q)


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
