"""Named experiments, their runs and sweeps, data sets, and figures of the literature, reproduced and checked."""

from .data.cyclic_shifts import modular_addition as modular_addition
from .data.images import digits as digits
from .data.in_context_classification import Classification as Classification
from .data.in_context_classification import in_context_classification as in_context_classification
from .data.synthetic import gaussian_regression as gaussian_regression
from .data.synthetic import in_context_regression as in_context_regression
from .data.synthetic import orthogonal_points as orthogonal_points
from .data.synthetic import power_law as power_law
from .data.synthetic import spectral_regression as spectral_regression
from .reports.of_run import report_run as report_run
from .reports.of_sweep import report_sweep as report_sweep
from .reports.report import report as report
from .reproductions.reproduce import reproduce as reproduce
from .runs.run import load_trajectory as load_trajectory
from .runs.run import run as run
from .setups.registry import experiment as experiment
from .setups.registry import experiment_names as experiment_names
from .sweeps.collect import collect as collect
from .sweeps.configuration import Configuration as Configuration
from .sweeps.configuration import product as product
from .sweeps.dispatch import SweepStopped as SweepStopped
from .sweeps.flow_cells import compute_cell as compute_cell
from .sweeps.store import write_store as write_store
from .sweeps.sweep import sweep as sweep
from .sweeps.work import run_or_load as run_or_load
