"""The verdict on a critical point, as a record."""

import functools
from typing import Literal

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ...flows import Landscape
from ..curvature.scales import Scales
from ..curvature.spectrum import Spectrum
from ..embeddings.embedded_curvature import EmbeddedSpectrum
from ..leading_order.added_unit import DormantForm
from ..leading_order.added_units import JointForm
from ..leading_order.null_space_form import LowestForm, lowest_form
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

    def form(self) -> LowestForm:
        """The lowest form of the loss along the null directions that symmetries do not explain, not searched."""
        basis = self.null_space.directions
        return lowest_form(self.landscape, self.theta, self.spectrum, basis=basis, scales=self.scales, search=False)


class Kind(eqx.Module):
    """The kind of a critical point.

    - `name`: one of a closed list; `order`: order p of the lowest form that lets the loss fall (2 for strict and
      non-smooth saddles, at least 3 for degenerate ones), `None` where there is none;
    - `spectrum`: of the Hessian, `None` where the loss is not twice differentiable or the point was not found;
    - `dormant`: the form of an added unit, or of one in each layer where several have units; `None` for models
      without units or without a zero of φ;
    - `evidence`: one sentence.
    - `form`: the lowest form of the loss along null directions that symmetries do not explain, where the verdict rests
      on it; `unexplained_form` computes it for any saddle or minimum.
    - `blocks`: index and nullity from blocks as large as the narrow network, for networks too large for a `spectrum`.
    - `null_space`: how the zero eigenvalues are explained, `None` without a spectrum.
    - `further`: what `certificate` and `unexplained_form` are computed from when they are asked for.
    """

    name: KindName
    order: int | None
    spectrum: Spectrum | None
    dormant: DormantForm | JointForm | None
    evidence: str
    form: LowestForm | None = None
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
    def unexplained_form(self) -> LowestForm | None:
        """The lowest form of the loss along the null directions that symmetries do not explain, if any."""
        if self.form is not None or self.further is None or not self.further.null_space.unexplained:
            return self.form
        return self.further.form()

    @property
    def proof(self) -> str:
        """How far the verdict is a proof: what the certificate says, or that it is numerical evidence only."""
        return "numerical evidence only" if self.certificate is None else str(self.certificate)
