"""Wide networks recognised as embedded fixed points, and the affine families that these belong to."""

from typing import Any, Literal

import equinox as eqx
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from ...models import incoming, outgoing
from ...models.initialisation import normal_arrays
from ...models.unit_law import EmbeddingType, UnitLaw
from ...models.units import declared_units, map_units
from ..numerical_rank import numerical_rank
from .embedding import Embedding

# Parameters that agree to this share of the largest are equal: a critical point is known to about 1e-10.
EQUAL_PARAMETERS = 1e-6

# P_u and P_v.
Maps = tuple[Float[np.ndarray, "H r"], Float[np.ndarray, "H r"]]


class Identification(eqx.Module):
    r"""A wide network as an embedding of a narrow one, with the γ of each unit that the narrow one does not need.

    Attributes:
        embedding: the narrow network, $P_u$ and $P_v$; its `wide()` is the network that was identified.
        types: of each wide unit: "ii" for a zero unit; "i", "iii" or "iv" for a copy, a multiple or a combination of
            narrow units; "" for the first unit of each group, which stands for the narrow unit itself.
        gamma_u: for each wide unit the factors $\gamma_u$ of Theorem 1, zero for zero units: the rows of $P_u$.
        gamma_v: the factors $\gamma_v$: the rows of $P_v$.
        residual: the largest difference between the network and the embedded one, relative to the largest parameter.
    """

    embedding: Embedding
    types: tuple[EmbeddingType | Literal[""], ...]
    gamma_u: Float[np.ndarray, "H r"]
    gamma_v: Float[np.ndarray, "H r"]
    residual: float

    def __str__(self) -> str:
        counts = {name: self.types.count(name) for name in ("ii", "i", "iii", "iv")}
        parts = [f"{count} of type {name}" for name, count in counts.items() if count]
        width = self.embedding.p_in.shape[1]
        return f"width {width} embedded in {len(self.types)}: {', '.join(parts) or 'no further units'}"


def identify(model: Any, *, layer: int = 0, tolerance: float = EQUAL_PARAMETERS) -> Identification | None:
    r"""Recognises a wide network as an embedding, by Theorem 1, of a network that is narrow in one layer.

    Incoming parameters alone determine which units belong together: equal ones (type i), proportional ones where φ is
    homogeneous of degree 1 (iii), all of them where φ is linear (iv). Their outgoing parameters must then be multiples
    of one vector, as in the theorem; the units need not lie on an invariant manifold.

    Args:
        model: a model with declared units, at a critical point.
        layer: whose units are compared, from 0.
        tolerance: differences up to this share of the layer's largest parameter count as zero.

    Returns:
        The identification with the narrowest network; `None` where the network is no embedding of the types that its
        law allows, as with units of equal incoming parameters whose outgoing ones are not proportional.

    Source: Zhang, Saxe & Latham (2025), Theorem 1.
    """
    law = declared_units(model, layer).law
    u, v = np.asarray(incoming(model, layer)), np.asarray(outgoing(model, layer))
    largest = max(float(np.max(np.abs(part), initial=0.0)) for part in (u, v))
    found = (_factorised if law.linear else _grouped)(u, v, law, tolerance * largest)
    if found is None:
        return None
    p, q = found
    # Since P_vᵀP_u = 1, the narrow network's units are U' = P_vᵀU and V' = P_uᵀV.
    embedding = Embedding(narrow=map_units(model, q.T, p.T, layer), maps=((p, q, layer),))
    difference = max(float(np.max(np.abs(a - b), initial=0.0)) for a, b in ((p @ q.T @ u, u), (q @ p.T @ v, v)))
    if difference > 10 * tolerance * largest:
        return None
    residual = difference / largest if largest > 0 else 0.0
    types = _types(p, q, law)
    return Identification(embedding=embedding, types=types, gamma_u=p, gamma_v=q, residual=residual)


def _types(p: np.ndarray, q: np.ndarray, law: UnitLaw) -> tuple[EmbeddingType | Literal[""], ...]:
    names: list[EmbeddingType | Literal[""]] = []
    seen = set()
    for row_u, row_v in zip(p, q, strict=True):
        if not np.any(row_u) and not np.any(row_v):
            names.append("ii")
        elif law.linear:
            # r units stand for the narrow network's; which ones is a matter of choice.
            names.append("iv" if names.count("") == p.shape[1] else "")
        else:
            column = int(np.flatnonzero(row_u)[0])
            multiple = law.degree == 1 and row_u[column] != 1
            names.append("" if column not in seen else "iii" if multiple else "i")
            seen.add(column)
    return tuple(names)


def _factorised(u: np.ndarray, v: np.ndarray, law: UnitLaw, small: float) -> Maps | None:
    """The narrowest P_u, P_v with P_vᵀP_u = 1 whose columns span those of U and V."""
    a, b = _basis(u, small), _basis(v, small)
    left, overlap, right = np.linalg.svd(b.T @ a)
    rank = numerical_rank(overlap, EQUAL_PARAMETERS, scale=1.0)
    # A direction that only one side has needs a narrow unit as well: it is its own partner.
    p, q = np.hstack([a, b @ left[:, rank:]]), np.hstack([b, a @ right[rank:].T])
    used = np.max(np.abs(np.hstack([u, v])), axis=1, initial=0.0, keepdims=True) > small
    return np.where(used, p, 0.0), np.where(used, q @ np.linalg.inv(p.T @ q), 0.0)


def _basis(rows: np.ndarray, small: float) -> np.ndarray:
    """Orthonormal columns that span those of a matrix up to what is small."""
    left, sizes, _ = np.linalg.svd(rows, full_matrices=False)
    return left[:, : numerical_rank(sizes, small, scale=1.0)]


def _grouped(u: np.ndarray, v: np.ndarray, law: UnitLaw, small: float) -> Maps | None:
    """Groups of units with equal or proportional incoming parameters and outgoing ones along one vector."""
    columns, leaders = [], []
    for i, row in enumerate(u):
        if law.zero and np.max(np.abs(row)) <= small:
            if np.max(np.abs(v[i])) > small:
                return None  # φ vanishes for it, but its outgoing parameters are free: no type of the theorem
            continue
        for k, leader in enumerate(leaders):
            factor = _factor(row, u[leader], law)
            if factor is not None and np.max(np.abs(row - factor * u[leader])) <= small:
                columns[k].append((i, factor))
                break
        else:
            leaders.append(i)
            columns.append([(i, 1.0)])
    p, q = np.zeros((len(u), len(columns))), np.zeros((len(u), len(columns)))
    for k, members in enumerate(columns):
        total = sum((factor * v[i] for i, factor in members), np.zeros(v.shape[1]))
        if len(members) > 1 and np.max(np.abs(total)) <= small:
            return None  # outgoing parameters that cancel: a unit without effect, not an embedded one
        for i, factor in members:
            p[i, k] = factor
            q[i, k] = 1.0 if len(members) == 1 else v[i] @ total / (total @ total)
    return p, q


def _factor(row: np.ndarray, leader: np.ndarray, law: UnitLaw) -> float | None:
    """The γ of row = γ leader that the law allows, or `None`."""
    if law.degree != 1:
        return 1.0
    factor = float(row @ leader / (leader @ leader))
    factor = 1.0 if abs(factor - 1) <= EQUAL_PARAMETERS else factor
    return factor if law.field == "real" or factor > 0 else None


def sample_family(embedding: Embedding, *, key: PRNGKeyArray) -> Embedding:
    r"""Another embedding of the same narrow network: a random member of the given one's affine family.

    Type iv, or any embedding where φ is linear: $P_u$ standard normal and $P_v = N (P_u^\top N)^{-1}$ for another such
    matrix N; else the groups stay as they are, with new shares that sum to one, and for φ homogeneous of degree 1 new
    factors besides, positive where homogeneity holds for these alone. Zero units stay zero.

    Args:
        embedding: a member of the family.
        key: random key.

    Returns:
        The other member.
    """
    narrow, layer = embedding.narrow, embedding.layer
    law, (wide, width) = declared_units(narrow, layer).law, embedding.p_in.shape
    first, second = (np.asarray(array) for array in normal_arrays(key, 2 * ((wide, width),)))
    if law.linear:
        # A nearly singular overlap would make γ large; N is centred on P_u to avoid it.
        anchored = second + 3 * first
        p_out = anchored @ np.linalg.inv(first.T @ anchored)
        return Embedding(narrow=narrow, maps=((first, p_out, layer),))
    members = embedding.p_in != 0
    p = np.where(members, embedding.p_in, 0.0)
    if law.degree == 1:
        factors = np.exp(first) if law.field == "nonnegative" else np.where(first < 0, -1, 1) * np.exp(second)
        p = np.where(members, factors, 0.0)
    q = np.where(members, np.sign(p) * (second + 2.0), 0.0)
    return Embedding(narrow=narrow, maps=((p, q / np.sum(p * q, axis=0), layer),))
