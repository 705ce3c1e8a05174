"""First floor: the flow. A model and a loss become a vector field, the field becomes a trajectory."""

from .compilation.cache import keep_compiled as keep_compiled
from .landscapes.field import GradientFlow as GradientFlow
from .landscapes.landscape import Landscape as Landscape
from .landscapes.landscape import flatten as flatten
from .landscapes.landscape import unflatten as unflatten
from .losses.population import in_context_population as in_context_population
from .losses.population import linear_population as linear_population
from .losses.population import quadratic_population as quadratic_population
from .losses.squared_error import half_squared_error as half_squared_error
from .losses.squared_error import mean_squared_error as mean_squared_error
from .losses.statistics import statistics_loss as statistics_loss
from .losses.teacher_student import gaussian_loss as gaussian_loss
from .optimisers.descent import descend as descend
from .optimisers.optimiser import adam as adam
from .optimisers.optimiser import gradient_descent as gradient_descent
from .optimisers.optimiser import momentum as momentum
from .sensitivity.crossing import crossing_time as crossing_time
from .sensitivity.crossing import dwell_time as dwell_time
from .sensitivity.crossing import flow_map as flow_map
from .simulation.mirror import mirror_flow as mirror_flow
from .simulation.simulate import simulate as simulate
from .simulation.trajectory import Result as Result
from .simulation.trajectory import Trajectory as Trajectory
from .simulation.trajectory import load as load
