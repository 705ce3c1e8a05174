"""One visit of a flow to a critical point, as a record."""

import equinox as eqx

from ..critical_points.critical_point import CriticalPoint
from ..critical_points.kind import Kind
from ..embeddings.width import EffectiveWidth
from .escape import Escape
from .passages import Passage


class Visit(eqx.Module):
    """A passage near a critical point, with its critical point and the escape from it.

    Attributes:
        passage: arrival, closest approach, departure.
        loss: at closest approach.
        speed: ‖∇L‖ at closest approach.
        effective_widths: of each layer of units.
        critical_point: refined and certified, with its `converged` flag.
        kind: saddle or minimum, with spectrum and evidence.
        escape: `None` where the flow stayed.
        held_by_rounding: whether it stayed at a strict saddle all of whose unstable coordinates were lost to rounding.
    """

    passage: Passage
    loss: float
    speed: float
    effective_widths: tuple[EffectiveWidth, ...]
    critical_point: CriticalPoint
    kind: Kind
    escape: Escape | None
    held_by_rounding: bool = False

    @property
    def effective_width(self) -> EffectiveWidth | None:
        """The effective width of the first layer, for most networks the only one with units."""
        return self.effective_widths[0] if self.effective_widths else None

    @property
    def time(self) -> float:
        """Time of closest approach."""
        return self.passage.time

    def __str__(self) -> str:
        widths = ", ".join(str(effective.width) for effective in self.effective_widths)
        dwell = self.passage.stay if self.passage.dwell is None else f"dwell time {self.passage.dwell:.4g}"
        point, departure = self.critical_point, "no escape" if self.escape is None else self.escape.summary
        return (
            f"visit at t = {self.time:.4g}: {self.kind.name}" + (f", effective width {widths}" if widths else "") + "\n"
            f"  passage: arrival at t = {self.passage.arrival:.4g}, {dwell}, loss {self.loss:.6g}\n"
            f"  point: loss {point.loss:.8g}, ‖∇L‖∞ = {point.gradient_norm:.0e}, at distance {point.distance:.2g}\n"
            f"  evidence: {self.kind.evidence}\n"
            f"  escape: {departure}"
        )
