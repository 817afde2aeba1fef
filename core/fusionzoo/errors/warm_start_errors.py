"""`init_from`: starting from a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fusionzoo.errors.base import ZooError
from fusionzoo.errors.wording import quote_name

if TYPE_CHECKING:
    from typing_extensions import Self

GIVE_MODEL = (
    "set init_from to a model folder or model.tar.gz that a job of fusionzoo wrote, or to model for the channel of "
    "this name."
)


class InitFromError(ZooError):
    """`init_from` does not name a model from which this job can start."""

    @classmethod
    def no_model(cls, place: Path) -> Self:
        """There is no such folder or archive."""
        return cls(f"init_from: {place} does not exist.", GIVE_MODEL, "FZ-C101")

    @classmethod
    def other_plugin(cls, place: Path, setting: str, trained: str, current: str) -> Self:
        """The trained model has another architecture, so its weights mean something else."""
        return cls(
            f"init_from: the model in {place} has {setting} {quote_name(trained)}, and this job has "
            f"{quote_name(current)}, so its weights cannot be used.",
            f"set {setting} to {trained}, or remove init_from.",
            "FZ-C102",
        )

    @classmethod
    def other_tokens(cls, place: Path, tensors: str) -> Self:
        """The text encoder has a fixed number of tokens, and the tokenizer of the trained model has other ones."""
        return cls(
            f"init_from: the model in {place} has another tokenizer, and the text encoder does not tell which of its "
            f"weights belong to a token ({tensors}).",
            "set tokenizer to that of the trained model, or remove init_from.",
            "FZ-C103",
        )

    @classmethod
    def other_features(cls, place: Path, module: str, kind: str) -> Self:
        """A module is fitted on train, and its features mean something else than in the trained model."""
        return cls(
            f"init_from: {module} ({kind}) is fitted on the rows of train, and the layers of the model in {place} were "
            "trained on the features that it had for other rows.",
            "remove init_from: a new model of this model_class is trained from the beginning.",
            "FZ-C108",
        )

    @classmethod
    def nothing_in_common(cls, place: Path) -> Self:
        """No weight of the trained model fits the new one."""
        return cls(
            f"init_from: no weight of the model in {place} fits the model of this job.",
            "use the settings that size the model, such as hidden_common_dim, of the trained model, or remove "
            "init_from.",
            "FZ-C107",
        )
