"""The type checker that executes annotations in the tests; integers count as real numbers, as for users."""

import beartype

check = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))
