"""Continuous symmetries of a model, found by solving for them, and the directions in which they move it."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...flows import flatten, unflatten
from ...flows.landscapes.unit_positions import unit_positions
from ...models import incoming, outgoing
from ...models.quick import quickly_compiled
from ...models.units import declared_units, layer_of, layers_of, with_units
from ..embeddings.embedding import Embedding
from ..numerical_rank import DERIVATIVE_TOLERANCE, numerical_rank
from .mixing import mixings
from .outputs import Outputs, outputs_on

# Conditions that a symmetry must meet, as a multiple of the number of unknowns.
CONDITIONS_PER_UNKNOWN = 3
# Generators of a model without units are sought among all affine maps of its parameters: for 40 of them a linear system
# of 1640 unknowns.
SEARCH_LIMIT = 40


class _Whole(eqx.Module):
    """Outputs as a function of all of a model's parameters."""

    model: Any
    outputs: Outputs

    def __call__(self, theta: Array) -> Array:
        return self.outputs(unflatten(self.model, theta))


class _OneUnit(eqx.Module):
    """Outputs of a network of one unit, as a function of that unit's parameters."""

    model: Any
    outputs: Outputs

    def __call__(self, w: Array) -> Array:
        split = incoming(self.model).shape[1]
        return self.outputs(with_units(self.model, w[None, :split], w[None, split:]))


@functools.partial(quickly_compiled, by=eqx.filter_jit)
def _conditions(function: Callable[[Array], Array], points: Float[Any, "t n"]) -> Float[Array, "t k n m"]:
    """Rows of the linear system J(θ) A [θ, 1] = 0 for the entries of A."""

    def rows(theta: Array) -> Array:
        return jax.jacfwd(function)(theta)[:, :, None] * jnp.append(theta, 1.0)

    return jax.vmap(rows)(points)


def generators(function: Callable[[Array], Array], size: int, dtype: Any = float) -> Float[np.ndarray, "k n m"]:
    r"""A basis of all A with $D f(\theta)\, A [\theta, 1] = 0$ for all θ: the affine symmetries of $f$.

    By a linear system at random θ.

    Args:
        function: f, from n numbers to a vector.
        size: n.
        dtype: of θ.

    Returns:
        The basis, k matrices of n × m, m = n + 1.
    """
    outputs = jax.eval_shape(function, jax.ShapeDtypeStruct((size,), dtype)).size
    # Each point gives one condition per output.
    count = CONDITIONS_PER_UNKNOWN * max(size + 1, size * (size + 1) // outputs)
    points = np.random.default_rng(0).standard_normal((count, size)).astype(dtype)
    rows = np.asarray(_conditions(function, points)).reshape(-1, size * (size + 1))
    # The triangular factor has the null space of the rows, and no more rows than unknowns.
    _, values, vectors = np.linalg.svd(np.linalg.qr(rows, mode="r"))
    algebra = vectors[numerical_rank(values, DERIVATIVE_TOLERANCE) :].reshape(-1, size, size + 1)
    # Rounding must not move parameters that are zero.
    return np.where(np.abs(algebra) > DERIVATIVE_TOLERANCE, algebra, 0.0)


def _moves(algebra: Float[np.ndarray, "k n m"], theta: Float[np.ndarray, " n"]) -> Float[np.ndarray, "k n"]:
    return algebra @ np.append(theta, 1.0)


def unit_symmetries(model: Any, data: Any) -> Float[np.ndarray, "k d m"]:
    r"""The affine symmetries of one unit: a basis of all A with $D_w[\phi(z; u) v]\,A [w, 1] = 0$ for all w and z.

    With $w = (u, v)$ the basis spans rescalings ($u \to \alpha u$, $v \to \alpha^{-p} v$), the gauge transformations of
    keys and queries, and all others: it is found by a linear system at random w, without knowledge of the model.

    Args:
        model: with declared units.
        data: a pair (x, y) with generic inputs, or sufficient statistics.

    Returns:
        The basis, k matrices of d × m, m = d + 1.

    Raises:
        ValueError: for data of another kind.
    """
    outputs, u, v = outputs_on(model, data), incoming(model), outgoing(model)
    if outputs is None:
        raise ValueError(f"symmetries are sought on data (x, y) or statistics; got {type(data).__name__}.")
    # One zero unit: only shapes matter, and these do not depend on the number of units.
    single = with_units(model, np.zeros((1, u.shape[1]), u.dtype), np.zeros((1, v.shape[1]), v.dtype))
    return generators(_OneUnit(model=single, outputs=outputs), u.shape[1] + v.shape[1], u.dtype)


def symmetry_directions(model: Any, data: Any) -> Float[np.ndarray, "k n"] | None:
    r"""Tangents, at the model's parameters, of the orbits of its continuous symmetries.

    Each unit's own (`unit_symmetries`) and, where φ is linear, the mixing of units $U \to BU$, $V \to B^{-\top} V$.
    Where several layers have units, or units feed on each other: the `mixings` that their declarations imply.
    For a model without units: all affine symmetries of its parameters, which are sought for up to 40 of them.

    Args:
        model: any model.
        data: a pair (x, y) with generic inputs, or sufficient statistics.

    Returns:
        The tangents, one row each, linearly dependent ones included; `None` where none were sought: for more parameters
        without units, and for data of another kind.
    """
    outputs, theta = outputs_on(model, data), np.asarray(flatten(model))
    if outputs is None:
        return None
    if layer_of(model) is None:
        if theta.size > SEARCH_LIMIT:
            return None
        return _moves(generators(_Whole(model=model, outputs=outputs), theta.size, theta.dtype), theta)
    layers = layers_of(model)
    if len(layers) > 1 or _recurrent(model):
        rows = [mixing.tangents(theta) for mixing in mixings(model, data)]
        return np.concatenate([np.zeros((0, theta.size)), *rows])
    u, v = np.asarray(incoming(model)), np.asarray(outgoing(model))
    if declared_units(model).law.linear:
        return _flat_directions(model, _mixings(u, v))
    split, rows, algebra = u.shape[1], [], unit_symmetries(model, data)
    for i, w in enumerate(np.concatenate([u, v], axis=1)):
        for change in _moves(algebra, w):
            du, dv = np.zeros_like(u), np.zeros_like(v)
            du[i], dv[i] = change[:split], change[split:]
            rows.append((du, dv))
    return _flat_directions(model, rows)


def _recurrent(model: Any) -> bool:
    """Whether units feed on each other, so that one alone has no function."""
    units = declared_units(model)
    arrays = [id(slot.where(model)) for slot in (*units.incoming, *units.outgoing)]
    return len(set(arrays)) < len(arrays)


def _mixings(u: np.ndarray, v: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The changes (BU, −BᵀV), for B of rank one that span them: only B's action on the ranges of U and V matters."""
    count = len(u)
    unit = np.eye(count)
    pairs = [(unit[i], b) for b in _range(u).T for i in range(count)]
    pairs += [(b, unit[j]) for b in _range(v).T for j in range(count)]
    return [(np.outer(a, b @ u), -np.outer(b, a @ v)) for a, b in pairs]


def _range(matrix: np.ndarray) -> np.ndarray:
    left, values, _ = np.linalg.svd(matrix, full_matrices=False)
    return left[:, : numerical_rank(values, DERIVATIVE_TOLERANCE)]


def family_directions(embedding: Embedding) -> Float[np.ndarray, "k n"]:
    r"""Tangents of an embedding's affine family, along which the units of one column share its output differently.

    Args:
        embedding: a member of the family.

    Returns:
        The tangents, one row each.
    """
    v, rows = np.asarray(outgoing(embedding.narrow)), []
    u_shape = (embedding.p_in.shape[0], incoming(embedding.narrow).shape[1])
    for column, output in zip(embedding.p_in.T, v, strict=True):
        first, *others = np.flatnonzero(column) if np.any(column) else [0]
        for other in others:
            dv = np.zeros((len(column), v.shape[1]))
            dv[first], dv[other] = output / column[first], -output / column[other]
            rows.append((np.zeros(u_shape), dv))
    return _flat_directions(embedding.wide(), rows)


def _flat_directions(model: Any, rows: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Changes of the units as changes of the flattened parameters."""
    changes = np.zeros((len(rows), flatten(model).size))
    places = unit_positions(model)
    for change, (du, dv) in zip(changes, rows, strict=True):
        change[places] = np.concatenate([du, dv], axis=1)
    return changes
