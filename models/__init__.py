"""Ground floor: networks as Equinox modules built from units."""

from .activation import Activation as Activation
from .activation import UnitLaw as UnitLaw
from .activation import linear as linear
from .activation import quadratic as quadratic
from .activation import relu as relu
from .activation import tanh as tanh
from .features import Features as Features
from .features import features_of as features_of
from .initialisation import low_rank_plus_noise as low_rank_plus_noise
from .initialisation import scaled as scaled
from .two_layer import Architecture as Architecture
from .two_layer import Convolution as Convolution
from .two_layer import Dense as Dense
from .two_layer import LinearAttention as LinearAttention
from .two_layer import TwoLayer as TwoLayer
from .two_layer import context_statistics as context_statistics
from .units import Slot as Slot
from .units import Units as Units
from .units import declared_units as declared_units
from .units import incoming as incoming
from .units import outgoing as outgoing
from .units import unit_vectors as unit_vectors
from .units import units_of as units_of
from .units import width as width
from .units import with_units as with_units
