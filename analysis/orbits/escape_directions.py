"""The directions in which the flow can leave a saddle."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ...flows.landscapes.unit_positions import unit_positions
from ...models.units import declared_units
from ..critical_points.classify import classify
from ..critical_points.critical_point import CriticalPoint
from ..critical_points.kind import Kind
from ..leading_order.added_unit import AddedUnitForm, local_maximisers

# A form with a continuum of maximisers is left along at most this number of them.
MOST_MAXIMISERS = 4


class EscapeDirection(eqx.Module):
    r"""A direction in which the distance r from a saddle grows as $\dot r = c\, r^{p-1}$.

    Attributes:
        point: the saddle.
        kind: of the saddle.
        direction: a unit vector; for one that mixes several eigenspaces a vector $\sum_k \hat q_k$ of unit vectors, one
            from each.
        order: p.
        rate: c, for p = 2 the −λ of the eigenvalue.
        stronger: orthonormal columns, the unstable eigenvectors along which the flow would leave faster. An orbit that
            leaves along `direction` alone has no component in them.
        mixed: rates and unit vectors of several eigenspaces, fastest first; empty for one alone.
    """

    point: CriticalPoint
    kind: Kind
    direction: Float[np.ndarray, " n"]
    order: int
    rate: float
    stronger: Float[np.ndarray, "n m"]
    mixed: tuple[tuple[float, Float[np.ndarray, " n"]], ...] = ()

    def displacement(self, size: float) -> Float[np.ndarray, " n"]:
        r"""The vector of about the given size from the saddle to a point on the escape.

        Along several eigenspaces the parts are in the proportion $size^{\mu_k / \mu_1}$ in which all of them
        become large at the same time, µ being their rates.

        Args:
            size: length of the fastest part, typically a thousandth of ‖θ‖ after learning.

        Returns:
            The displacement.
        """
        if not self.mixed:
            return size * self.direction
        fastest = self.mixed[0][0]
        return np.sum([size ** (rate / fastest) * part for rate, part in self.mixed], axis=0)

    def __str__(self) -> str:
        growth = "exponential" if self.order == 2 else f"algebraic of order {self.order}"
        eigenspaces = "small units" if self.order > 2 else f"{max(len(self.mixed), 1)} eigenspace(s)"
        return (
            f"escape direction from a {self.kind.name} at loss {self.point.loss:.6g}\n"
            f"  growth: {growth}, rate {self.rate:.6g}\n"
            f"  along {eigenspaces}; {self.stronger.shape[1]} stronger directions are excluded"
        )


@dataclass(frozen=True)
class Eigenspace:
    """An unstable eigenvalue with its eigenvectors, and those of all lower eigenvalues.

    Attributes:
        value: λ < 0, the mean of the eigenvalues that agree.
        vectors: orthonormal columns.
        lower: orthonormal columns, along which the flow leaves faster.
    """

    value: float
    vectors: Float[np.ndarray, "n m"]
    lower: Float[np.ndarray, "n k"]


def eigenspaces(kind: Kind) -> tuple[Eigenspace, ...]:
    """The unstable eigenspaces of a strict saddle, lowest eigenvalue first; none for other kinds."""
    spectrum = kind.spectrum
    if spectrum is None:
        return ()
    values, vectors = spectrum.eigenvalues, spectrum.eigenvectors
    return tuple(
        Eigenspace(float(values[members].mean()), vectors[:, members], vectors[:, : members[0]])
        for members in spectrum.eigenspaces()
    )


def escape_directions(
    point: CriticalPoint, kind: Kind | None = None, *, mixed: bool = False, seed: int = 0
) -> tuple[EscapeDirection, ...]:
    r"""The directions in which the flow can leave a saddle.

    From a strict saddle both signs of a random vector of each unstable eigenspace: of an eigenvalue with multiplicity
    m the orbits fill an m-dimensional manifold, and almost all of them end at one kind of point. Where small units
    lower the loss without a Hessian that shows it (order p ≥ 3, or ReLU), one unused unit leaves along each local
    maximiser of its form.

    Args:
        point: the saddle.
        kind: its `Kind`, determined if not given.
        mixed: also along every two eigenspaces at once, on orbits that pass by the saddle to which one of them alone
            would lead.
        seed: of the random vectors.

    Returns:
        Those of the eigenspaces, lowest first, then mixtures, then those of small units; none for a minimum.
    """
    kind = classify(point) if kind is None else kind
    random = np.random.default_rng(seed)
    found, alone = [], []
    for space in eigenspaces(kind):
        vector = space.vectors @ random.standard_normal(space.vectors.shape[1])
        vector /= np.linalg.norm(vector)
        alone.append((space, vector))
        for sign in (1, -1):
            direction = EscapeDirection(
                point=point, kind=kind, direction=sign * vector, order=2, rate=-space.value, stronger=space.lower
            )
            found.append(direction)
    if mixed:
        found += [_mixture(point, kind, first, second) for first, second in combinations(alone, 2)]
    return (*found, *_small_units(point, kind))


def _mixture(
    point: CriticalPoint,
    kind: Kind,
    fast: tuple[Eigenspace, Float[np.ndarray, " n"]],
    slow: tuple[Eigenspace, Float[np.ndarray, " n"]],
) -> EscapeDirection:
    """Both at once; the directions stronger than the slow one, except the fast one's own eigenspace, are excluded."""
    own, lower = fast[0].vectors, slow[0].lower
    others = lower - own @ (own.T @ lower)
    # An eigenvector is in the fast eigenspace or orthogonal to it.
    excluded = lower[:, np.linalg.norm(others, axis=0) > 0.5]
    return EscapeDirection(
        point=point,
        kind=kind,
        direction=fast[1] + slow[1],
        order=2,
        rate=-fast[0].value,
        stronger=excluded,
        mixed=((-fast[0].value, fast[1]), (-slow[0].value, slow[1])),
    )


def _small_units(point: CriticalPoint, kind: Kind) -> Iterator[EscapeDirection]:
    """One unused unit that leaves on its own, where no Hessian shows it."""
    form, embedding = kind.added_unit_form, point.single_layer
    if kind.order is None or not isinstance(form, AddedUnitForm) or embedding is None:
        return
    if not np.any(embedding.dormant) or not form.lowers():
        return
    if form.order == 2 and declared_units(point.landscape.model).law.smooth:
        return
    spectrum = kind.spectrum
    stronger = np.zeros((point.theta.size, 0)) if spectrum is None else spectrum.eigenvectors[:, : spectrum.index]
    unit = unit_positions(point.landscape.model)[int(np.argmax(embedding.dormant))]
    for strength, row in local_maximisers(point.landscape, embedding=embedding)[:MOST_MAXIMISERS]:
        single = AddedUnitForm(order=form.order, strength=strength, u=None, v=None, maximisers=row[None])
        direction = np.zeros(point.theta.size)
        direction[unit] = row
        yield EscapeDirection(
            point=point, kind=kind, direction=direction, order=form.order, rate=single.rate, stronger=stronger
        )
