"""Top floor: named set-ups, runs, and their records."""

from .data import fourier_template as fourier_template
from .data import gaussian_regression as gaussian_regression
from .data import in_context_regression as in_context_regression
from .data import modular_addition as modular_addition
from .data import orthogonal_points as orthogonal_points
from .data import power_law as power_law
from .data import spectral_regression as spectral_regression
from .experiment import Experiment as Experiment
from .experiment import Setup as Setup
from .images import digits as digits
from .images import image_pair as image_pair
from .images import mnist as mnist
from .registry import experiment as experiment
from .registry import names as names
from .run import Run as Run
from .run import load_run as load_run
from .run import run as run
from .run import write as write
from .run import write_trajectory as write_trajectory
