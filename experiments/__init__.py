"""Top floor: named set-ups, runs, and their records."""

from .experiment import Experiment as Experiment
from .experiment import Setup as Setup
from .panel import Check as Check
from .panel import Panel as Panel
from .panel import Reproduced as Reproduced
from .panel import Reproduction as Reproduction
from .registry import experiment as experiment
from .registry import names as names
from .reproduce import reproduce as reproduce
from .reproduce import reproductions as reproductions
from .reproduce import write_page as write_page
from .reproduce import write_reproduction as write_reproduction
from .run import Run as Run
from .run import load_run as load_run
from .run import run as run
from .run import write as write
from .run import write_trajectory as write_trajectory
