"""Which zero eigenvalues of a Hessian are there by symmetry, and which are not."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..flows import flatten
from ..models import declared_units, incoming, outgoing, units_of, with_units
from .curvature import Spectrum
from .embedding import Embedding

# Singular values below this share of the largest are zero.
RANK = 1e-9
# A direction is in the null space if all but this share of it is; a critical point known to 1e-10 has its null space
# to within about the square root.
INSIDE = 1e-4
# Random parameters of a unit, so many times as it has, at which a symmetry must hold.
TRIALS = 3


class NullSpace(eqx.Module):
    r"""The null space of a Hessian, explained.

    - `nullity`: its dimension; `symmetry`: directions along orbits of the model's symmetries; `families`: further ones
      along the affine family of embedded points to which the point belongs; `unexplained`: all others.
    - `directions`: an orthonormal basis of the unexplained part, as columns.
    """

    nullity: int
    symmetry: int
    families: int
    directions: Float[np.ndarray, "n k"]

    @property
    def unexplained(self) -> int:
        """The number of null directions that neither symmetries nor families explain."""
        return self.directions.shape[1]

    def __str__(self) -> str:
        parts = f"{self.symmetry} by symmetry, {self.families} by the embedding's family"
        return f"nullity {self.nullity}: {parts}, {self.unexplained} unexplained"


def unit_symmetries(model: Any, inputs: Any) -> Float[np.ndarray, "k d d"]:
    r"""The linear symmetries of one unit: a basis of all A with $D_w[\phi(z; u) v]\,A w = 0$ for all w and z.

    With $w = (u, v)$ it holds rescalings ($u \to \alpha u$, $v \to \alpha^{-p} v$), the gauges of keys and queries, and
    whatever else is there: found by a linear system at random w on the given inputs, not by knowing the model.

    **Arguments:** `model`: with declared units; `inputs`: a batch of generic inputs.
    """
    size = incoming(model).shape[1] + outgoing(model).shape[1]
    points = jax.random.normal(jax.random.key(0), (TRIALS * size, size), flatten(model).dtype)
    rows = np.asarray(_symmetry_conditions(model, inputs, points)).reshape(-1, size * size)
    _, values, vectors = np.linalg.svd(rows, full_matrices=False)
    return vectors[values <= RANK * values[0]].reshape(-1, size, size)


@eqx.filter_jit
def _symmetry_conditions(model: Any, inputs: Any, points: Float[Array, "t d"]) -> Float[Array, "t P d d"]:
    split = incoming(model).shape[1]

    def outputs(w: Array) -> Array:
        single = with_units(model, w[None, :split], w[None, split:])
        return jnp.ravel(jax.vmap(single)(inputs))

    return jax.vmap(lambda w: jax.jacfwd(outputs)(w)[:, :, None] * w)(points)


def symmetry_directions(model: Any, inputs: Any) -> Float[np.ndarray, "k n"]:
    r"""Tangents, at the model's parameters, of the orbits of its continuous symmetries.

    Each unit's own (`unit_symmetries`) and, where φ is linear, the mixing of units $U \to BU$, $V \to B^{-\top} V$.
    """
    law, u, v = declared_units(model).law, np.asarray(incoming(model)), np.asarray(outgoing(model))
    split, rows = u.shape[1], []
    if law.linear:
        for i in range(len(u)):
            for j in range(len(u)):
                du, dv = np.zeros_like(u), np.zeros_like(v)
                du[i], dv[j] = u[j], -v[i]
                rows.append((du, dv))
    else:
        generators = unit_symmetries(model, inputs)
        for i, w in enumerate(np.concatenate([u, v], axis=1)):
            for change in generators @ w:
                du, dv = np.zeros_like(u), np.zeros_like(v)
                du[i], dv[i] = change[:split], change[split:]
                rows.append((du, dv))
    return _flat_directions(model, rows)


def family_directions(embedding: Embedding) -> Float[np.ndarray, "k n"]:
    r"""Tangents of the affine family of embedded points: outputs shared otherwise between the units of one column."""
    v, rows = np.asarray(outgoing(embedding.narrow)), []
    u_shape = (embedding.incoming.shape[0], incoming(embedding.narrow).shape[1])
    for column, output in zip(embedding.incoming.T, v, strict=True):
        first, *others = np.flatnonzero(column) if np.any(column) else [0]
        for other in others:
            dv = np.zeros((len(column), v.shape[1]))
            dv[first], dv[other] = output / column[first], -output / column[other]
            rows.append((np.zeros(u_shape), dv))
    return _flat_directions(embedding.wide(), rows)


def _flat_directions(model: Any, rows: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Changes of the units as changes of the flattened parameters; what is outside the units stays."""
    theta = np.asarray(flatten(model))
    still = jax.tree.map(lambda leaf: jnp.zeros_like(leaf) if eqx.is_inexact_array(leaf) else leaf, model)
    flat = [np.asarray(flatten(with_units(still, jnp.asarray(du), jnp.asarray(dv)))) for du, dv in rows]
    return np.stack(flat) if flat else np.zeros((0, theta.size))


def null_space(spectral: Spectrum, model: Any, inputs: Any, embedding: Embedding | None = None) -> NullSpace:
    """Explains the null space of the Hessian at a critical point.

    **Arguments:** `spectral`: the spectrum there; `model`: the network there; `inputs`: generic inputs, those of the
    data for example; `embedding`: by which it comes from a narrow network, if it does.

    Only directions that do lie in the null space count.
    """
    basis = spectral.null_space
    symmetry = family = np.zeros((0, basis.shape[0]))
    if units_of(model) is not None:
        symmetry = symmetry_directions(model, inputs)
        if embedding is not None and not declared_units(model).law.linear:
            family = family_directions(embedding)
    inside = [_inside(rows, basis) for rows in (symmetry, family)]
    first = _rank(inside[0])
    both = np.vstack(inside)
    values, vectors = np.linalg.eigh(both.T @ both) if len(both) else (np.zeros(basis.shape[1]), np.eye(basis.shape[1]))
    explained = _rank(both)
    return NullSpace(basis.shape[1], first, explained - first, basis @ vectors[:, : basis.shape[1] - explained])


def _inside(rows: np.ndarray, basis: np.ndarray) -> Float[np.ndarray, "k nullity"]:
    """Coordinates, in the null space, of the directions that lie in it."""
    norms = np.linalg.norm(rows, axis=1)
    rows = rows[norms > RANK * np.max(norms, initial=0.0)]
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    coordinates = rows @ basis
    return coordinates[np.linalg.norm(rows - coordinates @ basis.T, axis=1) < INSIDE]


def _rank(rows: np.ndarray) -> int:
    values = np.linalg.svd(rows, compute_uv=False) if rows.size else np.zeros(0)
    return int(np.sum(values > INSIDE * np.max(values, initial=0.0)))
