"""Top floor: named set-ups, runs, and their records."""

from .experiment import Experiment as Experiment
from .experiment import Setup as Setup
from .registry import experiment as experiment
from .registry import names as names
from .run import Run as Run
from .run import load_run as load_run
from .run import run as run
from .run import write as write
from .run import write_trajectory as write_trajectory
