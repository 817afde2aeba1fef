"""The settings of a job: names, types, defaults, bounds and descriptions, each stated once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from fusionzoo.data.data_settings import Column, DataSettings, TaskName

if TYPE_CHECKING:
    from typing_extensions import Self

Modality = Literal["text", "table"]
Threshold = Annotated[float, Field(ge=0, lt=1)]
Goal = Annotated[float, Field(gt=0, le=1)]
Cost = Annotated[float, Field(ge=0, le=1e9)]
ALL_TASKS: frozenset[TaskName] = frozenset(get_args(TaskName))


class JobSettings(DataSettings):
    """Core's settings: which model to train, on which columns, and how. A plugin adds its own to the same file."""

    model_class: str = Field(
        min_length=1, description="Architecture: the name of an entry point, or distribution-name:name."
    )
    is_binary: bool | None = Field(
        None, description="Whether there are two classes. Must agree with num_classes; null: not checked."
    )

    val_fraction: float | None = Field(
        None, gt=0, lt=1, description="Fraction of the training rows used for validation if there is no val channel."
    )
    test_fraction: float | None = Field(
        None, gt=0, lt=1, description="Fraction of the training rows used for testing if there is no test channel."
    )
    group_field: Column | None = Field(
        None,
        description="Column, such as a customer id, whose rows with equal values all go into the same split. Requires "
        "val_fraction or test_fraction.",
    )
    cache_limit_gb: float = Field(
        50.0, ge=0, le=1e6, description="Maximum size of the cache of encoded data in GB; the oldest entries go first."
    )

    max_file_gb: float = Field(
        50.0, gt=0, le=1e6, description="Maximum size of a part file in GB, after decompression; more is an error."
    )
    max_row_mb: float = Field(
        64.0, ge=0.001, le=2000, description="Maximum size of a row of a part file in MB; more is an error."
    )
    max_expansion: float = Field(
        200.0,
        ge=1,
        le=1e9,
        description="Maximum ratio between the decompressed and the stored size of a part file; more is an error. "
        "Files below 100 MB are not checked.",
    )

    batch_size: int = Field(32, ge=1, le=65_536, description="Rows per training step, over all processes together.")
    max_batch_tokens: int | None = Field(
        None,
        ge=1,
        le=2**31,
        description="Maximum number of tokens per training step and process, including padding. Replaces batch_size.",
    )
    group_by_length: bool = Field(
        True, description="Build batches from rows of similar length to reduce padding; false: random batches."
    )
    encode_once: bool = Field(
        True, description="Compute the features of a frozen text encoder once per row instead of once per epoch."
    )
    max_epochs: int | None = Field(
        None, ge=1, le=10_000, description="Maximum number of passes over train. null: 3, or more for small data."
    )
    init_from: str | None = Field(
        None,
        min_length=1,
        description="Trained model whose weights the training starts from: a model folder, a model.tar.gz, or model "
        "for the channel of this name. It must have the same model_class and text_encoder. Embeddings of categories "
        "and tokens and the outputs of classes are matched by value. null: start from new or pretrained weights.",
    )
    max_minutes: float | None = Field(
        None,
        gt=0,
        le=1e6,
        description="Maximum duration of a run in minutes, from its start to its last file. Training ends early enough "
        "for the evaluation and the export, and the best weights so far become the model. A job that is started again "
        "has this time again, and continues the training. null: no limit.",
    )
    seed: int = Field(42, ge=0, lt=2**32, description="Random seed of initial weights, row order, dropout and splits.")

    lr: float | None = Field(
        None,
        gt=0,
        le=10,
        description="Peak learning rate. null: 1e-4 if a pretrained encoder is fine-tuned, otherwise 1e-3.",
    )
    encoder_lr_scale: float = Field(
        1.0, gt=0, le=1, description="Factor on lr for the weights of a pretrained text encoder."
    )
    head_lr_scale: float = Field(
        10.0, gt=0, le=1000, description="Factor on lr for new layers if a pretrained text encoder is fine-tuned."
    )
    optimizer: Literal["adamw", "adam", "sgd"] = Field("adamw", description="Optimizer.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of optimizer sgd.")
    fused_optimizer: bool = Field(
        True, description="Use the fused optimizer implementation if torch has one for the optimizer and device."
    )
    adam_epsilon: float = Field(
        1e-8, gt=0, le=1, description="Term added to the denominator of adam and adamw for numerical stability."
    )
    weight_decay: float = Field(
        0.01, ge=0, le=1, description="Weight decay; not applied to biases, normalization layers and embeddings."
    )
    layer_decay: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Layer-wise learning rate decay of a pretrained text encoder: factor on the learning rate of each "
        "layer relative to the layer above it; lowest for the embeddings. null: no decay.",
    )
    schedule: Literal["linear", "cosine", "constant"] = Field(
        "linear", description="Learning rate schedule after the warm-up; linear and cosine decay to zero."
    )
    warmup_steps: int | None = Field(
        None, ge=0, le=10**9, description="Steps of linear warm-up. null: warmup_fraction decides."
    )
    warmup_fraction: float = Field(
        0.1, ge=0, lt=1, description="Fraction of all steps used for linear warm-up if warmup_steps is null."
    )
    gradient_clip_val: float = Field(
        1.0, ge=0, le=1e9, description="Maximum global gradient norm; 0 disables clipping."
    )
    accumulate_grad_batches: int = Field(
        1,
        ge=1,
        le=65_536,
        description="Batches per optimizer step; the gradient is that of one batch of all their rows.",
    )
    loss: Literal["cross_entropy", "binary_cross_entropy", "focal", "mse", "mae", "huber", "quantile"] | None = Field(
        None,
        description="Training loss. Classification: cross_entropy, or focal, which gives confident correct rows less "
        "weight. Multilabel: binary_cross_entropy, or focal. Regression, on the standardized target: mse, mae, huber, "
        "or quantile (pinball). null: the first of the task.",
    )
    huber_delta: float = Field(
        1.0, gt=0, le=1000, description="Error in standard deviations beyond which the Huber loss is linear."
    )
    focal_gamma: float = Field(
        2.0,
        ge=0,
        le=10,
        description="Focusing parameter gamma of the focal loss (Lin et al. 2017); 0 equals (binary) cross entropy.",
    )
    label_smoothing: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Label smoothing of cross entropy: the share of each label spread over all classes.",
    )
    class_weights: list[float] | dict[str, float] | Literal["balanced"] | None = Field(
        None,
        description='Loss weight of each class: a list in the order of the classes, or an object like {"spam": 5} in '
        "which other classes have weight 1. balanced: rows / (classes * rows of the class), computed on the training "
        "split. null: equal weights. In task multilabel, the weight of the rows that a label applies to; balanced: "
        "other rows / rows of the label.",
    )
    modality_dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Fraction of training rows with a dropped text or table, half of them each. Requires a "
        "model that reads both.",
    )
    unknown_category_rate: float = Field(
        0.01,
        ge=0,
        lt=1,
        description="Fraction of training categories replaced by UNKNOWN, so that its embedding is trained.",
    )

    calibration: Literal["none", "temperature", "vector"] = Field(
        "temperature",
        description="Calibration on val after training: temperature divides all outputs by one number, which changes "
        "no order (of a regression, their distances from train's mean); vector gives each output its own scale and "
        "bias. It is kept only if it lowers the loss of held-out rows of val: the log-loss, or that of a regression.",
    )
    decision_threshold: Threshold | list[Threshold] | Literal["best_f1"] | None = Field(
        None,
        description="Class 1 of two classes, or a label of a multilabel task, is predicted if its probability is "
        "greater. best_f1: the threshold with the maximum F1 on val. A list: one for each label. null: 0.5; of more "
        "than two classes the most probable one is predicted.",
    )
    min_precision: Goal | None = Field(
        None,
        description="Choose on val the threshold with the maximum recall among those with at least this precision, of "
        "class 1 of two classes, or of each label of a multilabel task.",
    )
    min_recall: Goal | None = Field(
        None,
        description="Choose on val the threshold with the maximum precision among those with at least this recall, of "
        "class 1 of two classes, or of each label of a multilabel task.",
    )
    cost_matrix: list[list[Cost]] | None = Field(
        None,
        description="Cost of each decision: a list for each true class, with the cost of predicting each class. The "
        "class with the lowest expected cost is predicted. Of a multilabel task 2 x 2: a label is absent, or present.",
    )

    early_stop_metric: str | None = Field(
        None,
        description="Metric for early stopping and for choosing the best checkpoint: val_loss, or val/ and the name of "
        "a metric. null: val/auroc for two classes with enough rows in val and calibration; else val_loss.",
    )
    early_stop_patience: int | None = Field(
        None, ge=1, le=10**6, description="Validations without improvement that end training. null: 3 with 150 steps."
    )
    val_check_interval: float | None = Field(
        None, gt=0, le=1, description="Fraction of an epoch between validations. null: 1, or 0.5 if val is small."
    )
    average_checkpoints: int | None = Field(
        None,
        ge=0,
        le=100,
        description="Number of best checkpoints that may be averaged into the model (greedy soup, Wortsman et al. "
        "2022). A checkpoint is added only if early_stop_metric on val does not get worse. 0 and 1 disable averaging. "
        "null: 3 if a pretrained encoder is fine-tuned, otherwise 0.",
    )

    checkpoint_every_n_steps: int | None = Field(
        None, ge=1, le=10**9, description="Optimizer steps between checkpoints. null: no checkpoints by steps."
    )
    checkpoint_every_n_minutes: float | None = Field(
        10.0,
        gt=0,
        le=1e6,
        description="Minutes between checkpoints, besides one after each validation. null: no checkpoints by time.",
    )
    ship_on_stop: bool = Field(
        True,
        description="Write the model of the best validation so far when SIGTERM stops the job, after the checkpoint.",
    )
    ship_on_stop_seconds: float = Field(
        90.0,
        ge=1,
        le=86_400,
        description="Seconds after SIGTERM in which the job may write its model; SageMaker kills it after 120 s.",
    )
    strategy: Literal["ddp", "fsdp"] = Field(
        "ddp",
        description="How processes share the model: each holds a full copy (ddp), or a shard (fsdp) for encoders that "
        "do not fit into one GPU.",
    )
    devices: int | None = Field(
        None, ge=1, le=1024, description="Processes per host. null: one per GPU, or one on a machine without GPUs."
    )

    precision: Literal["auto", "32", "bf16", "fp16"] = Field(
        "auto",
        description="Floating-point precision of training. auto: bf16 if the hardware supports it and a short "
        "measurement at the start finds it faster, otherwise 32. Scores are always float32.",
    )
    onnx: Literal["required", "optional", "off"] = Field(
        "required",
        description="Export to ONNX, which Predictor needs. required: a model that cannot be exported is an error "
        "before training. optional: it is a warning, and the model folder has no model.onnx. off: no export.",
    )
    torch_compile: bool = Field(
        False,
        description="Compile the model with torch.compile, which takes about one minute per job. Pays off for long "
        "training on a GPU; on a CPU, MiniLM trains slower. Requires a C++ compiler, and Triton on a GPU.",
    )
    fp16: bool | None = Field(
        None, description="true: mixed precision (fp16) on a GPU; false: float32; null: precision decides."
    )


class ModelSettings(BaseModel):
    """Base class of every plugin's settings. Unknown keys are errors, and values are immutable.

    Class variables:
        default_tokenizer: of a text encoder: the tokenizer if the settings give none; see `choose_tokenizer`, too.
        needs: the modalities that the job must have.
        reads: the modalities that reach the network, if the job has them.
        tasks: the tasks that the architecture supports; core refuses jobs with another one.
        paper: the paper that the architecture follows.
        min_steps: the optimizer steps that new weights need: on small data, the default of max_epochs is larger.
        uses_word_vectors: of a text encoder: whether it starts from word vectors, which tokenizer `word` trains.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    default_tokenizer: ClassVar[str] = "word"
    needs: ClassVar[frozenset[Modality]] = frozenset({"text", "table"})
    reads: ClassVar[frozenset[Modality]] = frozenset({"text", "table"})
    tasks: ClassVar[frozenset[TaskName]] = ALL_TASKS
    paper: ClassVar[str | None] = None
    min_steps: ClassVar[int] = 400
    uses_word_vectors: ClassVar[bool] = True

    @classmethod
    def small(cls) -> Self:
        """Return settings with which checks build the architecture fast and offline; by default the defaults."""
        return cls()

    def resolve(self, job: JobSettings) -> Self:
        """Return settings that contain everything needed to build the same module without files or network.

        Called once per job before data is read, and not for a model folder. May read local files or a model hub.

        Raises:
            fusionzoo.errors.SettingError: a value cannot work in this job; names the setting.
        """
        return self

    def choose_tokenizer(self) -> str:
        """Return the tokenizer of a job that sets none; by default `default_tokenizer`."""
        return self.default_tokenizer

    @property
    def pretrained(self) -> bool:
        """Whether `load_pretrained` will load weights. Decides the learning rates."""
        return False


class TextSettings(ModelSettings):
    """Base class of the settings of a model that reads text only, through any text encoder."""

    needs = reads = frozenset({"text"})

    text_encoder: str = Field("bert", min_length=1, description="Text encoder: the name of an entry point.")
    hidden_common_dim: int = Field(256, ge=1, le=65_536, description="Width to which each modality is projected.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout before the classifier.")
    wide_ngrams: int = Field(
        100_000, ge=0, le=10**7, description="Maximum n-grams of the linear models next to the text encoder; 0: none."
    )


class FusionSettings(TextSettings):
    """Base class of the settings of a fusion of text and table, with any text encoder."""

    needs = reads = frozenset({"text", "table"})

    field_dim: int = Field(32, ge=1, le=4096, description="Embedding width of each table field.")
    numeric_embedding: Literal["piecewise_linear", "periodic"] = Field(
        "piecewise_linear", description="Embedding of numeric features (Gorishniy et al. 2022)."
    )
