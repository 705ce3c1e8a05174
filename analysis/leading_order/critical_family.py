"""Whether a null space is tangent to a manifold of critical points, by following the manifold."""

from dataclasses import dataclass

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ...flows import Landscape
from ...flows.landscapes.taylor import ORDER, gradient_series
from ..curvature.spectrum import Spectrum, hessian
from ..rounding import hessian_noise, perturbed
from ..thresholds import EPS, STANDARD, Thresholds
from .sphere import normal_vectors

# Points on each path, at arc lengths in geometric progression: each step is less than three times the one before.
POINTS, FIRST = 8, 1e-3
# Where neither the weights nor the derivatives say what is far: lengths from one millionth to a million.
FAR = np.geomspace(1e-6, 1e6, 13)
# At half the size of the weights some of them may vanish, where families end or cross, hardly before.
SHARE = 0.5
# Weights this much smaller than the landscape's own length are as good as zero.
TINY = 0.01
# A decomposition of a Hessian of n parameters takes some 10 n³ operations: paths for a few seconds.
WORK = 1e8
# Newton's method with one Hessian for as long as each step is this much shorter than the one before; where three
# Hessians do not make it so, its steps are rounding. A step along the path that fails is halved up to six times.
FAST, STALLS, CORRECTIONS, HALVINGS = 10.0, 3, 30, 6
# Rounding is at most this share of the step along the path.
SETTLED = 1e-6


class CriticalFamily(eqx.Module):
    r"""What following the solution set of $\nabla L = 0$ from a critical point found.

    Attributes:
        dimension: of the null directions that were examined.
        length: the arc length to which each path led.
        loss_change: the largest $|L - L^*|$ met.
        gradient: the largest $\|\nabla L\|$ met.
        confirmed: whether every path consists of critical points of the same loss, index 0 and nullity, to rounding.
        reason: what failed, empty if nothing did.
    """

    dimension: int
    length: float
    loss_change: float
    gradient: float
    confirmed: bool
    reason: str

    def __str__(self) -> str:
        name = f"family of critical points of dimension {self.dimension}"
        if not self.confirmed:
            return f"{name} not confirmed: {self.reason}"
        met = f"|L − L*| ≤ {self.loss_change:.2g}, ‖∇L‖ ≤ {self.gradient:.2g}"
        return f"{name} followed to a distance of {self.length:.3g}: {met}"


@dataclass(frozen=True)
class Member:
    """A point with the loss, its derivatives and the Hessian's eigenvalues, |λ| ascending."""

    theta: Float[np.ndarray, " n"]
    value: float
    gradient: Float[np.ndarray, " n"]
    hessian: Float[np.ndarray, "n n"]
    eigenvalues: Float[np.ndarray, " n"]
    eigenvectors: Float[np.ndarray, "n n"]


def point_at(landscape: Landscape, theta: Float[np.ndarray, " n"]) -> Member:
    """The loss and its derivatives at a point."""
    value, gradient = landscape.value_and_gradient(theta)
    matrix = hessian(landscape, theta)
    eigenvalues, eigenvectors = np.linalg.eigh(np.where(np.isfinite(matrix), matrix, 0.0))
    order = np.argsort(np.abs(eigenvalues))
    return Member(theta, float(value), gradient, matrix, eigenvalues[order], eigenvectors[:, order])


def critical_family(
    landscape: Landscape,
    theta: Float[np.ndarray, " n"],
    spectral: Spectrum,
    *,
    basis: Float[np.ndarray, "n k"],
    length: float | None = None,
    thresholds: Thresholds = STANDARD,
) -> CriticalFamily:
    r"""Follows the set of critical points through θ in independent random null directions, to both sides.

    Each step goes along the null space of the Hessian (predictor) and back by Newton's method in its orthogonal
    complement (corrector). A random direction suffices in principle: a form on the null space that does not vanish
    identically vanishes on no random direction. Evidence to rounding and for the length that was followed, no proof: a
    change of the loss that is below rounding up to there remains unseen.

    Args:
        landscape: the loss.
        theta: a critical point.
        spectral: its spectrum.
        basis: orthonormal null directions to examine; for many parameters not every dimension gets a path of its own.
        length: arc length to follow; by default half of ‖θ‖, or of the length at which derivatives of higher order
            balance the Hessian where θ is much smaller; where there are none, from $10^{-6}$ to $10^6$.
        thresholds: `rounding_safety`.

    Returns:
        The family, confirmed if gradient, change of the loss, and the change of index and nullity are zero to rounding.

    Source: predictor and corrector as in Allgower & Georg (1990), "Numerical continuation methods"; Rheinboldt (1996)
    for manifolds of more than one dimension.
    """
    dimension, count = basis.shape[1], min(basis.shape[1], max(2, int(WORK / max(len(theta), 1) ** 3)))
    arcs = arc_lengths(landscape, theta) if length is None else length * np.geomspace(FIRST, 1.0, POINTS)
    walk = Walk(landscape=landscape, nullity=spectral.nullity, arcs=arcs, safety=thresholds.rounding_safety)
    start = walk.corrected(point_at(landscape, theta), theta, np.inf)
    directions = (basis @ np.linalg.qr(normal_vectors(dimension, dimension))[0][:, :count]).T
    loss_change = gradient = 0.0
    reason = "" if start is not None else "Newton's method does not find the point again"
    for direction in np.concatenate([directions, -directions]):
        if start is None or reason:
            break
        change, size, reason = walk.follow(start, direction)
        loss_change, gradient = max(loss_change, change), max(gradient, size)
    return CriticalFamily(
        dimension=dimension,
        length=float(arcs[-1]),
        loss_change=loss_change,
        gradient=gradient,
        confirmed=not reason,
        reason=reason,
    )


def arc_lengths(landscape: Landscape, theta: Float[np.ndarray, " n"]) -> Float[np.ndarray, " m"]:
    """The arc lengths of the points on a path."""
    natural, weights = _natural_length(landscape, theta), float(np.linalg.norm(theta))
    if not np.isfinite(natural):
        return FAR
    return SHARE * (weights if weights > TINY * natural else natural) * np.geomspace(FIRST, 1.0, POINTS)


def _natural_length(landscape: Landscape, theta: Float[np.ndarray, " n"]) -> float:
    r"""$\min_p (F_2/F_p)^{1/(p-2)}$, where higher forms balance the second: the median of some directions."""
    lengths, orders = [], np.arange(1, ORDER + 2)
    for direction in normal_vectors(5, len(theta)):
        direction = direction / np.linalg.norm(direction)
        forms = np.abs(gradient_series(landscape, theta, direction[None]) @ direction) / orders
        higher = forms[2:] > 0
        if forms[1] > 0 and np.any(higher):
            lengths.append(float(np.min((forms[1] / forms[2:][higher]) ** (1 / (orders[2:][higher] - 2)))))
    return float(np.median(lengths)) if lengths else np.inf


@dataclass(frozen=True)
class Walk:
    """Paths in the set of critical points: where they lead, and what their points must satisfy."""

    landscape: Landscape
    nullity: int
    arcs: Float[np.ndarray, " m"]
    safety: float

    def follow(self, start: Member, direction: Float[np.ndarray, " n"]) -> tuple[float, float, str]:
        """The largest change of the loss and the largest gradient on one path, and what was wrong where it ended."""
        point, tangent, covered, change, size = start, direction, 0.0, 0.0, 0.0
        loss_noise = noise_at(self.landscape, start)[0]
        for arc in self.arcs:
            ahead = self.advanced(point, tangent, float(arc) - covered)
            if ahead is None:
                return change, size, f"no critical point at a distance of {arc:.2g} (Newton's method does not converge)"
            change = max(change, abs(ahead.value - start.value))
            size = max(size, float(np.linalg.norm(ahead.gradient)))
            if objection := self.objection(start, loss_noise, point, ahead):
                return change, size, f"at a distance of {arc:.2g} {objection}"
            point, tangent, covered = ahead, ahead.theta - point.theta, float(arc)
        return change, size, ""

    def advanced(self, point: Member, tangent: np.ndarray, step: float, halvings: int = HALVINGS) -> Member | None:
        """The point one step further, in two or more steps where one is too long; `None` where there is none."""
        kernel = point.eigenvectors[:, : self.nullity]
        along = kernel @ (kernel.T @ tangent)
        norm = float(np.linalg.norm(along))
        if not norm > 0:
            return None
        found = self.corrected(point, point.theta + step / norm * along, step)
        if found is not None or halvings == 0:
            return found
        middle = self.advanced(point, tangent, step / 2, halvings - 1)
        return middle and self.advanced(middle, middle.theta - point.theta, step / 2, halvings - 1)

    def corrected(self, frame: Member, theta: Float[np.ndarray, " n"], reach: float) -> Member | None:
        """Newton's method off the null space, with one Hessian for as long as that converges fast."""
        guess, last, stalls = theta, np.inf, 0
        for _ in range(CORRECTIONS):
            values, vectors = frame.eigenvalues[self.nullity :], frame.eigenvectors[:, self.nullity :]
            if np.any(values == 0):
                return None
            step = vectors @ ((vectors.T @ self.landscape.gradient(theta)) / values)
            size = float(np.linalg.norm(step))
            if not size < np.inf or float(np.linalg.norm(theta - guess)) > reach:
                return None
            if size <= EPS * float(np.linalg.norm(theta)):
                return point_at(self.landscape, theta)
            if stalls == STALLS:
                return point_at(self.landscape, theta) if size <= SETTLED * reach else None
            if size > last / FAST:
                frame, last, stalls = point_at(self.landscape, theta), np.inf, stalls + 1
            else:
                theta, last = theta - step, size
        return None

    def objection(self, start: Member, start_noise: float, before: Member, point: Member) -> str:
        """What speaks against a point's being of the family, empty if nothing does."""
        values, vectors, null = point.eigenvalues, point.eigenvectors, slice(None, self.nullity)
        rest, position = slice(self.nullity, None), EPS * float(np.linalg.norm(point.theta))
        loss_noise, errors = noise_at(self.landscape, point)
        slopes = vectors.T @ point.gradient
        # How far the point may be off, and the change of the Hessian over that, as fast as on the last step.
        steps = np.divide(slopes[rest], values[rest], out=np.zeros(len(values[rest])), where=values[rest] != 0)
        off = position + float(np.linalg.norm(steps))
        bent = off * float(np.linalg.norm(point.hessian - before.hessian) / np.linalg.norm(point.theta - before.theta))
        bounds = np.max(np.abs(errors @ vectors), axis=0) + np.abs(values) * position + bent * off
        for part in (null, rest):
            if not np.linalg.norm(slopes[part]) <= self.safety * np.linalg.norm(bounds[part]):
                return f"the gradient is not zero, ‖∇L‖ = {np.linalg.norm(slopes):.2g}"
        change = point.value - start.value
        rounding = (
            loss_noise + EPS * (abs(point.value) + abs(start.value)) + float(np.max(np.abs(values))) * position**2
        )
        if not abs(change) <= self.safety * rounding:
            return f"the loss has changed by {change:.2g}"
        zero = self.safety * (hessian_noise(self.landscape, point.theta, values, vectors) + bent)
        if np.any(negative := values < -zero):
            return f"the Hessian has the eigenvalue {np.min(values[negative]):.2g}"
        nullity = int(np.sum(values <= zero))
        return f"the nullity changes from {self.nullity} to {nullity}" if nullity != self.nullity else ""


def noise_at(landscape: Landscape, point: Member) -> tuple[float, Float[np.ndarray, "k n"]]:
    """Errors of rounding of the loss, and of the gradient beside its linear response to errors of the point."""
    losses, rows = [], []
    for copy, theta in perturbed(landscape, point.theta):
        value, gradient = copy.value_and_gradient(theta)
        losses.append(abs(float(value) - point.value))
        rows.append(gradient - point.gradient - point.hessian @ (theta - point.theta))
    # To it comes the last place of the loss, and what the last place of the point makes of it.
    position = EPS * float(np.linalg.norm(point.theta))
    return max(losses) + EPS * abs(point.value) + abs(point.eigenvalues[-1]) * position**2, np.array(rows)
