"""Embed the table: each category and number becomes a vector, and all of them together one vector per row."""

from __future__ import annotations

import warnings
from typing import Literal

import torch
from rtdl_num_embeddings import PeriodicEmbeddings, PiecewiseLinearEmbeddings
from torch import Tensor, nn

from fusionzoo.nn.schema import Batch, InputSpec, NumberField

MIN_BIN_WIDTH = 1e-4  # in standard deviations; in narrower bins, slopes exceed the precision of float32
NumericEmbedding = Literal["piecewise_linear", "periodic"]


class FieldEmbedding(nn.Module):
    """Embed each table field: [rows, fields, dim], categories first, then numbers.

    Each category field has an embedding table (MISSING and UNKNOWN are ids like others). Numbers have piecewise-linear
    embeddings over their training quantiles, or periodic ones (Gorishniy et al. 2022, arXiv 2203.05556). Each number
    field has a learned vector for missing values.

    Raises:
        ValueError: the spec has no table field.
    """

    def __init__(self, spec: InputSpec, dim: int, numeric_embedding: NumericEmbedding = "piecewise_linear") -> None:
        super().__init__()
        if not spec.categories and not spec.numbers:
            raise ValueError("a table needs at least one category or number field")
        self.dim, self.fields = dim, len(spec.categories) + len(spec.numbers)
        self.categories = nn.ModuleList(nn.Embedding(c.cardinality, dim) for c in spec.categories)
        self.numbers = _embed_numbers(spec.numbers, dim, numeric_embedding) if spec.numbers else None
        self.missing = nn.Parameter(torch.empty(len(spec.numbers), dim)) if spec.numbers else None
        if self.missing is not None:
            nn.init.normal_(self.missing, std=0.1)

    def forward(self, batch: Batch) -> Tensor:
        parts = [embedding(batch.categories[:, i]).unsqueeze(1) for i, embedding in enumerate(self.categories)]
        if self.numbers is not None and self.missing is not None:
            parts.append(torch.where(batch.numbers_missing.unsqueeze(-1), self.missing, self.numbers(batch.numbers)))
        return torch.cat(parts, dim=1)


class TabularEncoder(nn.Module):
    """Encode the table as one vector per row [rows, dim]: embed each field, concatenate, apply two linear layers."""

    def __init__(
        self,
        spec: InputSpec,
        dim: int,
        field_dim: int = 32,
        dropout: float = 0.0,
        numeric_embedding: NumericEmbedding = "piecewise_linear",
    ) -> None:
        super().__init__()
        self.dim = dim
        self.fields = FieldEmbedding(spec, field_dim, numeric_embedding)
        width = self.fields.fields * field_dim
        self.project = nn.Sequential(nn.Linear(width, dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(dim, dim))

    def forward(self, batch: Batch) -> Tensor:
        return self.join(self.fields(batch))

    def join(self, fields: Tensor) -> Tensor:
        """Combine embedded fields [rows, fields, field_dim] to one vector per row [rows, dim]."""
        row: Tensor = self.project(fields.flatten(start_dim=1))
        return row


def _embed_numbers(fields: tuple[NumberField, ...], dim: int, kind: NumericEmbedding) -> nn.Module:
    if kind == "periodic":
        periodic: nn.Module = PeriodicEmbeddings(len(fields), dim, lite=False)
        return periodic
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*just two bin edges.*")  # enough for a 0/1 column
        embeddings: nn.Module = PiecewiseLinearEmbeddings(
            [_bin_edges(f) for f in fields], dim, activation=True, version="A"
        )
    return embeddings


def _bin_edges(field: NumberField) -> Tensor:
    """Return edges at least `MIN_BIN_WIDTH` apart; [-1, 1] for a constant column or one without edges."""
    edges: list[float] = []
    for edge in field.edges:
        if not edges or edge - edges[-1] >= MIN_BIN_WIDTH:
            edges.append(edge)
    return torch.tensor(edges if len(edges) > 1 else [-1.0, 1.0], dtype=torch.float32)
