"""Theory as code: formulas for plateau losses, times and directions, and whether they apply to a model and its data.

`predictions(landscape)` asks all of them; each can be called by itself as well.
"""

from .alignment import Alignment as Alignment
from .alignment import early_alignment as early_alignment
from .alternating import activation_time as activation_time
from .alternating import diagonal_times as diagonal_times
from .alternating import linear_schedule as linear_schedule
from .alternating import modular_addition_levels as modular_addition_levels
from .alternating import modular_addition_utilities as modular_addition_utilities
from .alternating import template_spectrum as template_spectrum
from .attention import attention_fixed_point_loss as attention_fixed_point_loss
from .attention import context_gains as context_gains
from .attention import head_half_times as head_half_times
from .attention import linear_attention_levels as linear_attention_levels
from .attention import merged_attention_levels as merged_attention_levels
from .attention import merged_attention_strength as merged_attention_strength
from .directions import direction_escape_times as direction_escape_times
from .directions import growing_parts as growing_parts
from .directions import mode_starts as mode_starts
from .directions import separation_exponents as separation_exponents
from .directions import top_multiplicity as top_multiplicity
from .directions import top_projection as top_projection
from .jump_process import JumpProcess as JumpProcess
from .jump_process import first_jump_time as first_jump_time
from .jump_process import implicit_bias as implicit_bias
from .jump_process import jump_process as jump_process
from .jump_process import mirror_state as mirror_state
from .low_rank import best_rank_levels as best_rank_levels
from .low_rank import isotropic_quadratic_levels as isotropic_quadratic_levels
from .low_rank import lemma6_levels as lemma6_levels
from .low_rank import lemma6_modes as lemma6_modes
from .low_rank import weighted_levels as weighted_levels
from .low_rank import windowed_levels as windowed_levels
from .orthogonal_relu import orthogonal_relu_levels as orthogonal_relu_levels
from .orthogonal_relu import orthogonal_relu_rates as orthogonal_relu_rates
from .orthogonal_relu import orthogonal_unit as orthogonal_unit
from .prediction import Formula as Formula
from .prediction import NotApplicable as NotApplicable
from .prediction import Prediction as Prediction
from .prediction import Predictions as Predictions
from .predictions import predictions as predictions
from .setting import cross_matrix as cross_matrix
from .setting import unit_form as unit_form
from .sigmoids import deep_escape_time as deep_escape_time
from .sigmoids import deep_mode_time as deep_mode_time
from .sigmoids import greedy_low_rank_limit as greedy_low_rank_limit
from .sigmoids import logistic_half_time as logistic_half_time
from .sigmoids import logistic_mode as logistic_mode
from .sigmoids import unbalanced_mode as unbalanced_mode
from .sigmoids import unbalanced_mode_time as unbalanced_mode_time
from .unit_escape import single_direction_escape_time as single_direction_escape_time
from .unit_escape import unit_escape_time as unit_escape_time
from .unit_escape import unit_escape_times as unit_escape_times
