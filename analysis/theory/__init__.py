"""Theory as code: closed forms of plateau losses, times and directions, and whether they apply to a model and data.

`predictions(landscape)` asks all formulas; each closed form can be called by itself as well.
"""

# All formulas of one model; the matrices of small units from which closed forms start.
from .formulas.predictions import predictions as predictions
from .formulas.setting import cross_matrix as cross_matrix
from .formulas.setting import unit_form as unit_form
from .prediction import NotApplicable as NotApplicable

# isort: split
# Linear networks of two layers.
from .closed_forms.alternating import linear_schedule as linear_schedule
from .closed_forms.directions import direction_escape_times as direction_escape_times
from .closed_forms.directions import separation_exponents as separation_exponents
from .closed_forms.directions import top_projection as top_projection
from .closed_forms.low_rank import best_rank_levels as best_rank_levels
from .closed_forms.low_rank import lemma6_levels as lemma6_levels
from .closed_forms.low_rank import lemma6_modes as lemma6_modes
from .closed_forms.low_rank import weighted_levels as weighted_levels
from .closed_forms.low_rank import windowed_levels as windowed_levels
from .closed_forms.sigmoids import logistic_half_time as logistic_half_time
from .closed_forms.sigmoids import logistic_mode as logistic_mode
from .closed_forms.sigmoids import unbalanced_mode as unbalanced_mode
from .closed_forms.sigmoids import unbalanced_mode_time as unbalanced_mode_time

# isort: split
# Deep linear networks and matrix factorisation; units of any degree.
from .closed_forms.alternating import activation_time as activation_time
from .closed_forms.bottleneck import bottleneck_escape_time as bottleneck_escape_time
from .closed_forms.bottleneck import bottleneck_rate as bottleneck_rate
from .closed_forms.sigmoids import deep_escape_time as deep_escape_time
from .closed_forms.sigmoids import deep_mode_time as deep_mode_time
from .closed_forms.sigmoids import greedy_low_rank_limit as greedy_low_rank_limit

# isort: split
# Quadratic units.
from .closed_forms.alternating import modular_addition_levels as modular_addition_levels
from .closed_forms.alternating import modular_addition_utilities as modular_addition_utilities
from .closed_forms.low_rank import isotropic_quadratic_levels as isotropic_quadratic_levels
from .closed_forms.unit_escape import single_direction_escape_time as single_direction_escape_time
from .closed_forms.unit_escape import unit_escape_time as unit_escape_time
from .closed_forms.unit_escape import unit_escape_times as unit_escape_times

# isort: split
# ReLU units.
from .closed_forms.alignment import early_alignment as early_alignment
from .closed_forms.orthogonal_relu import orthogonal_relu_levels as orthogonal_relu_levels
from .closed_forms.orthogonal_relu import orthogonal_relu_rates as orthogonal_relu_rates
from .closed_forms.orthogonal_relu import orthogonal_unit as orthogonal_unit

# isort: split
# Linear attention.
from .closed_forms.attention import attention_fixed_point_loss as attention_fixed_point_loss
from .closed_forms.attention import head_half_times as head_half_times
from .closed_forms.attention import linear_attention_levels as linear_attention_levels
from .closed_forms.attention import merged_attention_levels as merged_attention_levels
from .closed_forms.attention import merged_attention_strength as merged_attention_strength

# isort: split
# Diagonal linear networks.
from .closed_forms.alternating import diagonal_times as diagonal_times
from .closed_forms.jump_process import first_jump_time as first_jump_time
from .closed_forms.jump_process import implicit_bias as implicit_bias
from .closed_forms.jump_process import jump_process as jump_process
from .closed_forms.jump_process import mirror_state as mirror_state

# isort: split
# Transformers that classify in context.
from .closed_forms.in_context_classification import classification_levels as classification_levels
from .closed_forms.in_context_classification import copying_rate as copying_rate
