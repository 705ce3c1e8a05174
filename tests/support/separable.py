r"""A landscape whose critical points, eigenvalues and third derivatives are known: a sum of polynomials, rotated.

$L(x) = \sum_i P_i((Q x)_i) + s\,\mathrm{softplus}(-(Q x)_0)$, Q orthogonal, P of degree four in three coordinates. In
the coordinates $y = Q x$ gradient, Hessian and third derivative are diagonal, so that $|D^3 L(d, d, d)|$ is at most
$\max_i |P_i'''(y_i)|$ on unit vectors. All landscapes of this family are one program.
"""

import jax
import jax.numpy as jnp
import numpy as np
from saddlescope.flows import Landscape

from vector import Vector


def polynomials(model, data):
    """The loss; the data are a list of Q, the coefficients (three rows, constant first) and s."""
    rotation, coefficients, slope = data
    y = rotation @ model.x
    value = coefficients[:, 4]
    for k in (3, 2, 1, 0):
        value = value * y + coefficients[:, k]
    return jnp.sum(value) + slope * jax.nn.softplus(-y[0])


def rotation(seed):
    """A rotation; the identity for `None`."""
    return np.eye(3) if seed is None else np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))[0]


def separable(*rows, at=(0.0, 0.0, 0.0), seed=None, slope=0.0, axes=None):
    """The landscape with given polynomials, coefficients from the constant up, at given y = Qx.

    Rows that are not given are y²/2: convex, and at their minimum for y = 0. `axes`: instead of a rotation, any rows on
    which y is measured; `at` is then x.
    """
    coefficients = np.zeros((3, 5))
    coefficients[:, 2] = 0.5
    for number, row in enumerate(rows):
        coefficients[number] = 0.0
        coefficients[number, : len(row)] = row
    if axes is not None:
        return Landscape(Vector(jnp.array(at)), polynomials, [np.array(axes), coefficients, np.asarray(slope)])
    q = rotation(seed)
    return Landscape(Vector(jnp.asarray(q.T @ np.array(at, float))), polynomials, [q, coefficients, np.asarray(slope)])


def well(depth=1.0, at=0.0):
    """The coefficients of depth · ((y − at)² − 1)²/4: minima at `at` ± 1, of curvature 2 depth, between them −depth."""
    return depth * np.polynomial.polynomial.polypow([at**2 - 1, -2 * at, 1.0], 2) / 4
