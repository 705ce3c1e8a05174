"""The kind of a polynomial's critical point at zero by exact arithmetic: inertia, Lyapunov–Schmidt, signs of forms."""

import itertools

import sympy

from known_points.polynomials import Base, polynomial
from known_points.record import Truth

# Forms up to this order are computed.
DEEPEST = 12
T = sympy.Symbol("t")


def inertia(poly: sympy.Poly) -> tuple[int, int]:
    """Index and nullity of the Hessian at zero, by Descartes' rule, which is exact as all eigenvalues are real."""
    characteristic = _hessian(poly).charpoly().all_coeffs()
    size, nullity = len(characteristic) - 1, next(k for k, c in enumerate(reversed(characteristic)) if c != 0)
    signs = [sympy.sign(c) for c in characteristic if c != 0]
    positive = sum(a != b for a, b in itertools.pairwise(signs))
    return size - nullity - positive, nullity


def _hessian(poly: sympy.Poly) -> sympy.Matrix:
    size = len(poly.gens)
    matrix = sympy.zeros(size, size)
    for exponents, c in poly.terms():
        if sum(exponents) == 2:
            i, *rest = [k for k, e in enumerate(exponents) if e]
            j = rest[0] if rest else i
            matrix[i, j] += c
            matrix[j, i] += c
    return matrix


def leading_form(poly: sympy.Poly) -> tuple[int | None, sympy.Poly | None]:
    r"""The order p and the form $F_p$ of the reduced function on the null space; `None` if all vanish.

    With $y = N u + R v$, the columns of N and R rational bases of the Hessian's null space and range, v(u) solves
    $\partial_v f = 0$ order by order, and the reduced function is f(N u + R v(u)).
    """
    matrix = _hessian(poly)
    if matrix.is_zero_matrix:
        return _lowest(poly)
    null, rest = matrix.nullspace(), matrix.columnspace()
    u, v = sympy.symbols(f"u0:{len(null)}"), sympy.symbols(f"v0:{len(rest)}")
    columns = [*zip(u, null, strict=True), *zip(v, rest, strict=True)]
    y = sum((symbol * column for symbol, column in columns), sympy.zeros(len(poly.gens), 1))
    f = sympy.expand(poly.as_expr().subs(dict(zip(poly.gens, y, strict=True)), simultaneous=True))
    inverse = sympy.Matrix([[sympy.diff(f, a, b).subs(dict.fromkeys((*u, *v), 0)) for a in v] for b in v])
    inverse = inverse.inv() if v else inverse
    slopes, solution = [sympy.diff(f, a) for a in v], dict.fromkeys(v, sympy.Integer(0))
    for order in range(2, DEEPEST // 2 + 1):
        values = sympy.Matrix([truncated(slope, solution, u, order) for slope in slopes])
        step = inverse * values if v else values
        solution = {a: sympy.expand(solution[a] - s) for a, s in zip(v, step, strict=True)}
    return _lowest(sympy.Poly(truncated(f, solution, u, DEEPEST), *u))


def _lowest(poly: sympy.Poly) -> tuple[int | None, sympy.Poly | None]:
    """The terms of the lowest degree above zero."""
    orders = [sum(exponents) for exponents, c in poly.terms() if c != 0 and any(exponents)]
    if not orders:
        return None, None
    terms = {exponents: c for exponents, c in poly.terms() if sum(exponents) == min(orders)}
    return min(orders), sympy.Poly.from_dict(terms, *poly.gens)


def truncated(f: sympy.Expr, solution: dict, u: tuple, order: int) -> sympy.Expr:
    """f(u, v(u)) up to an order in u."""
    scale = sympy.Dummy()
    scaled = {
        a: sympy.expand(value.subs({b: scale * b for b in u}, simultaneous=True)) for a, value in solution.items()
    }
    powers: dict[tuple, sympy.Poly] = {}
    total = sympy.Poly(0, scale)
    variables = (*u, *solution)
    for exponents, c in sympy.Poly(f, *variables).terms():
        term = sympy.Poly(c, scale)
        for symbol, exponent in zip(variables, exponents, strict=True):
            key = symbol, exponent
            if key not in powers:
                base = sympy.Poly(scaled.get(symbol, scale * symbol), scale)
                power = sympy.Poly(1, scale)
                for _ in range(exponent):
                    power = _cut(power * base, order)
                powers[key] = power
            term = _cut(term * powers[key], order)
        total += term
    return sympy.expand(total.as_expr().subs(scale, 1))


def _cut(poly: sympy.Poly, order: int) -> sympy.Poly:
    return sympy.Poly.from_dict({e: c for e, c in poly.as_dict().items() if e[0] <= order} or {(0,): 0}, *poly.gens)


def sign(form: sympy.Poly) -> str:
    """`falls` with an exact witness, `definite` with an exact argument, else `semidefinite` or `unknown`."""
    if form.total_degree() % 2:
        return "falls"
    if len(form.gens) == 1:
        return "falls" if form.LC() < 0 else "definite"
    if len(form.gens) == 2:
        return _sign_in_the_plane(form)
    if any(form.eval(point) < 0 for point in itertools.product((-2, -1, 0, 1, 2), repeat=len(form.gens))):
        return "falls"
    terms, degree = form.as_dict(), form.total_degree()
    even = all(c > 0 and not any(e % 2 for e in exponent) for exponent, c in terms.items())
    pure = sum(max(exponent) == degree for exponent in terms)
    return "definite" if even and pure == len(form.gens) else "unknown"


def _sign_in_the_plane(form: sympy.Poly) -> str:
    """By the real roots of F(1, t), which Sturm's theorem isolates, and F(0, 1)."""
    first, second = form.gens
    line = sympy.Poly(form.as_expr().subs({first: 1, second: T}), T)
    end = form.eval((0, 1))
    roots = sorted({interval for interval, _ in line.intervals()}) if line.total_degree() > 0 else []
    ends = [point for interval in roots for point in interval]
    between = [(b + a) / 2 for (_, a), (b, _) in itertools.pairwise(roots)]
    samples = [0, *between, *((min(ends) - 1, max(ends) + 1) if ends else ()), *ends]
    if end < 0 or any(line.eval(t) < 0 for t in samples):
        return "falls"
    return "definite" if not roots and end > 0 else "semidefinite"


def sum_of_squares(base: Base) -> bool:
    """Whether the formula is written as a sum of even powers with positive coefficients."""
    expression = sympy.sympify(base.formula, rational=True)
    for term in sympy.Add.make_args(expression):
        c, rest = term.as_coeff_Mul()
        powers = [factor.as_base_exp()[1] for factor in sympy.Mul.make_args(rest)]
        if not (c > 0 and all(e.is_Integer and e % 2 == 0 for e in powers)):
            return False
    return True


def order_along(poly: sympy.Poly, curve: tuple[str, ...]) -> sympy.Rational | None:
    """The order in arc length at which the loss falls along a curve; `None` if it does not fall."""
    along = [sympy.sympify(part) for part in curve]
    f = poly.as_expr().subs(dict(zip(poly.gens, along, strict=True)), simultaneous=True)
    (lowest,), c = min(sympy.Poly(f, T).terms())
    speed = min(min(sympy.Poly(part, T).monoms())[0] for part in along if part != 0)
    return sympy.Rational(lowest, speed) if c < 0 else None


def all_critical(poly: sympy.Poly, curve: tuple[str, ...]) -> bool:
    """Whether a curve through zero, not at rest there, consists of critical points."""
    along = dict(zip(poly.gens, map(sympy.sympify, curve), strict=True))
    moves = any(sympy.diff(value, T).subs(T, 0) != 0 for value in along.values())
    slopes = [sympy.simplify(poly.diff(v).as_expr().subs(along, simultaneous=True)) for v in poly.gens]
    return moves and all(value.subs(T, 0) == 0 for value in along.values()) and not any(slopes)


def decided(base: Base, poly: sympy.Poly | None = None) -> Truth:
    """The truth about a polynomial; `undetermined` as its name where no exact argument was found."""
    poly = polynomial(base.formula, tuple(base.at)) if poly is None else poly
    index, nullity = inertia(poly)
    nullity += base.flat
    if index:
        return Truth("strict saddle", 2, index, nullity)
    if nullity == base.flat or (sum_of_squares(base) and poly.eval([0] * len(poly.gens)) == 0):
        return Truth("minimum", None, 0, nullity)
    if base.critical and nullity == 1:  # Morse–Bott: positive definite across a curve of critical points
        moved = tuple(f"{part} - ({a})" for part, a in zip(base.critical, base.at, strict=True))
        return Truth("minimum" if all_critical(poly, moved) else "undetermined", None, 0, nullity)
    if base.curve:
        order = order_along(poly, tuple(base.curve))
        return Truth("degenerate saddle" if order else "undetermined", order, 0, nullity)
    order, form = leading_form(poly)
    said = "unknown" if form is None else sign(form)
    name = {"falls": "degenerate saddle", "definite": "minimum"}.get(said, "undetermined")
    return Truth(name, order if said == "falls" else None, 0, nullity)
