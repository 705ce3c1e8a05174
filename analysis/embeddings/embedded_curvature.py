"""The inertia of the Hessian at an embedded point from blocks as large as the narrow network, whatever the width."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, Int

from ...flows import Landscape
from ...flows.compilation.traced import compiled
from ...models import UnitLaw, incoming, outgoing
from ...models.units import declared_units
from .embedding import Embedding
from .narrow_landscape import NarrowLandscape, added_positions, narrow_landscape


class Block(eqx.Module):
    """A block of a Hessian with its multiplicity.

    Attributes:
        name: what the block belongs to.
        count: how many times it occurs.
        eigenvalues: ascending.
    """

    name: str
    count: int
    eigenvalues: Float[np.ndarray, " d"]

    def __str__(self) -> str:
        return f"{self.count} × {self.name}"


class EmbeddedSpectrum(eqx.Module):
    r"""Inertia of the Hessian $\nabla^2 L$ at an embedded point, from blocks to which it is congruent.

    Attributes:
        blocks: the narrow network's Hessian, and those that the further units add.
        zero_threshold: |λ| up to this counts as zero.
        exact: whether the blocks' eigenvalues are those of the Hessian itself, not only their signs.
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
        shares = ", ".join(str(block) for block in self.blocks if block.count)
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

    Args:
        landscape: of the wide network, or of any other with its loss and data.
        embedding: of the narrow network in the wide one.
        zero_threshold: |λ| up to this counts as zero; by default $\sqrt{\epsilon}$ times the largest |λ| of all blocks.

    Returns:
        The inertia, with the blocks.

    Raises:
        ValueError: for zero units of a law that is not smooth, and for a wide unit with outgoing parameters only.

    Source: Fukumizu & Amari (2000), Theorem 3, for two copies and one output; the general form is ours.
    """
    law = declared_units(embedding.narrow, embedding.layer).law
    zeros = int(np.sum(embedding.dormant))
    if not law.smooth and zeros:
        raise ValueError(f"the network has {zeros} zero units, at which its units are not twice differentiable.")
    with_spare = narrow_landscape(landscape, embedding, spare=(embedding.layer,))
    added = added_positions(with_spare, embedding.layer)
    # The network of no units, which all zero units embed, has an empty Hessian.
    own = np.setdiff1d(np.arange(with_spare.theta.size), np.concatenate(added))
    values = np.linalg.eigvalsh(with_spare.hessian(with_spare.theta)[np.ix_(own, own)])
    further = _FurtherUnits(narrow=with_spare, u=added[0], v=added[1])
    blocks = [Block(name="narrow network", count=1, eigenvalues=values), *_further_blocks(further, embedding, law)]
    if zero_threshold is None:
        largest = max(float(np.max(np.abs(block.eigenvalues), initial=0.0)) for block in blocks)
        zero_threshold = float(np.sqrt(np.finfo(float).eps)) * largest
    used = tuple(block for block in blocks if block.count)
    return EmbeddedSpectrum(blocks=used, zero_threshold=zero_threshold, exact=_isometric(embedding))


def _isometric(embedding: Embedding) -> bool:
    """Whether the narrow parameters are coordinates of equal length in the wide ones."""
    p, q = embedding.p_in, embedding.p_out
    return bool(np.allclose(p, q, rtol=0, atol=1e-12) and np.allclose(p.T @ p, np.eye(p.shape[1]), rtol=0, atol=1e-12))


@dataclass(frozen=True)
class _FurtherUnits:
    """The narrow network with a zero unit more, and the positions of that unit's parameters (u, v)."""

    narrow: NarrowLandscape
    u: Int[np.ndarray, " Nu"]
    v: Int[np.ndarray, " Nv"]

    def block(self, name: str, count: int, u: np.ndarray, v: np.ndarray, sign: int) -> Block:
        r"""$B_\sigma$ of one further unit at (u, v), σ being the sign, from the second derivatives of m(u, v)."""
        if count < 1:
            return Block(name=name, count=0, eigenvalues=np.zeros(0))
        # m is linear in v: its derivative in v, along u, is -M(u), and the second derivative in u that of -⟨M(u), v⟩.
        p_in, p_out = self.narrow.matrix[:, self.u], self.narrow.matrix[:, self.v]
        theta = self.narrow.matrix @ self.narrow.theta
        curvature, slope = (np.asarray(part) for part in _second(self.narrow.landscape, theta, p_in, p_out, u, v))
        second = np.zeros((u.size + v.size,) * 2)
        second[: u.size, : u.size] = sign * curvature
        second[u.size :, : u.size], second[: u.size, u.size :] = slope, slope.T
        return Block(name=name, count=count, eigenvalues=np.linalg.eigvalsh((second + second.T) / 2))


def _further_blocks(further: _FurtherUnits, embedding: Embedding, law: UnitLaw) -> Iterator[Block]:
    """The blocks that the wide units add to those of the narrow network."""
    u, v = (np.asarray(rows(embedding.narrow, embedding.layer)) for rows in (incoming, outgoing))
    zero = np.zeros(u.shape[1]), np.zeros(v.shape[1])
    if law.linear:
        wide, narrow = embedding.p_in.shape
        yield further.block("unused unit", wide - narrow, *zero, sign=0)
        return
    members = embedding.p_in != 0
    if np.any((embedding.p_out != 0) & ~members):
        raise ValueError("a wide unit has incoming parameters zero and outgoing ones that are not.")
    for i, shares in enumerate((embedding.p_in * embedding.p_out).T):
        share = shares[members[:, i]]
        p, q = int(np.sum(share > 0)), int(np.sum(share < 0))
        for sign, count in ((1, p - 1), (-1, q), (0, len(share) - p - q)):
            name = f"{('idle', 'positive', 'negative')[sign]} copy of unit {i}"
            yield further.block(name, count, u[i], v[i], sign=sign)
    yield further.block("zero unit", int(np.sum(embedding.dormant)), *zero, sign=0)


@compiled
def _second(
    landscape: Landscape,
    theta: Float[Any, " n"],
    p_in: Float[Any, "n Nu"],
    p_out: Float[Any, "n Nv"],
    u: Float[Any, " Nu"],
    v: Float[Any, " Nv"],
) -> tuple[Float[Array, "Nu Nu"], Float[Array, "Nv Nu"]]:
    """∂²m/∂u² and ∂²m/∂v∂u at (u, v)."""
    slope = lambda u: p_out.T @ landscape.gradient(theta + p_in @ u)  # noqa: E731
    return jax.hessian(lambda u: slope(u) @ v)(u), jax.jacfwd(slope)(u)
