"""Settings of a text encoder that can train adapters of the library peft."""

from __future__ import annotations

import logging

from pydantic import Field
from transformers import PretrainedConfig

from fusionzoo.errors import SettingError
from fusionzoo.nn.adapters import AdapterMethod, AdapterSettings, check_adapters
from fusionzoo.settings import ModelSettings

log = logging.getLogger(__name__)

FACTOR_SETTINGS = ("peft_rank", "peft_alpha", "peft_dropout")
EXCLUDED_SETTINGS = ("freeze_text_encoder", "reinit_layers", "reinit_pooler")


class PeftSettings(ModelSettings):
    """Base class of the settings of a text encoder with adapters."""

    peft: AdapterMethod | None = Field(
        None,
        description="Train adapters of the library peft instead of the pretrained weights, and merge them at the end: "
        "lora, dora or ia3. null: train the pretrained weights.",
    )
    peft_rank: int = Field(8, ge=1, le=4096, description="Rank of the adapters of lora and dora.")
    peft_alpha: float = Field(
        16.0, gt=0, le=1e4, description="Scale of the adapters of lora and dora: they are multiplied by alpha / rank."
    )
    peft_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout before the adapters of lora and dora.")
    peft_targets: list[str] | None = Field(
        None,
        min_length=1,
        description='Linear layers with adapters: names or their last parts, such as ["query", "value"]. null: all.',
    )

    @property
    def adapters(self) -> AdapterSettings | None:
        """The settings of the adapters; None without `peft`."""
        if self.peft is None:
            return None
        return AdapterSettings(self.peft, self.peft_rank, self.peft_alpha, self.peft_dropout, self.peft_targets)

    def check_peft(self, config: PretrainedConfig, with_pooler: bool, is_loaded: bool) -> None:
        """Check the adapters of an encoder before any data is read, and warn of settings without effect.

        Args:
            config: the configuration of the encoder.
            with_pooler: whether its pooler is used.
            is_loaded: whether its weights are loaded, so that adapters have something to change.

        Raises:
            fusionzoo.errors.ZooError: as `check_adapters`, or another setting contradicts `peft`.
        """
        if self.adapters is None:
            names = (*FACTOR_SETTINGS, "peft_targets")
            if unused := [n for n in names if getattr(self, n) != PeftSettings.model_fields[n].default]:
                log.warning("%s: no effect without peft.", ", ".join(unused))
            return
        for name in EXCLUDED_SETTINGS:
            if value := getattr(self, name, None):
                problem = f"peft: {self.peft} trains adapters, and keeps all other weights of the encoder as they are"
                raise SettingError(name, value, problem, f"remove {name}, or remove peft")
        if not is_loaded:
            problem = "there are no pretrained weights that adapters could change"
            raise SettingError("peft", self.peft, problem, "set encoder_name, or remove peft")
        if self.peft == "ia3" and (unused := [name for name in FACTOR_SETTINGS if name in self.model_fields_set]):
            log.warning("%s: no effect with peft: ia3.", ", ".join(unused))
        check_adapters(config, self.adapters, with_pooler)
