"""The directions in which the flow can leave a saddle."""

from collections.abc import Iterator
from itertools import combinations

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ...flows.landscapes.unit_positions import unit_positions
from ...models.units import declared_units
from ..critical_points.classify import ZERO_FORM, classify
from ..critical_points.critical_point import CriticalPoint
from ..critical_points.kind import Kind
from ..curvature.spectrum import EIGENSPACE_SPREAD
from ..embeddings.embedding import Embedding
from ..leading_order.added_unit import AddedUnitForm, local_maximisers

# A form with a continuum of maximisers is left along so many of them.
MOST_MAXIMISERS = 4


class EscapeDirection(eqx.Module):
    r"""A way out of a saddle, on which the distance r from it grows as $\dot r = c\, r^{p-1}$.

    - `point`, `kind`: the saddle.
    - `direction`: a unit vector; for one that mixes several eigenspaces a vector $\sum_k \hat q_k$ of unit vectors,
      one from each, and `mixed` their rates and themselves, fastest first.
    - `order`: p; `rate`: c, for p = 2 the −λ of the eigenvalue.
    - `stronger`: orthonormal columns, the unstable eigenvectors along which the flow would leave faster. An orbit that
      leaves along `direction` alone has no part in them.
    """

    point: CriticalPoint
    kind: Kind
    direction: Float[np.ndarray, " n"]
    order: int
    rate: float
    stronger: Float[np.ndarray, "n m"]
    mixed: tuple[tuple[float, Float[np.ndarray, " n"]], ...] = ()

    def displacement(self, size: float) -> Float[np.ndarray, " n"]:
        r"""The vector of about the given size from the saddle to a point on the way out.

        Along several eigenspaces the parts are in the proportion $size^{\mu_k / \mu_1}$ in which all of them
        become large at the same time, µ being their rates.
        """
        if not self.mixed:
            return size * self.direction
        fastest = self.mixed[0][0]
        return np.sum([size ** (rate / fastest) * part for rate, part in self.mixed], axis=0)


def eigenspaces(kind: Kind) -> Iterator[tuple[float, Float[np.ndarray, "n m"], Float[np.ndarray, "n k"]]]:
    """The unstable eigenvalues of a strict saddle, lowest first, with their eigenvectors and all lower ones'."""
    spectral = kind.spectrum
    if spectral is None or spectral.index == 0:
        return
    for members in spectral.eigenspaces():
        lower = spectral.eigenvectors[:, : members[0]]
        yield float(spectral.eigenvalues[members].mean()), spectral.eigenvectors[:, members], lower


def escape_directions(
    point: CriticalPoint, kind: Kind | None = None, *, mixed: bool = False, seed: int = 0
) -> tuple[EscapeDirection, ...]:
    r"""The ways out of a saddle.

    From a strict saddle both ways along a random vector of each unstable eigenspace: of an eigenvalue that occurs m
    times the orbits fill an m-dimensional manifold, and almost all of them end at one kind of point. Where small units
    lower the loss without a Hessian that shows it (order p ≥ 3, or ReLU), one unused unit leaves along each local
    maximiser of its form.

    **Arguments:** `point`: the saddle; `kind`: its `kind`, determined if not given; `mixed`: also along every two
    eigenspaces at once, on orbits that pass by the saddle to which one of them alone would lead; `seed`: of the random
    vectors.
    """
    kind = classify(point) if kind is None else kind
    random = np.random.default_rng(seed)
    found, alone = [], []
    for value, space, lower in eigenspaces(kind):
        vector = space @ random.standard_normal(space.shape[1])
        vector /= np.linalg.norm(vector)
        alone.append((-value, vector, lower))
        found += [EscapeDirection(point, kind, sign * vector, 2, -value, lower) for sign in (1, -1)]
    if mixed:
        found += [_mixture(point, kind, first, second) for first, second in combinations(alone, 2)]
    return (*found, *_small_units(point, kind))


def _mixture(point: CriticalPoint, kind: Kind, fast, slow) -> EscapeDirection:
    """Both at once; what is stronger than the slow one, but for the fast one's own eigenspace, stays out."""
    own = next(space for value, space, _ in eigenspaces(kind) if np.isclose(-value, fast[0], rtol=EIGENSPACE_SPREAD))
    others = slow[2] - own @ (own.T @ slow[2])
    kept = slow[2][:, np.linalg.norm(others, axis=0) > 0.5]
    return EscapeDirection(point, kind, fast[1] + slow[1], 2, fast[0], kept, ((fast[0], fast[1]), (slow[0], slow[1])))


def _small_units(point: CriticalPoint, kind: Kind) -> Iterator[EscapeDirection]:
    """One unused unit that leaves on its own, where no Hessian tells of it."""
    form, embedding = kind.added_unit_form, point.embedding
    if kind.order is None or not isinstance(form, AddedUnitForm) or not isinstance(embedding, Embedding):
        return
    if not np.any(embedding.dormant) or form.strength <= ZERO_FORM:
        return
    if form.order == 2 and declared_units(point.landscape.model).law.smooth:
        return
    spectral = kind.spectrum
    stronger = np.zeros((point.theta.size, 0)) if spectral is None else spectral.eigenvectors[:, : spectral.index]
    unit = unit_positions(point.landscape.model)[int(np.argmax(embedding.dormant))]
    for strength, row in local_maximisers(point.landscape, embedding=embedding)[:MOST_MAXIMISERS]:
        single = AddedUnitForm(form.order, strength, None, None, row[None])
        direction = np.zeros(point.theta.size)
        direction[unit] = row
        yield EscapeDirection(point, kind, direction, form.order, single.rate, stronger)
