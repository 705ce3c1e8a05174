"""No false minimum, no false saddle: hundreds of critical points whose truth is known, in any units and coordinates."""

import numpy as np
import pytest
import sympy

from known_points.deep_networks import DEPTHS, origin_of_chain
from known_points.exact import decided, leading_form, sign
from known_points.family import BASES, family, of_base, of_function, warped
from known_points.functions import FLAT, FUNCTIONS, series
from known_points.minima import MINIMA
from known_points.networks import network_family
from known_points.polynomials import Base, polynomial, polynomial_point
from known_points.record import UNDETERMINED, Judgement, KnownPoint, judge
from known_points.saddles import SADDLES, degenerate
from known_points.written import written_points

JUDGED: dict[str, Judgement] = {}
# The share of points of order six or less that may stay undetermined.
SILENT = 0.1


def sampled(items, ids, quick):
    """Parameters of which the default run takes some and the slow tier all: each costs a compilation or a search."""
    marks = [() if k in quick else pytest.mark.slow for k in range(len(items))]
    listed = [item if isinstance(item, tuple) and not hasattr(item, "_fields") else (item,) for item in items]
    return [pytest.param(*item, id=name, marks=mark) for item, name, mark in zip(listed, ids, marks, strict=True)]


def small(bases):
    """Every second of the polynomials whose points all have two or three variables: two programs serve them all."""
    return [k for k, base in enumerate(bases) if {point.point.size for point in of_base(base)} <= {2, 3}][::2]


def told(case: KnownPoint) -> Judgement:
    """What is said of a point; each is judged once."""
    if case.name not in JUDGED:
        JUDGED[case.name] = judge(case)
    return JUDGED[case.name]


def check(cases):
    """Nothing wrong is said of any of them."""
    wrong = {case.name: told(case) for case in cases if told(case).verdict.startswith("wrong")}
    assert not wrong, "\n".join(f"{name}: {said.verdict}, {said.evidence}" for name, said in wrong.items())


def names(bases):
    return [f"{base.formula} at {','.join(base.at)}" if base.at else base.formula for base in bases]


def agrees(base, poly=None):
    said = decided(base, poly)
    return said == base.truth or said._replace(nullity=None) == base.truth


@pytest.mark.parametrize("base", sampled(BASES, names(BASES), range(0, len(BASES), 4)))
def test_the_truth_by_hand_is_that_of_exact_arithmetic(base):
    assert agrees(base)


@pytest.mark.parametrize(("terms", "base"), FUNCTIONS + FLAT[2:], ids=names(base for _, base in FUNCTIONS + FLAT[2:]))
@pytest.mark.fast_for(
    "-1*(exp(-1/x**2)) + 1*(y**2) + -1*(z**2)",
    "-1*(exp(x) - 1 - x) + 1*(y**2) + 1*(z**2)",
    "-1*(log(1 + x**2)) + 1*(x**2) + 1*(z**2) + 1*(y**4)",
    "1*(cos(y) - 1) + 1*(sin(x) - x) + 1*(z**2)",
    "1*(exp(x) - 1 - x) + 1*(y**2) + 1*(z**2)",
    "1*(log(1 + x**2)) + -1*(x**2) + 1*(y**2) + 1*(z**2)",
    "1*(sin(x) - x) + 1*(y**2) + 1*(z**2)",
    "1*(x*tanh(x)) + -1*(x**2) + 1*(z**2) + 1*(y**4)",
)
def test_the_truth_of_functions_is_that_of_their_series(terms, base):
    assert agrees(base, series(base))


def test_exact_arithmetic_can_tell_a_wrong_truth():
    assert not agrees(Base("z**2 + 2*z*x**2 + 11*x**4/10", degenerate(4, 1), "a minimum"))
    assert not agrees(Base("z**2 + 2*z*x**2 + x**4 - x**6", degenerate(4, 1), "of order six"))
    assert decided(Base("x**4 - y**6", degenerate(6, 2), "no curve is given")).name == "undetermined"
    assert decided(Base("x**4 - y**6", degenerate(6, 2), "", curve=("t", "t"))).name == "undetermined"
    assert decided(Base("x**4*y**2 + x**2*y**4 + z**6 - 3*x**2*y**2*z**2", degenerate(6, 3), "")).name == "undetermined"


@pytest.mark.parametrize(
    ("formula", "order", "form"),
    [
        ("z**2 + 2*z*x**2 + x**4/2", 4, "-u0**4/2"),
        ("z**2 + w**2 + 2*z*x**2 + 2*w*x*y + x**4 + y**4", 4, "u1**4 - u0**2*u1**2"),
        # The null direction is x = −2z.
        ("z**2 + z*x + x**2/4 + x**3", 3, "-8*u0**3"),
        ("(z + x**2)**2 + x**9", 9, "u0**9"),
    ],
)
def test_the_reduction_of_lyapunov_and_schmidt(formula, order, form):
    found = leading_form(polynomial(formula))
    assert found[0] == order
    assert sympy.expand(found[1].as_expr() - sympy.sympify(form)) == 0


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("x**4 - 2*x**2*y**2 + y**4", "semidefinite"),
        ("x**4 - 2*x**2*y**2 + y**4 + x*y**3/100", "falls"),
        ("x**4 - 199*x**2*y**2/100 + y**4", "definite"),
        ("x**2*y**2", "semidefinite"),
        ("x**2*y**2 - y**4/10**6", "falls"),
        ("x**4*y**2 + x**6", "semidefinite"),
        ("x**4 + y**4 + z**4 + x**2*y**2", "definite"),
        ("x**4 + y**4 + z**4 - 3*x**2*y**2", "falls"),
    ],
)
def test_signs_of_forms(formula, expected):
    assert sign(polynomial(formula)) == expected


BENDABLE = [
    base for base in BASES if len(polynomial(base.formula).gens) <= 2 and not (base.at or base.flat or base.curve)
]


@pytest.mark.parametrize("base", sampled(BENDABLE[::3], names(BENDABLE[::3]), range(0, len(BENDABLE), 4)))
@pytest.mark.fast_for("x**2", "x**3", "z**2 - x**2")
def test_bent_coordinates_change_no_truth(base):
    """Exactly: y + T(y, y) is a change of coordinates."""
    poly = polynomial(base.formula)
    bends = [sum((k + 1) * a * b for k, b in enumerate(poly.gens)) / 7 for a in poly.gens]
    bent = {v: v + bend for v, bend in zip(poly.gens, bends, strict=True)}
    assert agrees(base, sympy.Poly(poly.as_expr().subs(bent, simultaneous=True), *poly.gens))


def test_the_program_computes_the_polynomial():
    """Against SymPy, at the start of every polynomial that is not bent, and with a gradient of zero at the point."""
    for base in BASES[::7]:
        case = polynomial_point(base, seed=2, loss_unit=3.0, weight_unit=0.5, constant=0.25, distance=0.7)
        landscape, poly = case.make(), polynomial(base.formula, tuple(base.at))
        coordinates = landscape.data[0]
        y = coordinates.rotation.T @ (landscape.theta - case.point) / 0.5
        expected = 3 * (0.25 + float(poly.eval(list(y[: len(poly.gens)]))))
        assert float(landscape.value(landscape.theta)) == pytest.approx(expected, rel=1e-13)
        assert np.max(np.abs(landscape.gradient(case.point))) < 1e-14


@pytest.mark.parametrize("base", sampled(SADDLES, names(SADDLES), small(SADDLES)))
@pytest.mark.fast_for("z**2 + 2*z*x**3 + x**5", "z**2 + 2*z*x**3 + x**6/2", "z**2 - x**6/10**3")
def test_saddles(base):
    check(of_base(base))


@pytest.mark.parametrize("base", sampled(MINIMA, names(MINIMA), small(MINIMA)))
@pytest.mark.fast_for("x**8 + z**2", "z**2 + x**4/10**5")
def test_minima(base):
    check(of_base(base))


@pytest.mark.parametrize(("terms", "base"), sampled(FUNCTIONS + FLAT, names(base for _, base in FUNCTIONS + FLAT), ()))
def test_functions_that_are_no_polynomials(terms, base):
    check(of_function(terms, base))


@pytest.mark.slow
@pytest.mark.parametrize("base", BASES[::4], ids=names(BASES[::4]))
def test_polynomials_of_functions(base):
    check(warped(base))


@pytest.mark.slow  # each is compiled by itself
@pytest.mark.parametrize("case", written_points(), ids=lambda case: case.name)
def test_points_as_a_user_writes_them(case):
    check([case])


# Named here, so that they are built where they are judged only.
NETWORKS = (
    "bottleneck 4–2–3–4",
    "covariance 1 : 10⁶, first mode",
    "covariance 1 : 10⁶, end",
    "tanh at zero, Hermite 3",
    "tanh at zero, Hermite 5",
    "linear at zero, Hermite 3",
    "2 equal erf units",
    "3 equal erf units",
    "two tanh units 0.001 rad apart",
    "two tanh units 0.01 rad apart",
    "two tanh units 0.03 rad apart",
    "two relu units 0.001 rad apart",
    "two relu units 0.01 rad apart",
    "two relu units 0.03 rad apart",
    "one quadratic unit at zero",
    "one quadratic unit on a blind input",
    "one linear unit, first mode",
    "one linear unit, second mode",
    "dead ReLU unit",
    "quadratic unit, all inputs zero",
    "linear at zero",
    "tanh at zero",
    "quadratic at zero",
    "attention at zero",
)


@pytest.fixture(scope="module")
def titles():
    """Known points of networks by their names without distance and declaration."""
    titles: dict[str, list[KnownPoint]] = {}
    for case in network_family(depths=()):
        titles.setdefault(case.name.split(" from ")[0].split(", declared")[0].split(", undeclared")[0], []).append(case)
    return titles


@pytest.mark.parametrize("title", NETWORKS)
@pytest.mark.fast_for(
    "3 equal erf units",
    "covariance 1 : 10⁶, end",
    "linear at zero",
    "linear at zero, Hermite 3",
    "one linear unit, second mode",
    "quadratic unit, all inputs zero",
    "two tanh units 0.01 rad apart",
    "two tanh units 0.03 rad apart",
)
def test_networks(title, titles):
    assert sorted(titles) == sorted(NETWORKS)
    check(titles[title])


@pytest.mark.parametrize("distance", [0.0, 0.1])
@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.fast_for("3-0.1")
def test_the_order_at_the_origin_of_a_deep_network_is_its_depth(depth, distance):
    """As one array, and as a deep network with units and without, from the origin and from 0.1 away."""
    cases = origin_of_chain(depth, distance)
    check(cases)
    assert all(told(case).verdict != UNDETERMINED for case in cases)


@pytest.mark.slow
def test_few_points_that_can_be_decided_stay_undetermined():
    """Of orders up to six, at most a tenth."""
    cases = [case for case in family() if case.name in JUDGED and not case.open]
    silent = [case.name for case in cases if told(case).verdict == UNDETERMINED]
    assert len(silent) <= SILENT * len(cases), "\n".join(silent)
