"""The arguments of the preprocessing: those of its contract, each with the meaning of the setting of the same name."""

from __future__ import annotations

from collections.abc import Mapping

from fusionzoo.contracts import TABULAR_PREPROCESS_CONTRACT
from fusionzoo.errors.argument_errors import ArgumentsError
from fusionzoo.hyperparameters.consistency import check_job_settings
from fusionzoo.hyperparameters.settings_draft import SettingsDraft
from fusionzoo.sagemaker.script_arguments import to_setting
from fusionzoo.settings import JobSettings

NOT_NEEDED = {"model_class": "none"}
"""Settings that a job must have, and preprocessing does not use."""
COUNTED_LATER = "FZ-S142"
"""The code of the problem that num_classes is missing: preprocessing counts the classes itself."""


def parse_arguments(arguments: Mapping[str, str]) -> JobSettings:
    """Return the settings that the arguments mean. An empty text, and a fraction of 0, are "not given".

    Raises:
        ArgumentsError: lists all arguments with a problem.
    """
    defaults = {name: text for name, text in TABULAR_PREPROCESS_CONTRACT.arguments.items() if text is not None}
    texts = {to_setting(name): text for name, text in {**defaults, **arguments}.items()}
    draft = SettingsDraft("preprocessing", JobSettings)
    draft.fill({**NOT_NEEDED, **{name: text for name, text in texts.items() if not _is_unset(name, text)}})
    problems = [*draft.problems, *check_job_settings(draft)]
    if problems := [problem for problem in dict.fromkeys(problems) if problem.code != COUNTED_LATER]:
        raise ArgumentsError(problems)
    return draft.settings


def _is_unset(name: str, text: str) -> bool:
    if name.endswith("_fraction"):
        try:
            return float(text) == 0
        except ValueError:
            return not text
    return not text and name != "csv_quote"
