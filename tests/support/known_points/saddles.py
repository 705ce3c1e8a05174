"""Polynomials with a saddle at zero: strict ones, and degenerate ones of every order up to twelve."""

from known_points.polynomials import Base
from known_points.record import Truth


def strict(index: int, nullity: int) -> Truth:
    return Truth("strict saddle", 2, index, nullity)


def degenerate(order: int, nullity: int) -> Truth:
    return Truth("degenerate saddle", order, 0, nullity)


def harmonic(degree: int) -> str:
    """The real part of (x + iy) to a power: falls in as many directions as it rises."""
    import sympy

    x, y = sympy.symbols("x y", real=True)
    return str(sympy.re(sympy.expand((x + sympy.I * y) ** degree)))


def chain(factors: int) -> str:
    """½(product − 1)², which at zero falls at the order of the number of factors."""
    return f"({'*'.join('xyzuvwpq'[:factors])} - 1)**2/2"


SIGNS = "the signs of the squares"
SQUARES = "completing the square in z"
PARITY = "an odd lowest order takes both signs"
LINE = "the sign on one line"

# A factorisation of rank two, [x, y] [u, v]ᵀ-like: modes of strength two and one, each with one unit.
RANK_TWO = "(x*u - 2)**2 + (x*v)**2 + (y*u)**2 + (y*v - 1)**2"

STRICT = [
    Base("z**2 - x**2", strict(1, 0), SIGNS),
    Base("-x**2 - 2*y**2", strict(2, 0), SIGNS),
    Base("x*y", strict(1, 0), "¼((x + y)² − (x − y)²)"),
    Base("-x**2", strict(1, 0), SIGNS),
    Base("x*y + u*v + z**2", strict(2, 0), SIGNS),
    Base("z**2 - x**2 + y**3", strict(1, 1), SIGNS),
    Base("z**2 - x**2 + y**4", strict(1, 1), SIGNS),
    Base("z**2 - x**2 - u**2 - y**6", strict(2, 1), SIGNS),
    Base("(x*y - 1)**2/2", strict(1, 0), "−xy to second order"),
    Base("(x**2 + y**2 - 1)**2", strict(2, 0), "−2x² − 2y² to second order"),
    Base("(x**2 - 1)**2 + y**2", strict(1, 0), "−2x² to second order"),
    Base("z**2 - x**2", strict(1, 1), SIGNS, flat=1),
    Base("z**2 - x**2/10**3", strict(1, 0), SIGNS),
    Base("z**2 - x**2/10**6", strict(1, 0), SIGNS),
    Base("z**2 - x**2/10**9", strict(1, 0), SIGNS),
    Base("z**2 - x**2/10**9 + y**2/10**9", strict(1, 0), SIGNS),
    Base("z**2 - x**2/10**9 + x**4", strict(1, 0), SIGNS, near=0.0),
    Base("z**2 - x**2/10**6 + x**3 + y**4", strict(1, 1), SIGNS, near=0.0),
    Base("z**2 - x**2 + y**2*x", strict(1, 1), SIGNS),
    Base("z**2 - 2*x**2 + 3*x*z + z*y**2 + y**4", strict(1, 1), "determinant −2 − 9/4 of the quadratic part"),
    Base("-x**2 - y**2 - z**2 + u**2", strict(3, 0), SIGNS),
    Base("z**2 - x**2/10**12", strict(1, 0), SIGNS, open=True),
    Base("10**6*z**2 - x**2 + y**2", strict(1, 0), SIGNS),
    Base("z**2 - (x**2 + y**2 - 1)**2", strict(1, 1), "falls on both sides of a circle", at=("3/5", "4/5", "0")),
    Base(RANK_TWO, strict(1, 1), "2(x² + u² − 4xu) beside one mode", at=("0", "1", "0", "1")),
    Base(RANK_TWO, strict(2, 0), "−4xu − 2yv to second order"),
]

CUBIC = [
    Base("x**3", degenerate(3, 1), PARITY),
    Base("z**2 + x**3", degenerate(3, 1), PARITY),
    Base("z**2 - x**3 + x**4/8", degenerate(3, 1), PARITY),
    Base("z**2 + x**3/10**7", degenerate(3, 1), PARITY),
    Base("z**2 + x**3/10**4", degenerate(3, 1), PARITY),
    Base("z**2 + 2*z*x**2 + x**3", degenerate(3, 1), PARITY),
    Base("z**2 + z*x + x**2/4 + x**3", degenerate(3, 1), "(z + x/2)² + x³: the null direction is oblique"),
    Base("x**3 - 3*x*y**2", degenerate(3, 2), "the monkey saddle: " + PARITY),
    Base("x**3 - 3*x*y**2 + z**2", degenerate(3, 2), "the monkey saddle: " + PARITY),
    Base("x**3 + x*y**2 + z**2", degenerate(3, 2), "D4+: " + PARITY),
    Base("x**2*y + y**4 + z**2", degenerate(3, 2), "D5: " + PARITY),
    Base("x**2*y - y**5", degenerate(3, 2), "D6: " + PARITY),
    Base("x**3 + y**4 + z**2", degenerate(3, 2), "E6: " + PARITY),
    Base("x**3 + x*y**3", degenerate(3, 2), "E7: " + PARITY),
    Base("x**3 + y**5 + z**2", degenerate(3, 2), "E8: " + PARITY),
    Base("x**3 + y**3 + u**3", degenerate(3, 3), "P8: " + PARITY),
    Base("x*y*u", degenerate(3, 3), PARITY, near=0.0),
    Base("x*y*u + z**2", degenerate(3, 3), PARITY, near=0.0),
    Base("x**3 + z**2", degenerate(3, 2), PARITY, flat=1),
    Base(chain(3), degenerate(3, 3), "−xyz to lowest order", straight=True),
    Base("10**6*z**2 + x**3 + y**2", degenerate(3, 1), PARITY),
    Base("(x**2 + y**2 - 1)**3 + z**2", degenerate(3, 2), "across a circle", at=("3/5", "4/5", "0")),
    Base("(x*y - 1)**3 + z**2", degenerate(3, 2), "across a hyperbola", at=("1", "1", "0")),
    Base("(z + x**2)**2 + y**3", degenerate(3, 2), "across a valley"),
]

QUARTIC = [
    Base("-x**4", degenerate(4, 1), LINE),
    Base("z**2 - x**4", degenerate(4, 1), LINE),
    Base("z**2 - x**4/10**4", degenerate(4, 1), LINE),
    Base("z**2 - x**4/10**5", degenerate(4, 1), LINE),
    Base("z**2 - x**4/10**7", degenerate(4, 1), LINE),
    Base("x**4 - y**4", degenerate(4, 2), LINE),
    Base("x**4 - y**4 + z**2", degenerate(4, 2), LINE),
    Base("x**4 + y**4 - u**4 + z**2", degenerate(4, 3), LINE),
    Base(harmonic(4), degenerate(4, 2), "a harmonic function has mean zero on circles"),
    Base(harmonic(4) + " + z**2", degenerate(4, 2), "a harmonic function has mean zero on circles"),
    Base("x**4 - 3*x**2*y**2 + y**4", degenerate(4, 2), "−1 at (1, 1)"),
    Base("x**4 + y**4 - 21*x**2*y**2/10 + z**2", degenerate(4, 2), "X9 beyond a = −2: −1/10 at (1, 1)"),
    Base("(y - x**2)*(y - 2*x**2)", degenerate(4, 1), "Peano: (y − 3x²/2)² − x⁴/4"),
    Base("z**2 + 2*z*x**2", degenerate(4, 1), SQUARES + ": −x⁴"),
    Base("z**2 + 2*z*x**2 + x**4/2", degenerate(4, 1), SQUARES + ": −x⁴/2"),
    Base("z**2 + 2*z*x**2 + 99*x**4/100", degenerate(4, 1), SQUARES + ": −x⁴/100"),
    Base("z**2 + 2*z*x**2 + 9999*x**4/10000", degenerate(4, 1), SQUARES + ": −x⁴/10⁴"),
    Base("z**2 + 2*z*(x**2 + y**2)", degenerate(4, 2), SQUARES + ": −(x² + y²)²"),
    Base("z**2 + 2*z*(x**2 - y**2) + y**4", degenerate(4, 2), SQUARES + ": 2x²y² − x⁴", near=0.0),
    Base("z**2 + 2*z*(x**2 - y**2)", degenerate(4, 2), SQUARES + ": −(x² − y²)²", near=0.0),
    Base("z**2 + 2*z*x*y + x**2*y**2/2 + x**4 + y**4/20", degenerate(4, 2), SQUARES + ": −x²y²/2 + x⁴ + y⁴/20"),
    Base("z**2 + w**2 + 2*z*x**2 + 2*w*x*y + x**4 + y**4", degenerate(4, 2), SQUARES + " and w: y⁴ − x²y²", near=0.0),
    Base("z**2/4 + z*x**2 + x**4/2", degenerate(4, 1), SQUARES + ": −x⁴/2"),
    Base("x*y*u*v", degenerate(4, 4), LINE, near=0.0),
    Base(chain(4), degenerate(4, 4), "−xyzu to lowest order", straight=True),
    Base("10**6*z**2 - x**4 + y**2", degenerate(4, 1), LINE),
    Base("x**4 + y**4 + u**4 - 21*x**2*y**2/10", degenerate(4, 3), "−1/10 at (1, 1, 0)"),
    Base("(x**2 + y**2 + u**2)**2 - 2*(x**4 + y**4 + u**4) + z**2", degenerate(4, 3), "−1 on the axes", near=0.0),
    Base("z**2 - (x**2 + y**2 - 1)**4", degenerate(4, 2), "across a circle", at=("3/5", "4/5", "0")),
    Base("(z + x**2)**2 - y**4", degenerate(4, 2), "across a valley"),
    Base("z**2 - z*x**2", degenerate(4, 1), SQUARES + ": −x⁴/4"),
    Base("(z - x**2 - y**2)*(z - 2*x**2 - 2*y**2)", degenerate(4, 2), SQUARES + ": −(x² + y²)²/4"),
    Base("100*z**2 + w**2/100 + 20*z*x**2 + w*x**2/5 + 19*x**4/10", degenerate(4, 1), SQUARES + " and w: −x⁴/10"),
]

HIGHER = [
    Base("x**5", degenerate(5, 1), PARITY),
    Base("z**2 + x**5", degenerate(5, 1), PARITY),
    Base("z**2 + 2*z*x**2 + x**4 + x**5", degenerate(5, 1), SQUARES + ": x⁵"),
    Base("z**2 + 2*z*x**3 + x**5", degenerate(5, 1), SQUARES + ": x⁵ − x⁶"),
    Base(harmonic(5), degenerate(5, 2), PARITY),
    Base("x**5 + y**5 + z**2", degenerate(5, 2), PARITY),
    Base(chain(5), degenerate(5, 5), "minus the product to lowest order", straight=True),
    Base("z**2 - x**4", degenerate(4, 3), LINE, flat=2),
    Base("z**2 - x**6", degenerate(6, 1), LINE),
    Base("z**2 - x**6/10**3", degenerate(6, 1), LINE),
    Base("z**2 + 2*z*x**3", degenerate(6, 1), SQUARES + ": −x⁶"),
    Base("z**2 + 2*z*x**2 + x**4 - x**6", degenerate(6, 1), SQUARES + ": −x⁶"),
    Base("z**2 + 2*z*x**3 + x**6/2", degenerate(6, 1), SQUARES + ": −x⁶/2"),
    Base("x**6 - y**6", degenerate(6, 2), LINE),
    Base(harmonic(6) + " + z**2", degenerate(6, 2), "a harmonic function has mean zero on circles"),
    Base(chain(6), degenerate(6, 6), "minus the product to lowest order", straight=True),
    Base("(z + x**2)**2 + z*x**3", degenerate(5, 1), "−x⁵ in the valley z = −x²"),
    Base("(z + x**2)**2 + x*z**2", degenerate(5, 1), "x⁵ in the valley z = −x²"),
    Base("(z + x**2)**2 + z*x**4", degenerate(6, 1), "−x⁶ in the valley z = −x²"),
    Base("(z - x**3)*(z - 2*x**3)", degenerate(6, 1), SQUARES + ": −x⁶/4"),
    Base("z**2 + x**7", degenerate(7, 1), PARITY, open=True),
    Base("z**2 + 2*z*x**2 + x**4 + x**7", degenerate(7, 1), SQUARES + ": x⁷", open=True),
    Base(harmonic(7), degenerate(7, 2), PARITY, open=True),
    Base(chain(7), degenerate(7, 7), "minus the product to lowest order", open=True, straight=True),
    Base("z**2 - x**8", degenerate(8, 1), LINE, open=True),
    Base("x**8 - y**8", degenerate(8, 2), LINE, open=True),
    Base(harmonic(8) + " + z**2", degenerate(8, 2), "a harmonic function has mean zero on circles", open=True),
    Base("z**2 + 2*z*x**4", degenerate(8, 1), SQUARES + ": −x⁸", open=True),
    Base(chain(8), degenerate(8, 8), "minus the product to lowest order", open=True, straight=True),
    Base("z**2 + x**9", degenerate(9, 1), PARITY, open=True),
    Base("z**2 - x**12", degenerate(12, 1), LINE, open=True),
]

# The leading form is nowhere negative and vanishes along directions in which higher orders decide. The order is that of
# the fall along the steepest curve; a convention that names the order of the leading form is as good.
ALONG_CURVES = [
    Base("x**4 - y**6", degenerate(6, 2), "falls on x = 0", curve=("0", "t")),
    Base("x**4 + y**5 + z**2", degenerate(5, 2), "falls on x = 0", curve=("0", "-t", "0")),
    Base("x**4 - y**8 + z**2", degenerate(8, 2), "falls on x = 0", curve=("0", "t", "0")),
    Base("x**2*y**2 - x**6 - y**6", degenerate(6, 2), "falls on the axes", curve=("t", "0")),
    Base("x**2*y**2 + x**5 + z**2", degenerate(5, 2), "falls on y = 0", curve=("-t", "0", "0"), near=0.0),
    Base("(x**2 - y**2)**2 + x**5", degenerate(5, 2), "falls on y = x", curve=("-t", "t")),
    Base("x**2*y**2 - 4*x*y**4 + y**6", degenerate(6, 2), "(xy − 2y³)² − 3y⁶", curve=("2*t**2", "t"), near=0.0),
    Base(
        "x**4 - 3*x**2*y**3 + 2*y**6 + z**2",
        degenerate(6, 2),
        "(x² − 3y³/2)² − y⁶/4 + z²",
        curve=("18*t**3", "6*t**2", "0"),
    ),
    Base(
        "(x - y**2)**2*(y + x**2 + z)**2 + (z - x*y)**2 - y**8",
        degenerate(8, 2),
        "falls on x = y², z = xy",
        curve=("t**2", "t", "t**3"),
        near=0.0,
    ),
]
# The order of the leading form is 4 for all.
ALONG_CURVES = [base._replace(open=True, orders=(4,)) for base in ALONG_CURVES]

SADDLES = [*STRICT, *CUBIC, *QUARTIC, *HIGHER, *ALONG_CURVES]
