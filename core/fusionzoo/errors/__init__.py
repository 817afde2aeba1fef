"""Every failure that a user can mend: what happened, which file, field, row or package, what to do.

Messages stand here and nowhere else, in rooms by what they are about. The first 1,024 characters of a message become a
SageMaker job's FailureReason, so the cause comes first.
"""

from fusionzoo.errors.base import *
from fusionzoo.errors.data import *
from fusionzoo.errors.outputs import *
from fusionzoo.errors.plugins import *
from fusionzoo.errors.processes import *
from fusionzoo.errors.resuming import *
from fusionzoo.errors.settings import *
from fusionzoo.errors.training import *
from fusionzoo.errors.wording import nearest as nearest
