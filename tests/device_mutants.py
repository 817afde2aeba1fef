"""Faulty plugins that work on a CPU and fail on a GPU."""

from __future__ import annotations

from correct_plugins import Mutant
from mutant_changes import FEATURES_READ, TEXT, add_before_return, add_to_init, make_mutants

DEVICE_MUTANTS: tuple[Mutant, ...] = (
    *make_mutants(
        "check_forward_on_a_device",
        positions_on_the_cpu=(
            FEATURES_READ,
            f"tokens = tokens / (1 + 1e-3 * torch.arange(tokens.shape[2]))\n        {FEATURES_READ}",
        ),
        constant_as_an_attribute=[
            add_to_init("self.scale = torch.ones(width)"),
            (TEXT, f"{TEXT}        joined = joined * self.scale\n"),
        ],
        zeros_in_training=add_before_return("logits = logits + torch.zeros(logits.shape) if self.training else logits"),
        lengths_on_the_gpu=[
            add_to_init("self.lstm = nn.LSTM(text_encoder.dim, text_encoder.dim, batch_first=True)"),
            (
                FEATURES_READ,
                "if len(tokens) and self.training:\n"
                "            packed = nn.utils.rnn.pack_padded_sequence(\n"
                "                tokens, mask.sum(dim=1), batch_first=True, enforce_sorted=False\n"
                "            )\n"
                "            read = nn.utils.rnn.pad_packed_sequence(\n"
                "                self.lstm(packed)[0], batch_first=True, total_length=tokens.shape[1]\n"
                "            )[0]\n"
                "            tokens = tokens + read\n"
                f"        {FEATURES_READ}",
            ),
        ],
        logits_on_the_cpu=add_before_return("logits = logits.cpu()"),
    ),
)
