"""Rounding: how far derivatives of a landscape are known, measured by changing its numbers in their last place."""

from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from ..flows import Landscape
from .kept import kept

# Changed copies of a landscape. Of four independent normal errors the largest is a good measure of their size, within a
# factor of three in all but one case in a thousand; `Thresholds.rounding_safety` leaves ten.
COPIES = 4


def perturbed(
    landscape: Landscape, theta: Float[np.ndarray, " n"], *, moved: float = 0.0
) -> Iterator[tuple[Landscape, Float[np.ndarray, " n"]]]:
    r"""Copies of a landscape and a point in which every number is changed in its last place.

    What a computation returns on them differs from what it returns on the originals by about its error of rounding:
    the errors of a backward stable computation are those of exact arithmetic on such numbers. Numbers that are zero
    stay zero, and so do the derivatives of a landscape that are zero exactly.

    Args:
        landscape: the loss; its data and the arrays that the loss closes over are changed.
        theta: the point.
        moved: the distance by which a search moved to it: no coordinate is known better than to its last place.

    Yields:
        Landscapes and points, the same in each call, of the same structure and shapes: nothing is compiled for them.

    Source: Higham (2002), "Accuracy and stability of numerical algorithms", Section 1.5, for backward errors; Moré &
    Wild (2011), "Estimating computational noise", for measuring them.
    """
    for number, copy in enumerate(_copies(landscape)):
        random = np.random.default_rng(number)
        searched = moved * np.finfo(theta.dtype).eps * random.standard_normal(theta.shape)
        yield copy, _changed(theta, random) + searched.astype(theta.dtype)


# Kept, as they are asked for several times in a classification, and made anew would have to be flattened anew for every
# call of a compiled function.
@kept
def _copies(landscape: Landscape) -> list[Landscape]:
    """The landscape with changed data and constants."""
    random, copies = np.random.default_rng(0), []
    numbers = (landscape.data, landscape.program.constants)
    for _ in range(COPIES):
        changed = jax.tree.map(lambda leaf: _changed(leaf, random), numbers)
        copies.append(eqx.tree_at(lambda copy: (copy.data, copy.program.constants), landscape, changed))
    return copies


def _changed(leaf: Any, random: np.random.Generator) -> Any:
    if not eqx.is_inexact_array_like(leaf) or isinstance(leaf, complex | float):
        return leaf
    array = np.asarray(leaf)
    return array * (1 + np.finfo(array.dtype).eps * random.standard_normal(array.shape)).astype(array.dtype)


def hessian_noise(
    landscape: Landscape,
    theta: Float[np.ndarray, " n"],
    eigenvalues: Float[np.ndarray, " n"],
    eigenvectors: Float[np.ndarray, "n n"],
    *,
    moved: float = 0.0,
) -> float:
    r"""The norm of the error that rounding makes in a Hessian, $\|\Delta H\|$.

    From products with some random directions: for an error of independent entries $\|\Delta H\| \le 2 \|\Delta H d\|$
    on unit vectors d. To it comes the error of a backward stable eigenvalue solver, $n \epsilon \|H\|$.

    Args:
        landscape: the loss.
        theta: the point.
        eigenvalues: of the Hessian there.
        eigenvectors: as columns.
        moved: as of `perturbed`.

    Returns:
        The norm, without a factor of safety.
    """
    n = len(theta)
    if n == 0:
        return 0.0
    directions = np.linalg.qr(np.random.default_rng(1).standard_normal((n, min(n, COPIES))))[0]
    exact, changes = eigenvectors @ (eigenvalues[:, None] * (eigenvectors.T @ directions)), []
    for copy, point in perturbed(landscape, theta, moved=moved):
        products = copy.hessian_products(point, directions)
        changes.append(float(np.max(np.linalg.norm(products - exact, axis=0))))
    return 2 * max(changes) + n * float(np.finfo(theta.dtype).eps) * float(np.max(np.abs(eigenvalues)))


def gradient_changes(
    landscape: Landscape, theta: Float[np.ndarray, " n"], *, moved: float = 0.0
) -> Float[np.ndarray, "k n"]:
    """How much the gradient changes when every number is changed in its last place, one row for each copy."""
    gradient = landscape.gradient(theta)
    return np.array([copy.gradient(point) - gradient for copy, point in perturbed(landscape, theta, moved=moved)])


def gradient_noise(
    landscape: Landscape,
    theta: Float[np.ndarray, " n"],
    eigenvalues: Float[np.ndarray, " n"],
    eigenvectors: Float[np.ndarray, "n n"],
    *,
    moved: float = 0.0,
) -> Float[np.ndarray, "k n"]:
    r"""Errors that rounding makes in the gradient, one row each: what is left beside the linear response $H \delta$.

    Args:
        landscape: the loss.
        theta: the point.
        eigenvalues: of the Hessian there.
        eigenvectors: as columns.
        moved: as of `perturbed`.

    Returns:
        $\nabla \tilde L(\theta + \delta) - \nabla L(\theta) - H \delta$ for some landscapes and points changed in their
        last place.
    """
    displacements = np.array([point - theta for _, point in perturbed(landscape, theta, moved=moved)])
    return (
        gradient_changes(landscape, theta, moved=moved)
        - ((displacements @ eigenvectors) * eigenvalues) @ eigenvectors.T
    )
