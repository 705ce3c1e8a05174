"""Diffrax solvers for stiff gradient flows, whose cost does not grow with the length of a plateau.

Imports nothing else of the library.
"""

from .bdf.bdf import BDF as BDF
from .exponential.krylov import KrylovRosenbrock as KrylovRosenbrock
from .exponential.rosenbrock import ExponentialRosenbrock as ExponentialRosenbrock
from .rodas5p import Rodas5P as Rodas5P
from .stabilised.extrapolated_rkc import ExtrapolatedRKC as ExtrapolatedRKC
from .stabilised.rkc2 import RKC2 as RKC2
