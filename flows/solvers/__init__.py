"""Solvers whose cost does not grow with the length of a plateau, as ordinary Diffrax solvers."""

from .bdf import BDF as BDF
from .bdf import Tolerances as Tolerances
from .chebyshev import RKC2 as RKC2
from .controller import ResumableController as ResumableController
from .exponential import ExponentialRosenbrock as ExponentialRosenbrock
from .extrapolated_chebyshev import ExtrapolatedRKC as ExtrapolatedRKC
from .krylov import Accuracy as Accuracy
from .krylov import KrylovRosenbrock as KrylovRosenbrock
from .rodas5p import Rodas5P as Rodas5P
from .spectral_radius import radius as radius
