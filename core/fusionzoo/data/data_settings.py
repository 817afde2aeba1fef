"""The settings that decide how rows are read and encoded; saved with the model, since scoring needs them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

ChunkKeep = Literal["head", "tail", "head_tail"]
TextStep = Literal["dialogue_splitter", "html_normalizer", "emoji_remover", "text_normalizer"]
MAX_CLASSES = 100_000
Column = Annotated[str, Field(min_length=1)]


class DataSettings(BaseModel):
    """Which columns a row has, what each is for, and how its text becomes chunks of tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    id_name: Column = Field(description="Column that identifies a row; comes out as it went in.")
    label_name: Column = Field(description="Column to predict.")
    text_name: Column | list[Column] | None = Field(
        None, description="Text column, or a list of them, joined as 'column: text'."
    )
    cat_field_list: list[Column] = Field([], description="Category columns.")
    tab_field_list: list[Column] = Field([], description="Number columns.")
    num_classes: int = Field(ge=2, le=MAX_CLASSES, description="Number of classes.")
    classes: list[bool | int | float | str] | None = Field(
        None, description="The labels in order (the last of two is the positive one); by default sorted."
    )

    text_processing_steps: list[TextStep] = Field(
        ["dialogue_splitter", "html_normalizer", "emoji_remover", "text_normalizer"],
        description="Cleaning steps, in this order; [] leaves the text as it is.",
    )
    tokenizer: str = Field(
        "bert-base-uncased", min_length=1, description="Hugging Face name or folder, or 'word' (fitted on train)."
    )
    max_sen_len: int = Field(512, ge=4, le=1_000_000, description="Tokens per chunk at most, special ones included.")
    max_total_chunks: int | None = Field(
        10, ge=1, description="Chunks per row at most; further text is dropped and counted. null: no limit."
    )
    chunk_keep: ChunkKeep = Field(
        "head", description="Which chunks of a row stay where max_total_chunks bites: first, last, or some of both."
    )
    word_vocab_size: int = Field(30_000, ge=3, description="Words kept by tokenizer 'word', most frequent first.")
    word_min_count: int = Field(2, ge=1, description="Rarer words are unknown to tokenizer 'word'.")
    embeddings: str = Field(
        "word2vec", min_length=1, description="Vectors for tokenizer 'word': word2vec, fasttext, random, or a file."
    )
    embedding_dim: int = Field(100, ge=1, le=10_000, description="Width of trained or random word vectors.")

    min_category_count: int = Field(2, ge=1, description="A category rarer than this in train is UNKNOWN.")
    clip_outliers: float | None = Field(
        None,
        gt=0,
        le=1e6,
        description="Clip numbers so many interquartile ranges beyond the quartiles of train (Tukey's fences; 3 is "
        "'far out'). null: no clipping.",
    )

    @property
    def text_columns(self) -> list[str]:
        """The text columns, in order; empty where the job has no text."""
        if self.text_name is None:
            return []
        return [self.text_name] if isinstance(self.text_name, str) else list(self.text_name)

    @property
    def columns(self) -> list[str]:
        """All columns that the job reads, each once, in a fixed order."""
        named = [self.id_name, *self.text_columns, *self.cat_field_list, *self.tab_field_list, self.label_name]
        return list(dict.fromkeys(named))
