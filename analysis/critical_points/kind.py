"""The kind of a critical point, as a record."""

import functools
from typing import Literal

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ...flows import Landscape
from ..curvature.lowest import NegativeEigenvalues
from ..curvature.nullity import Nullity
from ..curvature.spectrum import Spectrum
from ..embeddings.embedded_curvature import EmbeddedSpectrum
from ..leading_order.added_unit import AddedUnitForm
from ..leading_order.added_units import AddedUnitsForm
from ..leading_order.null_space_form import NullSpaceForm, null_space_form
from ..tables import html_table
from .certificate import Certificate, certificate
from .null_space import NullSpace

KindName = Literal[
    "strict saddle",
    "degenerate saddle",
    "non-smooth saddle",
    "saddle (left)",
    "minimum",
    "flat channel",
    "ghost",
    "not arrived",
    "undetermined",
    "no critical point",
]
# The kinds that a flow leaves, if rounding does not hold it. Of the others it is not known that it would, or known that
# it would not.
LEFT = ("strict saddle", "degenerate saddle", "non-smooth saddle", "saddle (left)", "ghost")


class OnRequest(eqx.Module):
    """The inputs of a critical point's certificate and null-space form, which are computed on request.

    Attributes:
        landscape: the loss.
        theta: the point.
        spectrum: of the Hessian there.
        null_space: how its zero eigenvalues are explained.
        moved: the distance by which a search moved to the point.
    """

    landscape: Landscape
    theta: Float[np.ndarray, " n"]
    spectrum: Spectrum
    null_space: NullSpace
    moved: float

    def certificate(self) -> Certificate:
        """How far point and index are proven."""
        return certificate(self.landscape, self.theta, self.spectrum, explained=self.null_space.critical)

    def form(self) -> NullSpaceForm:
        """The leading-order form along the null directions that symmetries do not explain, without a search."""
        basis = self.null_space.directions
        return null_space_form(self.landscape, self.theta, self.spectrum, basis=basis, moved=self.moved, search=False)


class Kind(eqx.Module):
    """The kind of a critical point, and the evidence for it.

    Attributes:
        name: one of a closed list, `KindName`.
        evidence: the reasons, in one sentence.
        order: order p of the leading-order form along which the loss falls (2 for strict and non-smooth saddles, at
            least 3 for degenerate ones), `None` where there is none.
        spectrum: of the Hessian, `None` where the loss is not twice differentiable, the network is too large or the
            point was not found.
        added_unit_form: the form of an added unit, or of one in each layer where several have units; `None` for models
            without units or without a zero of φ.
        null_space_form: the leading-order form along null directions that symmetries do not explain, where the kind
            rests on it; `unexplained_form` computes it for any saddle or minimum.
        null_space: how the zero eigenvalues are explained, `None` without a spectrum.
        blocks: index and nullity from blocks as large as the narrow network, for networks too large for a `spectrum`.
        negative: the negative eigenvalues found by products, for networks too large for a `spectrum` and without
            `blocks`.
        zeros: what is known of the zero eigenvalues there.
        on_request: the inputs of `certificate` and `unexplained_form`, which are computed on request.
    """

    name: KindName
    evidence: str
    order: int | None = None
    spectrum: Spectrum | None = None
    added_unit_form: AddedUnitForm | AddedUnitsForm | None = None
    null_space_form: NullSpaceForm | None = None
    null_space: NullSpace | None = None
    blocks: EmbeddedSpectrum | None = None
    negative: NegativeEigenvalues | None = None
    zeros: Nullity | None = None
    on_request: OnRequest | None = None

    @property
    def index(self) -> int | None:
        """The number of negative eigenvalues of the Hessian, where it is known."""
        if self.negative is not None:
            return self.negative.index if self.negative.complete else None
        known = self.blocks if self.spectrum is None else self.spectrum
        return None if known is None else known.index

    @property
    def nullity(self) -> int | None:
        """The number of zero eigenvalues of the Hessian, where it is known."""
        if self.zeros is not None:
            return self.zeros.counted
        known = self.blocks if self.spectrum is None else self.spectrum
        return None if known is None else known.nullity

    @property
    def is_left(self) -> bool:
        """Whether a flow that comes near will leave again; false also where that is not known."""
        return self.name in LEFT

    @functools.cached_property
    def certificate(self) -> Certificate | None:
        """How far point and index are proven; `None` without a spectrum."""
        return None if self.on_request is None else self.on_request.certificate()

    @functools.cached_property
    def unexplained_form(self) -> NullSpaceForm | None:
        """The leading-order form along the null directions that symmetries do not explain, if any."""
        if self.null_space_form is not None or self.on_request is None or self.on_request.null_space.critical:
            return self.null_space_form
        return self.on_request.form()

    def _facts(self) -> list[tuple[str, str]]:
        """The facts, as pairs of a heading and a text."""
        numbers = (("order", self.order), ("index", self.index), ("nullity", self.nullity))
        counts = ", ".join(f"{name} {number}" for name, number in numbers if number is not None)
        facts = [("counts", counts or "no order, index or nullity is known"), ("evidence", self.evidence)]
        if self.spectrum is not None and self.spectrum.eigenvalues.size:
            lowest, highest = self.spectrum.eigenvalues[[0, -1]]
            facts.append(("spectrum", f"λ from {lowest:.6g} to {highest:.6g}"))
        if self.added_unit_form is not None and self.added_unit_form.rate is not None:
            form = self.added_unit_form
            facts.append(("added unit", f"order {form.order}, escape rate {form.rate:.6g}"))
        return facts

    def __str__(self) -> str:
        return "\n".join([self.name, *(f"  {heading}: {text}" for heading, text in self._facts())])

    def _repr_html_(self) -> str:
        return html_table((self.name, ""), self._facts())
