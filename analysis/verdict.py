"""The verdict on a critical point, as a record."""

from typing import Literal

import equinox as eqx

from .certificate import Certificate
from .curvature import Spectrum
from .dormant import DormantForm
from .embedded_curvature import EmbeddedSpectrum
from .joint_form import JointForm
from .lowest_form import LowestForm
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


class Kind(eqx.Module):
    """The kind of a critical point.

    - `name`: one of a closed list; `order`: order p of the lowest form that lets the loss fall (2 for strict and
      non-smooth saddles, at least 3 for degenerate ones), `None` where there is none;
    - `spectrum`: of the Hessian, `None` where the loss is not twice differentiable or the point was not found;
    - `dormant`: the form of an added unit, or of one in each layer where several have units; `None` for models
      without units or without a zero of φ;
    - `evidence`: one sentence.
    - `form`: the lowest form of the loss along null directions that symmetries do not explain, where there are such.
    - `blocks`: index and nullity from blocks as large as the narrow network, for networks too large for a `spectrum`.
    - `null_space`: how the zero eigenvalues are explained; `certificate`: how far point and index are proven. Both are
      `None` without a spectrum.
    """

    name: KindName
    order: int | None
    spectrum: Spectrum | None
    dormant: DormantForm | JointForm | None
    evidence: str
    form: LowestForm | None = None
    null_space: NullSpace | None = None
    certificate: Certificate | None = None
    blocks: EmbeddedSpectrum | None = None

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

    @property
    def proof(self) -> str:
        """How far the verdict is a proof: what the certificate says, or that it is numerical evidence only."""
        return "numerical evidence only" if self.certificate is None else str(self.certificate)
