"""How far a critical point and its index are established, given an estimate of the largest third derivative."""

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

    Attributes:
        residual: $\|\nabla L\|_2$.
        step: η.
        gap: $1/\beta$.
        lipschitz: K, estimated: the largest $|D^3 L(d, d, d)|$ on unit vectors d that a search found, at the point.
            The one number that is no bound, unless the third derivative is constant; what follows from it, h, `radius`
            and the signs, is estimated too. `None` where the step is zero, when nothing rests on it.
        kantorovich: h, estimated with K.
        radius: within which the zero lies, estimated with K; infinite for h above ½.
        negative: number of negative eigenvalues whose sign, as estimated with K, neither rounding nor moving by
            `radius` changes.
        positive: number of such positive eigenvalues.
        complete: whether symmetries explain the null space.

    Source: Kantorovich (1948); on the quotient by symmetries as in Achour, Malgouyres & Gerchinovitz (2024).
    """

    residual: float
    step: float
    gap: float
    lipschitz: float | None
    kantorovich: float
    radius: float
    negative: int
    positive: int
    complete: bool

    @property
    def exists(self) -> bool:
        """Whether there is a critical point within `radius`, if the estimated K is a Lipschitz constant there."""
        return self.complete and self.kantorovich <= KANTOROVICH

    @property
    def summary(self) -> str:
        """What is established, in one line."""
        known = "the step is zero" if self.lipschitz is None else f"K estimated as {self.lipschitz:.3g}"
        method = f"Newton–Kantorovich, {known}"
        signs = f"estimated signs: {self.negative} negative, {self.positive} positive"
        if self.exists:
            return f"a critical point within {self.radius:.1e} ({method}), {signs}"
        if self.kantorovich <= KANTOROVICH:
            return f"a zero of the gradient beside the null space within {self.radius:.1e} ({method}), {signs}"
        return f"numerical evidence only: ‖∇L‖ = {self.residual:.1e}, h = {self.kantorovich:.1e}"

    def __str__(self) -> str:
        holds = "holds" if self.exists else "does not hold" if self.kantorovich > KANTOROVICH else "holds in part"
        return (
            f"certificate: {holds}, with an estimated third derivative\n"
            f"  claim: {self.summary}\n"
            f"  Newton–Kantorovich: h = βKη = {self.kantorovich:.1e}, at most {KANTOROVICH} if it holds\n"
            f"  measured: ‖∇L‖ = {self.residual:.1e}, step η = {self.step:.1e}, gap 1/β = {self.gap:.3g}\n"
            f"  null space: {'explained by symmetries' if self.complete else 'not explained by symmetries'}"
        )


def largest_third_derivative(landscape: Landscape, theta: Float[np.ndarray, " n"]) -> float:
    r"""The largest $|D^3 L(d, d, d)|$ on unit vectors d that power iteration from several starts finds: an estimate."""
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
    landscape: Landscape, theta: Float[np.ndarray, " n"], spectrum: Spectrum, *, explained: bool
) -> Certificate:
    """How far the critical point and its index are established.

    Args:
        landscape: the loss.
        theta: the point.
        spectrum: of the Hessian there.
        explained: whether symmetries explain the whole null space (an empty one is explained).

    Returns:
        The certificate.
    """
    gradient, values = landscape.gradient(theta), spectrum.eigenvalues
    nonzero = np.abs(values) > spectrum.zero_threshold
    components = spectrum.eigenvectors[:, nonzero].T @ gradient
    step = float(np.linalg.norm(components / values[nonzero]))
    # Hundreds of products, of which none is needed where the gradient is zero to the last place.
    found = largest_third_derivative(landscape, theta) if step else None
    estimate, gap = found or 0.0, spectrum.smallest_nonzero
    h = estimate * step / gap if np.isfinite(gap) else 0.0
    # (1 - √(1 - 2h)) / (βK), written without cancellation for small h.
    radius = 2 * step / (1 + np.sqrt(1 - 2 * h)) if h <= KANTOROVICH else float("inf")
    # Ten errors of a backward stable eigenvalue solver, n ε ‖H‖.
    rounding = 10 * np.finfo(values.dtype).eps * theta.size * np.max(np.abs(values), initial=0.0)
    change = rounding + estimate * radius if np.isfinite(radius) else np.inf
    return Certificate(
        residual=float(np.linalg.norm(gradient)),
        step=step,
        gap=gap,
        lipschitz=found,
        kantorovich=h,
        radius=float(radius),
        negative=int(np.sum(nonzero & (values < -change))),
        positive=int(np.sum(nonzero & (values > change))),
        complete=explained,
    )
