"""Solvers whose cost does not grow with the length of a plateau, as ordinary Diffrax solvers."""

from .bdf import BDF as BDF
from .bdf import Tolerances as Tolerances
from .controller import ResumableController as ResumableController
from .exponential import ExponentialRosenbrock as ExponentialRosenbrock
from .krylov import Accuracy as Accuracy
from .krylov import KrylovRosenbrock as KrylovRosenbrock
from .rodas5p import Rodas5P as Rodas5P
