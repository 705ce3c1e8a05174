"""The kind of a critical point, as a record."""

import functools
from typing import Literal

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ...flows import Landscape
from ..curvature.scales import Scales
from ..curvature.spectrum import Spectrum
from ..embeddings.embedded_curvature import EmbeddedSpectrum
from ..leading_order.added_unit import AddedUnitForm
from ..leading_order.added_units import AddedUnitsForm
from ..leading_order.null_space_form import NullSpaceForm, null_space_form
from .certificate import Certificate, certificate
from .null_space import NullSpace

KindName = Literal[
    "strict saddle",
    "degenerate saddle",
    "non-smooth saddle",
    "minimum",
    "flat channel",
    "ghost",
    "undetermined",
    "no critical point",
]


class Further(eqx.Module):
    """What is computed of a critical point only when somebody asks for it: the place, and what is known of it."""

    landscape: Landscape
    theta: Float[np.ndarray, " n"]
    spectrum: Spectrum
    null_space: NullSpace
    scales: Scales

    def certificate(self) -> Certificate:
        """How far point and index are proven."""
        explained = self.null_space.unexplained == 0
        return certificate(self.landscape, self.theta, self.spectrum, explained=explained)

    def form(self) -> NullSpaceForm:
        """The lowest form of the loss along the null directions that symmetries do not explain, not searched."""
        basis = self.null_space.directions
        return null_space_form(self.landscape, self.theta, self.spectrum, basis=basis, scales=self.scales, search=False)


class Kind(eqx.Module):
    """The kind of a critical point.

    - `name`: one of a closed list; `order`: order p of the lowest form that lets the loss fall (2 for strict and
      non-smooth saddles, at least 3 for degenerate ones), `None` where there is none;
    - `spectrum`: of the Hessian, `None` where the loss is not twice differentiable or the point was not found;
    - `added_unit_form`: the form of an added unit, or of one in each layer where several have units; `None` for models
      without units or without a zero of φ;
    - `evidence`: one sentence.
    - `null_space_form`: the lowest form of the loss along null directions that symmetries do not explain, where the
      kind rests on it; `unexplained_form` computes it for any saddle or minimum.
    - `blocks`: index and nullity from blocks as large as the narrow network, for networks too large for a `spectrum`.
    - `null_space`: how the zero eigenvalues are explained, `None` without a spectrum.
    - `further`: what `certificate` and `unexplained_form` are computed from when they are asked for.
    """

    name: KindName
    order: int | None
    spectrum: Spectrum | None
    added_unit_form: AddedUnitForm | AddedUnitsForm | None
    evidence: str
    null_space_form: NullSpaceForm | None = None
    null_space: NullSpace | None = None
    blocks: EmbeddedSpectrum | None = None
    further: Further | None = None

    @property
    def index(self) -> int | None:
        """The number of negative eigenvalues of the Hessian, where it is known."""
        known = self.blocks if self.spectrum is None else self.spectrum
        return None if known is None else known.index

    @property
    def nullity(self) -> int | None:
        """The number of zero eigenvalues of the Hessian, where it is known."""
        known = self.blocks if self.spectrum is None else self.spectrum
        return None if known is None else known.nullity

    @functools.cached_property
    def certificate(self) -> Certificate | None:
        """How far point and index are proven; `None` without a spectrum."""
        return None if self.further is None else self.further.certificate()

    @functools.cached_property
    def unexplained_form(self) -> NullSpaceForm | None:
        """The lowest form of the loss along the null directions that symmetries do not explain, if any."""
        if self.null_space_form is not None or self.further is None or not self.further.null_space.unexplained:
            return self.null_space_form
        return self.further.form()
