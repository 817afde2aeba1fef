"""The arguments of evaluate.py. Its contract has their names and defaults."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from fusionzoo.contracts import MODEL_EVALUATION_CONTRACT
from fusionzoo.errors.argument_errors import ArgumentsError
from fusionzoo.hyperparameters.settings_draft import SettingsDraft
from fusionzoo.sagemaker.script_arguments import to_setting


class EvaluateSettings(BaseModel):
    """What the arguments of evaluate.py mean."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    skip_unlabeled: bool = Field(
        description="true: evaluate the rows with a label if some rows have none. false: refuse such rows."
    )
    max_expansion: float = Field(ge=1, description="The bytes of content that each byte of model.tar.gz may have.")
    batch_size: int = Field(ge=1, le=1_000_000, description="The maximum number of rows of a batch.")


def parse_evaluate_arguments(texts: Mapping[str, str]) -> EvaluateSettings:
    """Return what the arguments of a command line mean.

    Raises:
        ArgumentsError: lists all arguments with a problem.
    """
    draft = SettingsDraft(MODEL_EVALUATION_CONTRACT.entry_point, EvaluateSettings)
    draft.fill({to_setting(name): text for name, text in {**MODEL_EVALUATION_CONTRACT.arguments, **texts}.items()})
    if draft.problems:
        raise ArgumentsError(draft.problems)
    return draft.settings
