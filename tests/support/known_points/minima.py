"""Polynomials with a minimum at a point: isolated ones of every order, valleys, crosses, manifolds of minima."""

from known_points.polynomials import Base
from known_points.record import Truth


def minimum(nullity: int | None) -> Truth:
    return Truth("minimum", None, 0, nullity)


SQUARES = "a sum of even powers"
COMPLETED = "completing the square in z"
ATTAINED = "a sum of squares that vanishes there"

ISOLATED = [
    Base("x**2", minimum(0), SQUARES),
    Base("x**2 + y**2 + x*y", minimum(0), "positive definite, determinant 3/4"),
    Base("z**2 + x**2/10**6", minimum(0), SQUARES),
    Base("z**2 + x**2/10**9", minimum(0), SQUARES),
    Base("z**2 + x**2/10**9 - x**4/10**9", minimum(0), "positive definite"),
    Base("x**4", minimum(1), SQUARES),
    Base("z**2 + x**4", minimum(1), SQUARES),
    Base("z**2 + x**4/10**5", minimum(1), SQUARES),
    Base("x**4 + y**4 + z**2", minimum(2), SQUARES),
    Base("x**4 + y**4 - x**2*y**2", minimum(2), "X9 with a = −1 > −2"),
    Base("x**4 + y**4 - 19*x**2*y**2/10 + z**2", minimum(2), "X9 with a = −1.9 > −2"),
    Base("x**4 + x*y**3 + y**4", minimum(2), "t⁴ + t + 1 has no real root"),
    Base("x**4 + y**4 + u**4 + z**2", minimum(3), SQUARES),
    Base("(x**2 + y**2 + u**2)**2", minimum(3), "the fourth power of the norm"),
    Base("z**2 + 2*z*x**2 + 2*x**4", minimum(1), COMPLETED + ": x⁴"),
    Base("z**2 + 2*z*x**2 + 11*x**4/10", minimum(1), COMPLETED + ": x⁴/10"),
    Base("z**2 + 2*z*x**2 + 10001*x**4/10000", minimum(1), COMPLETED + ": x⁴/10⁴"),
    Base("z**2 + 2*z*x*y + x**2*y**2/2 + x**4 + y**4", minimum(2), COMPLETED + ": x⁴ − x²y²/2 + y⁴"),
    Base("x**6 + z**2", minimum(1), SQUARES),
    Base("x**6 + y**6", minimum(2), SQUARES),
    Base("z**2 + 2*z*x**3 + 2*x**6", minimum(1), COMPLETED + ": x⁶"),
    Base("z**2 + 2*z*x**2 + x**4 + x**6", minimum(1), COMPLETED + ": x⁶"),
    Base("10**6*z**2 + x**4 + y**2", minimum(1), SQUARES),
    Base("(x + 2*y)**4 + (y - u)**4 + (x + u)**4 + z**2", minimum(3), SQUARES),
    Base("100*z**2 + w**2/100 + 20*z*x**2 + w*x**2/5 + 21*x**4/10", minimum(1), COMPLETED + " and w: x⁴/10"),
    Base("(z + x**2)**2 - z*x**4", minimum(1), "x⁶ in the valley z = −x²"),
    Base("x**8 + z**2", minimum(1), SQUARES, open=True),
    Base("x**8", minimum(1), SQUARES, open=True),
    Base("x**8 + y**8 + z**2", minimum(2), SQUARES, open=True),
    Base("x**4 + y**6 + z**2", minimum(2), SQUARES, open=True),
    Base("x**4 + y**8", minimum(2), SQUARES, open=True),
    Base("x**2*y**2 + x**6 + y**6 + z**2", minimum(2), SQUARES, open=True),
    Base("x**2*y**2 + x**4 + y**6", minimum(2), SQUARES, open=True),
]

# Sets of minima, on which the loss takes its lowest value. `near` is zero where the set is no manifold.
FLAT = [
    Base("(z + x**2)**2", minimum(1), ATTAINED + ": the valley z = −x²"),
    Base("(x**2 + y**2 - 1)**2", minimum(1), ATTAINED + ": the circle", at=("3/5", "4/5")),
    Base("(x**2 + y**2 + z**2 - 1)**2", minimum(2), ATTAINED + ": the sphere", at=("2/7", "3/7", "6/7")),
    Base("(x**2 + y**2 + z**2 + u**2 - 1)**2", minimum(3), ATTAINED + ": S³", at=("1/2", "1/2", "1/2", "1/2")),
    Base(
        "(x**2 + y**2 - 1)**2 + (u**2 + v**2 - 1)**2",
        minimum(2),
        ATTAINED + ": the torus",
        at=("3/5", "4/5", "5/13", "12/13"),
    ),
    Base("(x*y - 1)**2/2", minimum(1), ATTAINED + ": the hyperbola", at=("1", "1")),
    Base("(x*y - 1)**2/2", minimum(1), ATTAINED + ": the hyperbola", at=("2", "1/2")),
    Base("(x*y*z - 1)**2/2", minimum(2), ATTAINED, at=("1", "1", "1")),
    Base("(x*y*z*u - 1)**2/2", minimum(3), ATTAINED, at=("2", "1", "1/2", "1")),
    Base("(x*y + z*u - 1)**2/2", minimum(3), ATTAINED + ": two linear units", at=("1", "1/2", "1", "1/2")),
    Base(
        "(x*u - 2)**2 + (x*v - 1)**2 + (y*u - 4)**2 + (y*v - 2)**2",
        minimum(1),
        ATTAINED + ": a factorisation of rank one",
        at=("1", "2", "2", "1"),
    ),
    Base(
        "(x*u + y*v - 1)**2 + (x*w + y*p)**2 + (z*u + q*v)**2 + (z*w + q*p - 2)**2",
        minimum(4),
        ATTAINED + ": a factorisation of rank two",
        at=("1", "0", "0", "1", "0", "0", "2", "1"),
    ),
    Base("(x**2 + y - z)**2 + (z - x*y)**2", minimum(1), ATTAINED + ": a curve"),
    Base(
        "(x*u - 4)**2 + (x*v)**2 + (y*u)**2 + (y*v - 1)**2",
        minimum(1),
        "Eckart & Young: the best map of rank one",
        at=("2", "0", "2", "0"),
        critical=("2*(1 + t)", "0", "2/(1 + t)", "0"),
    ),
    Base("(z + x**2)**2 + y**4", minimum(2), ATTAINED + ": a valley", open=True),
    Base("(x**2 + y**2 - 1)**4 + z**2", minimum(2), ATTAINED + ": a circle", at=("3/5", "4/5", "0"), open=True),
]
# Order of the variables in the factorisation of rank two: x y z u v w p q; M = [[x, y], [z, q]] [[u, w], [v, p]].

SINGULAR = [
    Base("z**2", minimum(1), ATTAINED, flat=1),
    Base("z**2 + x**2", minimum(3), ATTAINED, flat=3),
    Base("z**2 + x**4", minimum(2), ATTAINED, flat=1, open=True),
    Base("x**2*y**2", minimum(None), ATTAINED + ": a cross of minima", open=True),
    Base("z**2 + x**2*y**2", minimum(None), ATTAINED + ": a cross of minima", open=True),
    Base("(x**2 - y**2)**2 + z**2", minimum(None), ATTAINED + ": two lines of minima", open=True),
    Base(
        "(x - y**2)**2*(y + x**2 + z)**2 + (z - x*y)**2",
        minimum(None),
        ATTAINED + ": two curves of minima",
        open=True,
        near=0.0,
    ),
    Base("(x**3 - y**2)**2 + z**2", minimum(None), ATTAINED + ": a cusp of minima", open=True, near=0.0),
    Base("(z + x*y)**2", minimum(2), ATTAINED + ": the surface z = −xy"),
    Base("(x**2 + y**2)**2*z**2", minimum(None), ATTAINED + ": a plane and a line of minima", open=True, near=0.0),
    Base("(x*y*z)**2", minimum(None), ATTAINED + ": three planes of minima", open=True, near=0.0),
]

MINIMA = [*ISOLATED, *FLAT, *SINGULAR]
