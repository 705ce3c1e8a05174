"""How far a critical point and the signs of its Hessian's eigenvalues are proven."""

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ...flows import Landscape
from ...flows.landscapes.taylor import third_products
from ..curvature.spectrum import Spectrum

# Starts of the search for the largest third derivative, and its iterations: a maximum over the sphere needs several.
STARTS, ITERATIONS = 12, 40
# Kantorovich's theorem holds up to here.
KANTOROVICH = 0.5


class Certificate(eqx.Module):
    r"""The theorem of Newton and Kantorovich at an approximate critical point, beside its null space.

    On the affine space through the point that is orthogonal to the null space, Newton's step has length
    $\eta = \|H^+ \nabla L\|$; $1/\beta$ is the smallest |λ| that does not count as zero, K a Lipschitz constant of the
    Hessian. If $h = \beta K \eta \le 1/2$ the gradient's component in that space has a zero within `radius`
    $= (1 - \sqrt{1 - 2h}) / (\beta K)$. Where symmetries explain the whole null space that zero is a critical point,
    since the gradient is orthogonal to their orbits.

    - `residual`: $\|\nabla L\|_2$; `step`: η; `gap`: $1/\beta$; `lipschitz`: K, the largest $|D^3 L(d, d, d)|$ on unit
      vectors d that a search found, at the point: this one number is evidence, not a bound.
    - `kantorovich`: h; `radius`: infinite for h above ½.
    - `negative`, `positive`: numbers of eigenvalues whose sign neither rounding nor moving by `radius` can change.
    - `complete`: symmetries explain the null space.

    Source: Kantorovich (1948); on the quotient by symmetries as in Achour, Malgouyres & Gerchinovitz (2024).
    """

    residual: float
    step: float
    gap: float
    lipschitz: float
    kantorovich: float
    radius: float
    negative: int
    positive: int
    complete: bool

    @property
    def exists(self) -> bool:
        """Whether there is a critical point within `radius`, provided that K is what the search found."""
        return self.complete and self.kantorovich <= KANTOROVICH

    def __str__(self) -> str:
        signs = f"{self.negative} negative and {self.positive} positive eigenvalues certain"
        if self.exists:
            return f"a critical point within {self.radius:.1e} (Newton–Kantorovich, K = {self.lipschitz:.3g}), {signs}"
        if self.kantorovich <= KANTOROVICH:
            return f"a zero of the gradient beside the null space within {self.radius:.1e}, {signs}"
        return f"numerical evidence only: ‖∇L‖ = {self.residual:.1e}, h = {self.kantorovich:.1e}"


def largest_third_derivative(landscape: Landscape, theta: Float[np.ndarray, " n"]) -> float:
    r"""The largest $|D^3 L(d, d, d)|$ on unit vectors d that power iteration from several starts meets."""
    directions = np.random.default_rng(0).standard_normal((theta.size, STARTS))
    directions /= np.linalg.norm(directions, axis=0)
    best = 0.0
    for _ in range(ITERATIONS):
        images = third_products(landscape, theta, directions)
        best = max(best, float(np.max(np.abs(np.sum(directions * images, axis=0)))))
        norms = np.linalg.norm(images, axis=0)
        directions = np.where(norms > 0, images / np.where(norms > 0, norms, 1.0), directions)
    return best


def certificate(
    landscape: Landscape, theta: Float[np.ndarray, " n"], spectral: Spectrum, *, explained: bool
) -> Certificate:
    """How far the critical point and its index are proven.

    **Arguments:** `landscape`, `theta`: the point; `spectral`: its spectrum; `explained`: whether symmetries explain
    the whole null space (an empty one is).
    """
    gradient, bound = landscape.gradient(theta), largest_third_derivative(landscape, theta)
    values = spectral.eigenvalues
    kept = np.abs(values) > spectral.zero_threshold
    components = spectral.eigenvectors[:, kept].T @ gradient
    step = float(np.linalg.norm(components / values[kept]))
    gap = spectral.smallest_nonzero
    h = bound * step / gap if np.isfinite(gap) else 0.0
    # (1 - √(1 - 2h)) / (βK), written so that nothing cancels for small h.
    radius = 2 * step / (1 + np.sqrt(1 - 2 * h)) if h <= KANTOROVICH else float("inf")
    rounding = 10 * np.finfo(values.dtype).eps * theta.size * np.max(np.abs(values), initial=0.0)
    certain = np.abs(values) > rounding + bound * radius if np.isfinite(radius) else np.zeros(values.shape, bool)
    signs = int(np.sum(certain & kept & (values < 0))), int(np.sum(certain & kept & (values > 0)))
    return Certificate(float(np.linalg.norm(gradient)), step, gap, bound, h, float(radius), *signs, explained)
