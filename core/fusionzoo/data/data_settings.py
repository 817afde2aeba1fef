"""The settings that decide how rows are read and encoded. They are saved with the model: scoring needs them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

ChunkKeep = Literal["head", "tail", "head_tail"]
TextStep = Literal["dialogue_splitter", "html_normalizer", "emoji_remover", "text_normalizer"]
MAX_CLASSES = 100_000
TOKENIZER_WITHOUT_ENCODER = "bert-base-uncased"
ROW_ID = "row_id"
TaskName = Literal["classification", "multilabel", "regression"]
Column = Annotated[str, Field(min_length=1)]


class DataSettings(BaseModel):
    """Which columns a row has, the role of each, and how its text becomes chunks of tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    id_name: Column | None = Field(
        None,
        description="Column that identifies a row; written unchanged to the predictions. null: FILE:ROW, such as "
        "test/part-0.csv:1, in the column row_id.",
    )
    task: TaskName = Field(
        "classification",
        description="What the model predicts: one of several classes, any number of labels (multilabel), or numbers "
        "(regression).",
    )
    label_name: Column | list[Column] = Field(
        description="Column to predict; of a regression also a list of columns, and of task multilabel a column of "
        "lists or a list of columns of 0 and 1."
    )
    label_separator: str | None = Field(
        None,
        min_length=1,
        description="Text between two labels of task multilabel in a column of text, such as | in red|blue. null: "
        'lists, or text that holds JSON arrays such as ["red", "blue"].',
    )
    text_name: Column | list[Column] | None = Field(
        None, description="Text column, or a list of text columns that are joined as 'column: text'."
    )
    cat_field_list: list[Column] = Field([], description="Categorical columns.")
    tab_field_list: list[Column] = Field([], description="Numeric columns.")
    num_classes: int | None = Field(
        None,
        ge=1,
        le=MAX_CLASSES,
        description="Number of classes. Required by task classification; of labels in task multilabel.",
    )
    classes: list[bool | int | float | str] | None = Field(
        None,
        description="Class labels in order, also for metric quadratic_kappa; of two, the second is the positive class. "
        "null: sorted labels of train. Also of a column of lists in task multilabel.",
    )

    target_transform: Literal["log1p"] | None = Field(
        None, description="log1p: a regression predicts log(1 + value), for values above -1 over several magnitudes."
    )
    quantiles: list[Annotated[float, Field(gt=0, lt=1)]] | None = Field(
        None,
        description="Quantiles that a regression with loss quantile predicts, 0.5 among them. [0.05, 0.5, 0.95] gives "
        "the median and an interval that should hold 90 % of the values.",
    )

    csv_delimiter: str = Field(
        ",", min_length=1, max_length=1, description="Delimiter of CSV files. TSV files always use a tab."
    )
    csv_quote: str | None = Field(
        None,
        max_length=1,
        description='Character that encloses values in CSV and TSV files; "": none. null: " in CSV, and in TSV if '
        "the file shows that it encloses values.",
    )
    csv_escape: str | None = Field(
        None,
        min_length=1,
        max_length=1,
        description="Character that makes a quote part of a value, such as the backslash of Spark. null: such a quote "
        "is doubled.",
    )
    csv_header: bool | list[Column] = Field(
        True,
        description="Whether the first line of CSV and TSV files has the column names. A list: the names of files "
        'without a header; false: the names are "0", "1", ...',
    )

    null_values: list[str] = Field(
        ["\\N", "NULL", "NA", "N/A", "#N/A", "NaN", "-NaN", "None", "NaT", "<NA>"],
        description="Words that mean a missing value in text, category and number columns, in upper or lower case. The "
        "empty text always does.",
    )
    text_processing_steps: list[TextStep] = Field(
        ["dialogue_splitter", "html_normalizer", "emoji_remover", "text_normalizer"],
        description="Text cleaning steps, applied in this order. []: no cleaning.",
    )
    tokenizer: str | None = Field(
        None,
        min_length=1,
        description="Hugging Face tokenizer (name or folder), or 'word' (fitted on train). null: that of the text "
        f"encoder; {TOKENIZER_WITHOUT_ENCODER} for a model without a text encoder.",
    )
    max_sen_len: int = Field(
        512, ge=4, le=1_000_000, description="Maximum number of tokens per chunk, including special tokens."
    )
    max_total_chunks: int | None = Field(
        10,
        ge=1,
        le=10**6,
        description="Maximum number of chunks per row; the rest is dropped and counted. null: no limit.",
    )
    chunk_keep: ChunkKeep = Field(
        "head", description="Which chunks to keep of a row with more than max_total_chunks: first, last, or both ends."
    )
    word_vocab_size: int = Field(
        30_000, ge=3, le=10**7, description="Vocabulary size of tokenizer 'word': the most frequent words are kept."
    )
    word_min_count: int = Field(
        2, ge=1, le=10**9, description="Minimum number of occurrences in train for a word of tokenizer 'word'."
    )
    embeddings: str = Field(
        "word2vec",
        min_length=1,
        description="Word vectors for tokenizer 'word': word2vec, fasttext, random, or the path of a file.",
    )
    embedding_dim: int = Field(100, ge=1, le=10_000, description="Dimension of trained or random word vectors.")

    min_category_count: int = Field(
        2, ge=1, le=10**9, description="Minimum number of rows in train for a category; rarer categories are UNKNOWN."
    )
    clip_outliers: float | None = Field(
        None,
        gt=0,
        le=1e6,
        description="Clip numbers at this many interquartile ranges beyond the quartiles of train (Tukey's fences; 3 "
        "is 'far out'). null: no clipping.",
    )

    @property
    def tokenizer_name(self) -> str:
        """The tokenizer to use. Parsing sets `tokenizer` to the text encoder's default if it is not given."""
        return self.tokenizer or TOKENIZER_WITHOUT_ENCODER

    @property
    def id_column(self) -> str:
        """The name of the id column of the predictions."""
        return self.id_name or ROW_ID

    @property
    def label_columns(self) -> list[str]:
        """The columns to predict, in order."""
        return [self.label_name] if isinstance(self.label_name, str) else list(self.label_name)

    @property
    def text_columns(self) -> list[str]:
        """The text columns in order; empty if the job has no text."""
        if self.text_name is None:
            return []
        return [self.text_name] if isinstance(self.text_name, str) else list(self.text_name)

    @property
    def feature_columns(self) -> list[str]:
        """The columns that the model reads, without duplicates: texts, categories and numbers."""
        return list(dict.fromkeys([*self.text_columns, *self.cat_field_list, *self.tab_field_list]))

    @property
    def columns(self) -> list[str]:
        """All columns that the job reads, without duplicates, in a fixed order."""
        ids = [] if self.id_name is None else [self.id_name]
        return list(dict.fromkeys([*ids, *self.feature_columns, *self.label_columns]))
