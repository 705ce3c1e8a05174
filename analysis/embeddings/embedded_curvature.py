"""The Hessian at an embedded point, block by block: as large as the narrow network, whatever the width."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from ...flows import Landscape
from ...flows.compilation.traced import compiled
from ...models import incoming, outgoing
from ...models.units import declared_units
from .embedding import Embedding
from .narrow_landscape import NarrowLandscape, added_positions, narrow_landscape


class Block(eqx.Module):
    r"""A block of a Hessian, and how many times it occurs.

    - `name`; `count`; `eigenvalues`: ascending.
    """

    name: str
    count: int
    eigenvalues: Float[np.ndarray, " d"]


class EmbeddedSpectrum(eqx.Module):
    r"""Inertia of the Hessian $\nabla^2 L$ at an embedded point, from blocks to which it is congruent.

    - `blocks`: the narrow network's Hessian, and those that the further units add.
    - `zero_threshold`: |λ| up to this counts as zero.
    - `exact`: the blocks' eigenvalues are those of the Hessian itself, not only their signs.
    """

    blocks: tuple[Block, ...]
    zero_threshold: float
    exact: bool

    def _count(self, counts: Callable[[np.ndarray], np.ndarray]) -> int:
        return sum(block.count * int(np.sum(counts(block.eigenvalues))) for block in self.blocks)

    @property
    def index(self) -> int:
        """The number of negative eigenvalues of the wide network's Hessian."""
        return self._count(lambda values: values < -self.zero_threshold)

    @property
    def nullity(self) -> int:
        """The number of eigenvalues that count as zero."""
        return self._count(lambda values: np.abs(values) <= self.zero_threshold)

    @property
    def positive(self) -> int:
        """The number of positive eigenvalues."""
        return self._count(lambda values: values > self.zero_threshold)

    @property
    def lowest(self) -> float:
        """The lowest eigenvalue, where `exact`."""
        return min(float(block.eigenvalues[0]) for block in self.blocks if block.count and block.eigenvalues.size)

    def __str__(self) -> str:
        shares = ", ".join(f"{block.count} × {block.name}" for block in self.blocks if block.count)
        return f"index {self.index}, nullity {self.nullity}, {self.positive} positive ({shares})"


def embedded_spectrum(
    landscape: Landscape, embedding: Embedding, *, zero_threshold: float | None = None
) -> EmbeddedSpectrum:
    r"""Index and nullity of the Hessian at an embedded point, for any number of units.

    Let $m(u, v) = \langle \partial L / \partial f, \phi(u) v \rangle$ be the first-order effect of an added unit. With
    $G = \partial^2 m / \partial u^2$ and $N = \partial^2 m / \partial v \partial u$ at a narrow unit $(u_i, v_i)$, and
    $B_\sigma = (\sigma G, N^\top; N, 0)$, the wide Hessian is congruent to the narrow network's beside

    - for the k wide units that belong to the narrow unit, with shares $\lambda = P_u P_v$ of its output that sum to
      one, p of them positive and q negative: $p - 1$ blocks $B_1$, q blocks $B_{-1}$ and $k - p - q$ blocks $B_0$;
    - for each zero unit, and each unit beyond r where φ is linear: $B_0$ at $u = 0$.

    It holds for any loss that is a function of the sum of units, at any point, critical or not, where φ is twice
    differentiable.

    **Arguments:** `landscape`: of the wide network, or of any other with its loss and data; `embedding`: of the narrow
    network in the wide one; `zero_threshold`: |λ| up to this counts as zero, by default $\sqrt{eps}$ times the largest
    |λ| of all blocks.

    **Raises:** `ValueError` for zero units of a law that is not smooth, and beyond 3000 parameters of the narrow one.

    Source: Fukumizu & Amari (2000), Theorem 3, for two copies and one output; the general form is ours.
    """
    narrow, layer = embedding.narrow, embedding.layer
    law = declared_units(narrow, layer).law
    zeros = int(np.sum(embedding.dormant))
    if not law.smooth and zeros:
        raise ValueError(f"the network has {zeros} zero units, at which its units are not twice differentiable.")
    with_spare = narrow_landscape(landscape, embedding, spare=(layer,))
    added = added_positions(with_spare, layer)
    # The network of no units, which all zero units embed, has an empty Hessian.
    kept = np.setdiff1d(np.arange(with_spare.theta.size), np.concatenate(added))
    blocks = [Block("narrow network", 1, np.linalg.eigvalsh(with_spare.hessian(with_spare.theta)[np.ix_(kept, kept)]))]
    u, v = np.asarray(incoming(narrow, layer)), np.asarray(outgoing(narrow, layer))
    zero = np.zeros(u.shape[1]), np.zeros(v.shape[1])
    if law.linear:
        count = embedding.p_in.shape[0] - embedding.p_in.shape[1]
        blocks.append(_block("unused unit", count, with_spare, added, zero, 0))
    else:
        shares = embedding.p_in * embedding.p_out
        members = embedding.p_in != 0
        if np.any((embedding.p_out != 0) & ~members):
            raise ValueError("a wide unit has incoming parameters zero and outgoing ones that are not.")
        for i in range(shares.shape[1]):
            share = shares[members[:, i], i]
            p, q = int(np.sum(share > 0)), int(np.sum(share < 0))
            for sign, count in ((1, p - 1), (-1, q), (0, len(share) - p - q)):
                name = f"{('idle', 'positive', 'negative')[sign]} copy of unit {i}"
                blocks.append(_block(name, count, with_spare, added, (u[i], v[i]), sign))
        if zeros:
            blocks.append(_block("zero unit", zeros, with_spare, added, zero, 0))
    if zero_threshold is None:
        largest = max(float(np.max(np.abs(block.eigenvalues), initial=0.0)) for block in blocks)
        zero_threshold = float(np.sqrt(np.finfo(float).eps)) * largest
    return EmbeddedSpectrum(tuple(block for block in blocks if block.count), zero_threshold, _isometric(embedding))


def _isometric(embedding: Embedding) -> bool:
    """Whether the narrow parameters are coordinates of equal length in the wide ones."""
    p, q = embedding.p_in, embedding.p_out
    return bool(np.allclose(p, q, rtol=0, atol=1e-12) and np.allclose(p.T @ p, np.eye(p.shape[1]), rtol=0, atol=1e-12))


def _block(
    name: str,
    count: int,
    narrow: NarrowLandscape,
    added: tuple[np.ndarray, np.ndarray],
    unit: tuple[np.ndarray, np.ndarray],
    sign: int,
) -> Block:
    """The block of one further unit (u, v) beside the narrow network, from the second derivatives of m(u, v)."""
    if count < 1:
        return Block(name, 0, np.zeros(0))
    size = unit[0].size
    # m is linear in v: its derivative in v, along u, is -M(u), and the second derivative in u that of -⟨M(u), v⟩.
    incoming_map, outgoing_map = (narrow.matrix[:, places] for places in added)
    theta = narrow.matrix @ narrow.theta
    curvature, slope = (
        np.asarray(part) for part in _second(narrow.landscape, theta, incoming_map, outgoing_map, *unit)
    )
    second = np.zeros((size + unit[1].size,) * 2)
    second[:size, :size] = sign * curvature
    second[size:, :size], second[:size, size:] = slope, slope.T
    return Block(name, count, np.linalg.eigvalsh((second + second.T) / 2))


@compiled
def _second(
    landscape: Landscape,
    theta: Float[Any, " n"],
    incoming_map: Float[Any, "n Nu"],
    outgoing_map: Float[Any, "n Nv"],
    u: Float[Any, " Nu"],
    v: Float[Any, " Nv"],
) -> tuple[Float[Array, "Nu Nu"], Float[Array, "Nv Nu"]]:
    """∂²m/∂u² and ∂²m/∂v∂u at (u, v)."""
    slope = lambda u: outgoing_map.T @ landscape.gradient(theta + incoming_map @ u)  # noqa: E731
    return jax.hessian(lambda u: slope(u) @ v)(u), jax.jacfwd(slope)(u)
