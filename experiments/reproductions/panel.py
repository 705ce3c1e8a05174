"""What a reproduced figure consists of: panels, each with its data, its drawing, and checks against numbers."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import numpy as np


class Check(eqx.Module):
    """One number against theory, under a criterion that is part of the code.

    - `quantity`: what it is; `theory`, `measured`: its values as they are shown;
    - `error`: how far measured is from theory, as the criterion counts it; `criterion`: what `error` or the value had
      to satisfy; `passed`: whether it did. Values that are not finite never pass.
    """

    quantity: str
    theory: str
    measured: str
    error: float | None
    criterion: str
    passed: bool


def _show(value: float) -> str:
    return f"{value:.6g}"


def close(
    quantity: str, theory: float, measured: float, *, relative: float | None = None, absolute: float | None = None
) -> Check:
    """Passes if |measured − theory| is at most `absolute`, or `relative` times |theory|."""
    tolerances = [tolerance for tolerance in (relative, absolute) if tolerance is not None]
    if len(tolerances) != 1:
        raise ValueError("give either a relative or an absolute tolerance.")
    (tolerance,) = tolerances
    error = abs(measured - theory) / (1.0 if relative is None else abs(theory))
    criterion = f"error ≤ {tolerance:g}" + (" (absolute)" if relative is None else " (relative)")
    return Check(quantity, _show(theory), _show(measured), float(error), criterion, bool(error <= tolerance))


def farthest(
    quantity: str,
    theory: float,
    measured: Sequence[float] | np.ndarray,
    *,
    relative: float | None = None,
    **options: Any,
) -> Check:
    """`close` for the one of several values that is farthest from theory, or that is not finite."""
    values = np.asarray(measured, dtype=float)
    errors = np.where(np.isfinite(values), np.abs(values - theory), np.inf)
    return close(quantity, theory, float(values[np.argmax(errors)]), relative=relative, **options)


def at_most(quantity: str, bound: float, measured: float) -> Check:
    """Passes if measured ≤ bound."""
    return Check(quantity, f"≤ {_show(bound)}", _show(measured), None, "the bound", bool(measured <= bound))


def at_least(quantity: str, bound: float, measured: float) -> Check:
    """Passes if measured ≥ bound."""
    return Check(quantity, f"≥ {_show(bound)}", _show(measured), None, "the bound", bool(measured >= bound))


def equal(quantity: str, theory: Any, measured: Any) -> Check:
    """Passes if both are the same when written out, such as sequences of widths."""
    return Check(quantity, str(theory), str(measured), None, "equality", str(theory) == str(measured))


class Panel(eqx.Module):
    """One panel of a figure.

    - `title`; `checks`: its numbers; `draw`: draws it on given axes; `data`: the arrays that are drawn;
    - `note`: what a reader must know, above all why a check fails.
    """

    title: str
    draw: Callable[[Any], Any]
    data: dict[str, np.ndarray]
    checks: tuple[Check, ...] = ()
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)


class Reproduction(eqx.Module):
    """A figure that can be reproduced.

    - `name`: such as "1B"; `title`, `source`: what it shows and where it is from;
    - `make`: panels from a number of seeds and whether to be quick; `seeds`, `quick_seeds`: how many by default.
    """

    name: str = eqx.field(static=True)
    title: str = eqx.field(static=True)
    source: str = eqx.field(static=True)
    make: Callable[[int, bool], tuple[Panel, ...]] = eqx.field(static=True)
    seeds: int = eqx.field(static=True)
    quick_seeds: int = eqx.field(static=True)


class Reproduced(eqx.Module):
    """A reproduced figure: its panels, and how long they took."""

    reproduction: Reproduction
    panels: tuple[Panel, ...]
    seeds: int
    quick: bool
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether every panel passed."""
        return all(panel.passed for panel in self.panels)
