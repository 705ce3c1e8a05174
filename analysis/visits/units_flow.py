"""The flow of units that a saddle does not use, to leading order, driven by the narrow network behind the saddle."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from ...flows import Landscape
from ...flows.landscapes.unit_positions import unit_positions
from ...models import incoming
from ...models.units import declared_units
from ..critical_points.kind import Kind
from ..curvature.spectrum import Spectrum
from ..embeddings.embedding import Embedding
from ..leading_order.added_unit import AddedUnitForm

# An unstable direction is one of the narrow network itself if more than this share of it lies in its manifold;
# eigenvectors mix where eigenvalues are as close as the square root of rounding.
INSIDE = 1e-3
# b relaxes linearly once Newton's step lowers its speed to this share: what is neglected is that share of what is left.
LINEAR = 0.02

Vector = Float[np.ndarray, " n"]


@dataclass(frozen=True)
class _Manifold:
    """The networks of an embedding's shape in the wide network's parameters: an invariant manifold of the flow.

    Attributes:
        u: positions of the layer's incoming parameters, one row for each unit.
        v: positions of its outgoing parameters.
        p: the projection of the incoming parameters.
        q: the projection of the outgoing parameters.
    """

    u: Int[np.ndarray, "H Nu"]
    v: Int[np.ndarray, "H Nv"]
    p: Float[np.ndarray, "H H"]
    q: Float[np.ndarray, "H H"]

    def onto(self, theta: Vector) -> Vector:
        """The component in the manifold."""
        result = theta.copy()
        result[self.u], result[self.v] = self.p @ theta[self.u], self.q @ theta[self.v]
        return result

    def off(self, theta: Vector) -> Vector:
        """The component normal to it."""
        return theta - self.onto(theta)


@dataclass(frozen=True)
class _Relaxation:
    r"""Directions s of positive curvature λ, along which everything decays like $e^{-\lambda t}$.

    Attributes:
        rates: λ.
        directions: s, as columns.
        coordinates: of b along them at time 0; `None` where b is not near enough to its limit.
    """

    rates: Float[np.ndarray, " k"]
    directions: Float[np.ndarray, "n k"]
    coordinates: Float[np.ndarray, " k"] | None = None

    def at(self, t: float) -> Vector | float:
        """What is left of b's distance from its limit."""
        return 0.0 if self.coordinates is None else self.directions @ (np.exp(-self.rates * t) * self.coordinates)


@dataclass(frozen=True)
class UnitsFlow:
    r"""The narrow network b with units x = (u, v) off its manifold, to first order in their outgoing parameters v.

    $\dot b = -\nabla L(b)$, the narrow network's own flow, which the units do not disturb; and
    $\dot x = -\nabla_x \left[ L(b + u) + \partial_v L(b + u)\, v \right]$. For dormant units the bracket is
    $L(b) - \sum_i \langle M(u_i), v_i \rangle$, the leading-order form of each, M at the present b. Once b is so near
    its limit that it relaxes linearly, it is known in closed form, and x is without components of positive curvature.

    Attributes:
        landscape: of the wide network.
        manifold: of the narrow network.
        base: b at time 0, or its limit where that is known.
        units: x at time 0.
        moving: whether y is (b, x) instead of x.
        dormant: of each parameter, whether a unit's that the narrow network does not use.
        relaxation: of what decays, `None` where that is not to be separated.
    """

    landscape: Landscape
    manifold: _Manifold
    base: Vector
    units: Vector
    moving: bool
    dormant: Bool[np.ndarray, " n"]
    relaxation: _Relaxation | None

    @property
    def start(self) -> Float[np.ndarray, " m"]:
        """The state at time 0."""
        return np.concatenate([self.base, self.units]) if self.moving else self.units

    @property
    def scale(self) -> Float[np.ndarray, " m"]:
        """The largest component of b, and of x."""
        parts = (self.base, self.units) if self.moving else (self.units,)
        return np.concatenate([np.full(part.size, np.max(np.abs(part))) for part in parts])

    def velocity(self, t: float, y: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        """The time derivative of the state."""
        base, point, v = self._parts(t, y)
        x = np.zeros_like(point)
        of_u, of_v = self.manifold.u, self.manifold.v
        # The odd and the even part in v, by central differences: exact for squared errors, which are quadratic in v.
        ahead, behind = self.landscape.gradient(point + v), self.landscape.gradient(point - v)
        x[of_v] = -(ahead + behind)[of_v] / 2
        x[of_u] = -(ahead - behind)[of_u] / 2
        # Without outgoing parameters of b, L(b + u) does not depend on u.
        if np.any(base[of_v]):
            x[of_u] -= self.landscape.gradient(point)[of_u]
        x = self._normal(x)
        if not self.moving:
            return x
        return np.concatenate([-self.manifold.onto(self.landscape.gradient(base)), x])

    def loss(self, t: float, y: Float[np.ndarray, " m"]) -> float:
        """The loss to first order in v."""
        _, point, v = self._parts(t, y)
        value, gradient = self.landscape.value_and_gradient(point)
        return float(value + gradient @ v)

    def parameters(self, t: float, y: Float[np.ndarray, " m"]) -> Vector:
        """The wide network, b + x."""
        _, point, v = self._parts(t, y)
        return point + v

    def growing(self, velocity: Float[np.ndarray, " m"]) -> Vector:
        """The velocity of the dormant units."""
        return np.where(self.dormant, velocity[-self.units.size :], 0.0)

    def seen(self, vector: Vector) -> Vector:
        """The component along the dormant units."""
        return np.where(self.dormant, self._normal(vector), 0.0)

    def relaxed(self, y: Float[np.ndarray, " m"]) -> "UnitsFlow | None":
        """The flow from y on with b in closed form, if it relaxes linearly."""
        decay = self.relaxation
        if not self.moving or decay is None:
            return None
        base, units = y[: self.base.size], y[self.base.size :]
        gradient = self.landscape.gradient(base)
        limit = self._newton(base, gradient, decay)
        left = self.landscape.gradient(limit)
        if np.linalg.norm(left) > LINEAR * np.linalg.norm(gradient):
            return None
        # What is left on the way matters for a while only, an error of the limit for all of the time to come.
        limit = self._newton(limit, left, decay)
        coordinates = decay.directions.T @ (base - limit)
        nearly = replace(self, base=limit, moving=False, relaxation=replace(decay, coordinates=coordinates))
        return replace(nearly, units=nearly._normal(units))

    def _newton(self, base: Vector, gradient: Vector, decay: _Relaxation) -> Vector:
        """The narrow network b after one step of Newton's method in the directions that decay."""
        step = decay.directions @ ((decay.directions.T @ gradient) / decay.rates)
        return base - self.manifold.onto(step)

    def _parts(self, t: float, y: np.ndarray) -> tuple[Vector, Vector, Vector]:
        """The narrow network b, b + u, and v."""
        n = self.units.size
        base, units = (y[:n], y[n:]) if self.moving else (self.base, y)
        if not self.moving and self.relaxation is not None:
            base = base + self.relaxation.at(t)
        v = np.zeros(n)
        v[self.manifold.v] = units[self.manifold.v]
        return base, base + units - v, v

    def _normal(self, vector: Vector) -> Vector:
        """The component along x's coordinates."""
        normal = self.manifold.off(vector)
        if self.moving or self.relaxation is None:
            return normal
        decays = self.relaxation.directions
        return normal - decays @ (decays.T @ normal)


def units_flow(landscape: Landscape, theta: Vector, embedding: Embedding, kind: Kind) -> UnitsFlow | None:
    """The flow from θ near a saddle that is left through units which its narrow network does not use.

    Args:
        landscape: of the wide network.
        theta: θ.
        embedding: the saddle's narrow network in the wide one.
        kind: of the saddle.

    Returns:
        The flow; `None` where there are no such units, where they do not lower the loss at the saddle's order, or where
        the narrow network is at a saddle itself.
    """
    model, layer = landscape.model, embedding.layer
    law, form = declared_units(model, layer).law, kind.added_unit_form
    if not (isinstance(form, AddedUnitForm) and form.strength > 0 and form.order == kind.order):
        return None
    positions, split = unit_positions(model, layer), incoming(model, layer).shape[1]
    p, q = embedding.p_in @ embedding.p_out.T, embedding.p_out @ embedding.p_in.T
    manifold = _Manifold(u=positions[:, :split], v=positions[:, split:], p=p, q=q)
    dormant = np.zeros(theta.size, bool)
    # Linear units mix freely, so that what they leave unused are combinations of them.
    dormant[positions[np.ones(len(positions), bool) if law.linear else embedding.dormant]] = True
    spectrum, base = kind.spectrum, manifold.onto(theta)
    if not np.any(dormant) or (spectrum is not None and _unstable_inside(spectrum, manifold.onto)):
        return None
    relaxation = None
    if spectrum is not None and spectrum.index == 0:
        positive = spectrum.eigenvalues > spectrum.zero_threshold
        relaxation = _Relaxation(rates=spectrum.eigenvalues[positive], directions=spectrum.eigenvectors[:, positive])
    return UnitsFlow(
        landscape=landscape,
        manifold=manifold,
        base=base,
        units=theta - base,
        moving=bool(np.any(landscape.gradient(base) != 0)),
        dormant=dormant,
        relaxation=relaxation,
    )


def _unstable_inside(spectrum: Spectrum, onto: Callable[[Vector], Vector]) -> bool:
    """Whether a negative eigenvalue belongs to the narrow network."""
    unstable = spectrum.eigenvectors[:, : spectrum.index].T
    return any(np.linalg.norm(onto(vector)) > INSIDE for vector in unstable)
