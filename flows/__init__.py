"""First floor: the flow. A model and a loss become a vector field, the field becomes a trajectory."""

from .field import GradientFlow as GradientFlow
from .field import flatten as flatten
from .field import unflatten as unflatten
from .grids import linear_grid as linear_grid
from .grids import logarithmic_grid as logarithmic_grid
from .loss import half_squared_error as half_squared_error
from .loss import mean_squared_error as mean_squared_error
from .root_finder import PatientChord as PatientChord
from .root_finder import implicit as implicit
from .simulate import simulate as simulate
from .statistics import Statistics as Statistics
from .statistics import from_moments as from_moments
from .statistics import from_sample as from_sample
from .statistics import statistics_loss as statistics_loss
from .statistics import sufficient_statistics as sufficient_statistics
from .trajectory import Result as Result
from .trajectory import Trajectory as Trajectory
from .trajectory import load as load
from .trajectory import read_header as read_header
