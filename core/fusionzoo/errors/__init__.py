"""Every failure that a user can mend: what happened, which file, field, row or package, what to do.

Messages stand here and nowhere else, in rooms by what they are about. The first 1,024 characters of a message become a
SageMaker job's FailureReason, so the cause comes first.
"""

from fusionzoo.errors.base import *
from fusionzoo.errors.checkpoint_errors import *
from fusionzoo.errors.data_errors import *
from fusionzoo.errors.output_errors import *
from fusionzoo.errors.plugin_errors import *
from fusionzoo.errors.process_errors import *
from fusionzoo.errors.setting_errors import *
from fusionzoo.errors.training_errors import *
from fusionzoo.errors.wording import nearest_names as nearest_names
