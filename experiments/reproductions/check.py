"""Checks of one number against theory, under a criterion that is part of the code."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import numpy as np

Number = float | int

# Columns of tables of checks.
COLUMNS = ("quantity", "theory", "measured", "error", "criterion", "result")


class Check(eqx.Module):
    """One number against theory. A value that is not finite never passes.

    Attributes:
        quantity: what is measured.
        theory: what theory says, as shown.
        measured: what was found, as shown.
        error: how far measured is from theory, as the criterion counts it; `None` for bounds and equality.
        criterion: what the error or the value had to satisfy.
        passed: whether it did.
    """

    quantity: str
    theory: str
    measured: str
    error: float | None
    criterion: str
    passed: bool

    @property
    def cells(self) -> tuple[str, ...]:
        """The check as the cells of a row, one per entry of `COLUMNS`."""
        error = "–" if self.error is None else f"{self.error:.2g}"
        result = "pass" if self.passed else "FAIL"
        return self.quantity, self.theory, self.measured, error, self.criterion, result

    def __str__(self) -> str:
        quantity, theory, measured, error, criterion, result = self.cells
        return f"{result}: {quantity}: {measured}, by theory {theory} (error {error}, criterion: {criterion})"


def close(
    quantity: str, theory: Number, measured: Number, *, relative: Number | None = None, absolute: Number | None = None
) -> Check:
    """Passes if the measured value is within a tolerance of theory.

    Args:
        quantity: what is measured.
        theory: its value by theory.
        measured: its value as found.
        relative: largest |measured − theory| / |theory| that passes.
        absolute: largest |measured − theory| that passes.

    Returns:
        The check.

    Raises:
        ValueError: when not exactly one tolerance is given.
    """
    tolerances = [tolerance for tolerance in (relative, absolute) if tolerance is not None]
    if len(tolerances) != 1:
        raise ValueError("give either a relative or an absolute tolerance.")
    (tolerance,) = tolerances
    error = abs(measured - theory) / (1.0 if relative is None else abs(theory))
    return Check(
        quantity=quantity,
        theory=_show(theory),
        measured=_show(measured),
        error=float(error),
        criterion=f"error ≤ {tolerance:g}" + (" (absolute)" if relative is None else " (relative)"),
        passed=bool(error <= tolerance),
    )


def farthest(
    quantity: str,
    theory: Number,
    measured: Sequence[Number] | np.ndarray,
    *,
    relative: Number | None = None,
    absolute: Number | None = None,
) -> Check:
    """`close` for the one of several values that is farthest from theory, or that is not finite.

    Args:
        quantity: what is measured.
        theory: its value by theory.
        measured: its values as found.
        relative: as for `close`.
        absolute: as for `close`.

    Returns:
        The check.
    """
    values = np.asarray(measured, dtype=float)
    errors = np.where(np.isfinite(values), np.abs(values - theory), np.inf)
    return close(quantity, theory, float(values[np.argmax(errors)]), relative=relative, absolute=absolute)


def at_most(quantity: str, bound: Number, measured: Number) -> Check:
    """Passes if measured ≤ bound."""
    return _bounded(quantity, f"≤ {_show(bound)}", measured, passed=bool(measured <= bound))


def at_least(quantity: str, bound: Number, measured: Number) -> Check:
    """Passes if measured ≥ bound."""
    return _bounded(quantity, f"≥ {_show(bound)}", measured, passed=bool(measured >= bound))


def equal(quantity: str, theory: Any, measured: Any) -> Check:
    """Passes if both are the same when written out, such as sequences of widths."""
    return Check(
        quantity=quantity,
        theory=str(theory),
        measured=str(measured),
        error=None,
        criterion="equality",
        passed=str(theory) == str(measured),
    )


def _bounded(quantity: str, bound: str, measured: Number, *, passed: bool) -> Check:
    return Check(
        quantity=quantity, theory=bound, measured=_show(measured), error=None, criterion="the bound", passed=passed
    )


def _show(value: Number) -> str:
    return f"{value:.6g}"
