"""Every setting that a job accepts: its name, type, default, bounds and meaning, each in one place."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from fusionzoo.data.data_settings import Column, DataSettings

Modality = Literal["text", "table"]
METRICS = ("auroc", "average_precision", "f1_score", "accuracy", "log_loss", "brier_score")


class JobSettings(DataSettings):
    """Core's settings: what to train, on which columns, and how. A plugin's own stand beside them in the same file."""

    model_class: str = Field(min_length=1, description="The architecture: an entry point's name, or dist-name:name.")
    is_binary: bool | None = Field(None, description="Whether there are two classes; checked against num_classes.")

    val_fraction: float | None = Field(
        None, gt=0, lt=1, description="Share of train's rows to validate on, where there is no val channel."
    )
    test_fraction: float | None = Field(
        None, gt=0, lt=1, description="Share of train's rows to test on, where there is no test channel."
    )
    group_field: Column | None = Field(
        None, description="Column, such as a customer's id, whose rows never stand on two sides of such a split."
    )
    cache_limit_gb: float = Field(
        50.0, ge=0, description="Size of the cache of encoded data, above which its oldest entries are removed."
    )

    batch_size: int = Field(32, ge=1, le=65_536, description="Rows per training step, over all processes together.")
    max_batch_tokens: int | None = Field(
        None,
        ge=1,
        description="Tokens per training step and process at most, padding included, in place of batch_size rows.",
    )
    group_by_length: bool = Field(
        True, description="Make each batch of pieces of similar length, so that little is padded; false: random order."
    )
    encode_once: bool = Field(
        True, description="Run a frozen text encoder once per row and train from its features, not anew in each epoch."
    )
    max_epochs: int = Field(3, ge=1, le=10_000, description="Passes over the training split, at most.")
    seed: int = Field(42, ge=0, lt=2**32, description="Decides weights, order and dropout.")

    lr: float | None = Field(
        None, gt=0, le=10, description="Learning rate; 1e-4 where a pretrained encoder is tuned, otherwise 1e-3."
    )
    encoder_lr_scale: float = Field(1.0, gt=0, le=1, description="A pretrained encoder learns at lr times this.")
    head_lr_scale: float = Field(
        10.0, gt=0, le=1000, description="Beside a pretrained encoder, layers that start anew learn at lr times this."
    )
    optimizer: Literal["adamw", "adam", "sgd"] = Field("adamw", description="The optimiser.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of sgd.")
    fused_optimizer: bool = Field(
        True, description="Update all weights in one pass, where this torch has it for the optimiser and the device."
    )
    adam_epsilon: float = Field(1e-8, gt=0, le=1, description="Added to adam's and adamw's denominator.")
    weight_decay: float = Field(0.01, ge=0, le=1, description="Weight decay; none on biases, norms and embeddings.")
    layer_decay: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Each layer of a pretrained encoder learns at the rate of the one above times this; embeddings at "
        "the lowest. null: all layers learn at one rate.",
    )
    schedule: Literal["linear", "cosine", "constant"] = Field(
        "linear", description="Learning rate after the warm-up: to zero along a line or half a cosine, or as it is."
    )
    warmup_steps: int | None = Field(None, ge=0, description="Steps of linear warm-up; overrides warmup_fraction.")
    warmup_fraction: float = Field(0.1, ge=0, lt=1, description="Share of all steps spent in linear warm-up.")
    gradient_clip_val: float = Field(1.0, ge=0, description="Largest norm of all gradients together; 0 is no limit.")
    accumulate_grad_batches: int = Field(
        1, ge=1, le=65_536, description="Batches per optimiser step, which learns as from one batch of all their rows."
    )
    loss: Literal["cross_entropy", "focal"] = Field(
        "cross_entropy", description="What training minimises; focal counts rows less that are right with confidence."
    )
    focal_gamma: float = Field(
        2.0, ge=0, le=10, description="How much less focal loss counts sure rows (Lin et al. 2017); 0 is cross entropy."
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="Share of a label that cross entropy spreads evenly over all classes."
    )
    class_weights: list[float] | Literal["balanced"] | None = Field(
        None,
        description="Loss weight per class, in the order of the classes; balanced: rows / (classes x the class's rows) "
        "of train.",
    )
    modality_dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of training rows that are shown without their text or without their table, half of them "
        "each; for models that read both.",
    )
    unknown_category_rate: float = Field(
        0.01, ge=0, lt=1, description="Share of training categories shown as UNKNOWN, so that its embedding is learned."
    )

    early_stop_metric: str = Field("val_loss", description="val_loss, or val/ and a metric; also chooses the best.")
    early_stop_patience: int = Field(3, ge=1, description="Validations without improvement before training stops.")
    val_check_interval: float = Field(
        1.0, gt=0, le=1, description="Share of an epoch between validations, counted in batches."
    )
    average_checkpoints: int = Field(
        0,
        ge=0,
        le=100,
        description="How many of the best checkpoints may be averaged into the model, each only where val's "
        "early_stop_metric gets no worse (Wortsman et al. 2022); 0 or 1: none.",
    )

    checkpoint_every_n_steps: int | None = Field(
        None, ge=1, description="Optimiser steps after which the training's state is saved, so that a kill loses less."
    )
    checkpoint_every_n_minutes: float | None = Field(
        10.0, gt=0, description="Minutes after which it is saved, beside after each validation; null: not by minutes."
    )
    strategy: Literal["ddp", "fsdp"] = Field(
        "ddp",
        description="How several processes share the model: each has a whole one, or a part of it (FSDP), for encoders "
        "that do not fit.",
    )
    devices: int | None = Field(
        None, ge=1, le=1024, description="Processes on each host; by default one per GPU, or one where there is none."
    )

    precision: Literal["auto", "32", "bf16", "fp16"] = Field(
        "auto", description="Arithmetic while training; auto takes bf16 where the hardware has it. Scores are float32."
    )
    torch_compile: bool = Field(
        False,
        description="Compile the model for training (torch.compile), anew in each job, which takes about a minute. For "
        "long trainings on a GPU: on a CPU, MiniLM trains slower. Needs a C++ compiler, on a GPU Triton too.",
    )
    fp16: bool | None = Field(None, description="True: mixed precision (fp16 on a GPU); false: float32.")


class ModelSettings(BaseModel):
    """Base of every plugin's settings: unknown keys are errors and values never change.

    `needs` says which modalities the job must have, `reads` which of those that it has reach the network. A text
    encoder's `default_tokenizer` is the job's where none is given. `paper` is what the architecture follows.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    default_tokenizer: ClassVar[str] = "word"
    needs: ClassVar[frozenset[Modality]] = frozenset({"text", "table"})
    reads: ClassVar[frozenset[Modality]] = frozenset({"text", "table"})
    paper: ClassVar[str | None] = None

    @classmethod
    def small(cls) -> Self:
        """Settings with which a check builds the architecture quickly and offline: by default, the defaults."""
        return cls()

    def resolve(self, job: JobSettings) -> Self:
        """These settings with all that is needed to build the same module again without files or network.

        Called once per training, before any data is read. May read local files or a model hub.

        Raises:
            fusionzoo.errors.SettingError: a value cannot work in this job; names the key.
        """
        return self

    @property
    def pretrained(self) -> bool:
        """Whether `load_pretrained` will put weights in place: decides learning rates."""
        return False


class TextSettings(ModelSettings):
    """Base of the settings of a model that reads text alone, through any text encoder."""

    needs = reads = frozenset({"text"})

    text_encoder: str = Field("bert", min_length=1, description="The text encoder: an entry point's name.")
    hidden_common_dim: int = Field(256, ge=1, le=65_536, description="Width that each modality is projected to.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout before the classifier.")


class FusionSettings(TextSettings):
    """Base of the settings of a fusion of text and table, over any text encoder."""

    needs = reads = frozenset({"text", "table"})

    field_dim: int = Field(32, ge=1, le=4096, description="Width of the embedding of each table field.")
    numeric_embedding: Literal["piecewise_linear", "periodic"] = Field(
        "piecewise_linear", description="How a number becomes a vector (Gorishniy et al. 2022)."
    )


def describe(settings: type[BaseModel]) -> dict[str, Any]:
    """JSON schema of a settings class: types, defaults, bounds and text of each field."""
    return settings.model_json_schema()
