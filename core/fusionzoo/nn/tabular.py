"""The table side: every category and number becomes a vector of its own, then all of them one row vector."""

from __future__ import annotations

import warnings
from typing import Literal

import torch
from rtdl_num_embeddings import PeriodicEmbeddings, PiecewiseLinearEmbeddings
from torch import Tensor, nn

from fusionzoo.nn.schema import Batch, InputSpec, NumberField

MIN_BIN_WIDTH = 1e-4  # standardised units; narrower bins have slopes that float32 cannot carry
NumericEmbedding = Literal["piecewise_linear", "periodic"]


class FieldEmbedding(nn.Module):
    """Each table field as a vector [rows, fields, dim]: categories first, then numbers.

    Categories have an embedding each (MISSING and UNKNOWN are ids like others). Numbers have piecewise-linear
    embeddings over their training quantiles, or periodic ones (Gorishniy et al. 2022, arXiv 2203.05556); a missing
    number has a learned vector of its own.

    Raises:
        ValueError: the spec has no table field.
    """

    def __init__(self, spec: InputSpec, dim: int, numeric_embedding: NumericEmbedding = "piecewise_linear") -> None:
        super().__init__()
        if not spec.categories and not spec.numbers:
            raise ValueError("a table needs at least one category or number field")
        self.dim, self.fields = dim, len(spec.categories) + len(spec.numbers)
        self.categories = nn.ModuleList(nn.Embedding(c.cardinality, dim) for c in spec.categories)
        self.numbers = _number_embeddings(spec.numbers, dim, numeric_embedding) if spec.numbers else None
        self.missing = nn.Parameter(torch.empty(len(spec.numbers), dim)) if spec.numbers else None
        if self.missing is not None:
            nn.init.normal_(self.missing, std=0.1)

    def forward(self, batch: Batch) -> Tensor:
        parts = [embedding(batch.categories[:, i]).unsqueeze(1) for i, embedding in enumerate(self.categories)]
        if self.numbers is not None and self.missing is not None:
            parts.append(torch.where(batch.numbers_missing.unsqueeze(-1), self.missing, self.numbers(batch.numbers)))
        return torch.cat(parts, dim=1)


class TabularEncoder(nn.Module):
    """The table fields of a batch as one vector per row [rows, dim]: each field's embedding, joined, and two layers."""

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
        """The embedded fields [rows, fields, field_dim] as one vector per row [rows, dim]."""
        row: Tensor = self.project(fields.flatten(start_dim=1))
        return row


def _number_embeddings(fields: tuple[NumberField, ...], dim: int, kind: NumericEmbedding) -> nn.Module:
    if kind == "periodic":
        periodic: nn.Module = PeriodicEmbeddings(len(fields), dim, lite=False)
        return periodic
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*just two bin edges.*")  # a yes-or-no number is well served by it
        embeddings: nn.Module = PiecewiseLinearEmbeddings([_bins(f) for f in fields], dim, activation=True, version="A")
    return embeddings


def _bins(field: NumberField) -> Tensor:
    """Edges at least `SMALLEST_BIN` apart; around the one value of a constant column, or without any, [-1, 1]."""
    edges: list[float] = []
    for edge in field.edges:
        if not edges or edge - edges[-1] >= MIN_BIN_WIDTH:
            edges.append(edge)
    return torch.tensor(edges if len(edges) > 1 else [-1.0, 1.0], dtype=torch.float32)
