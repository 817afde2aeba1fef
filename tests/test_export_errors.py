"""A failed ONNX export names the operation, the line of the plugin that calls it, and the fix, in a short message."""

from __future__ import annotations

import pytest

from conformance_runs import install_model, run_one_check
from conftest import Installer
from correct_plugins import MODEL
from fusionzoo.artifacts.export_lines import find_own_line
from fusionzoo.conformance import CheckResult
from fusionzoo.errors import ExportError
from fusionzoo.errors.base import MAX_MESSAGE_LENGTH
from mutant_changes import IMPORTED, POOLED, TEXT, add_before_return, add_to_init

REJECTED = {
    "rows.quantile": ("joined.quantile(0.5, dim=1)", "operator 'aten::quantile'", "FZ-O005"),
    "fft": ("torch.fft.rfft(joined, dim=1).abs()", "operator 'aten::fft_rfft'", "FZ-O005"),
    "masked_fill": ("mask.masked_fill(batch.tokens == 3, False)", "operation masked_fill with", "FZ-O042"),
    "where": ("torch.where(mask, True, batch.tokens == 3)", "operation where with", "FZ-O042"),
    "cumsum": ("mask.cumsum(dim=1)", "operator CumSum for a tensor(bool)", "FZ-O041"),
    "sort": ("mask.sort(dim=1)[0]", "operator TopK for a tensor(bool)", "FZ-O041"),
    "sin": ("torch.sin(batch.categories)", "operator Sin for a tensor(int64)", "FZ-O041"),
}


def run_export(install: Installer, *changes: tuple[str, str]) -> str:
    """Return the failure of the export of the correct model with these changes."""
    install_model(install, MODEL, *changes)
    result = run_one_check("mutant", "check_onnx_export")
    assert result.status == "failed"
    assert len(result.detail) <= MAX_MESSAGE_LENGTH
    return result.detail


@pytest.mark.parametrize("name", REJECTED)
def test_an_operation_that_cannot_be_exported_is_named_with_its_line(install: Installer, name: str) -> None:
    code, says, number = REJECTED[name]
    detail = run_export(install, (TEXT, f"{TEXT}        joined = joined + 0 * ({code}).float().sum()\n"))
    assert says in detail
    assert f"It happens in:\n  {install.folder}/acme_mutant.py, line " in detail
    assert f": joined = joined + 0 * ({code}).float().sum()"[:60] in detail
    assert detail.endswith(f"[{number}]")


def test_the_line_of_the_plugin_is_named_for_a_layer_of_torch(install: Installer) -> None:
    padded = "self.bag = nn.EmbeddingBag(spec.text.vocab_size, width, padding_idx=spec.text.pad_id)"
    bag = f"{TEXT}        chunks = self.bag(batch.tokens) if rows else tokens[:, 0, :16]\n"
    used = f"{bag}        joined = joined + sum_per_row(chunks, chunk_row, rows)\n"
    detail = run_export(install, add_to_init(padded), (TEXT, used))
    assert "embedding_bag with padding_idx" in detail
    assert "acme_mutant.py, line 36: chunks = self.bag(batch.tokens) if rows" in detail


def test_compiled_code_in_a_plugin_is_named_with_the_setting_that_replaces_it(install: Installer) -> None:
    compiled = add_to_init("self.act = torch.compile(torch.tanh, backend='eager')")
    detail = run_export(install, compiled, (TEXT, f"{TEXT}        joined = self.act(joined)\n"))
    assert "line 35: joined = self.act(joined)" in detail or "line 36: joined = self.act(joined)" in detail
    assert "remove torch.compile from the plugin; the setting torch_compile" in detail


CENTERS = "self.wide = nn.Linear(width, 512); self.centers = nn.Parameter(torch.randn(spec.num_outputs, 512))"


def run_distances(install: Installer, scale: int) -> CheckResult:
    """Return the result of the export of a model with squared distances to centers, divided by a scale, as logits."""
    distances = add_before_return(f"logits = -torch.cdist(self.wide(joined), self.centers).square() / {scale}")
    install_model(install, MODEL, add_to_init(CENTERS), distances)
    return run_one_check("mutant", "check_onnx_export")


def test_a_difference_of_large_logits_is_explained_by_their_rounding(install: Installer) -> None:
    result = run_distances(install, 1)
    assert result.status == "failed"
    assert "because the model's logits are as large as" in result.detail
    assert "Divide distances and products by the square root of their width" in result.detail
    assert result.detail.endswith("[FZ-P070]")
    assert "Tracing fixed" not in result.detail


def test_distances_that_are_scaled_export(install: Installer) -> None:
    assert run_distances(install, 512).status == "passed"


IN_INIT = "        width, self.pad_id"
FIXED = {
    "item": "logits = logits * (1 + 0.1 * mask.sum().item())",
    "condition": "logits = 2 * logits if (joined.sum() > 0 if rows == 4 else False) else logits",
    "numpy": "logits = logits * torch.from_numpy(batch.numbers.numpy()).sum()",
    "list": "logits = logits * sum(batch.numbers.sum(dim=1).tolist())",
}


@pytest.mark.parametrize("name", FIXED)
def test_a_value_that_tracing_fixes_is_named_with_its_line(install: Installer, name: str) -> None:
    detail = run_export(install, add_before_return(FIXED[name]))
    assert "Tracing fixed values in:\n" in detail
    assert f": {FIXED[name]}" in detail
    assert "text_encoder(batch)" not in detail, "core's own conditions are the same for every batch"


def test_a_loop_over_rows_is_named_with_its_line(install: Installer) -> None:
    loop = "logits = torch.stack([logits[i] for i in range(rows)]) if rows else logits"
    detail = run_export(install, add_before_return(loop))
    assert "[FZ-O007]" in detail
    assert detail.count(loop) == 1, "a line that is both named by the runtime and fixed is listed once"


def test_a_wrong_result_without_a_fixed_value_names_index_add(install: Installer) -> None:
    added = (
        "total = torch.zeros(rows, tokens.shape[-1], device=tokens.device)\n"
        "        pooled = total.index_add(0, chunk_row, (tokens.float() * mask.unsqueeze(-1)).mean(dim=1))"
    )
    detail = run_export(install, (POOLED, added))
    assert "Tracing fixed values" not in detail
    assert "or the model uses index_add" in detail


def test_an_exception_of_the_model_while_it_is_traced_names_its_line(install: Installer) -> None:
    raised = f"{TEXT}        if torch.jit.is_tracing():\n            raise LookupError('x' * 5000)\n"
    detail = run_export(install, (TEXT, raised))
    assert "LookupError: xxx" in detail
    assert "acme_mutant.py, line 36: raise LookupError" in detail


def test_a_long_message_of_torch_is_shortened_in_the_failure_of_a_check(install: Installer) -> None:
    install_model(install, MODEL, (TEXT, f"{TEXT}        raise RuntimeError('first ' + 'x' * 9000 + ' last')\n"))
    detail = run_one_check("mutant", "check_logits").detail
    assert detail.startswith("RuntimeError: first xxx")
    assert "xxx last\n  at " in detail
    assert len(detail) < 2_500


def test_a_model_with_torchs_parametrizations_passes(install: Installer) -> None:
    named = "nn.utils.parametrizations.{}"
    install_model(
        install,
        MODEL,
        (IMPORTED, f"{IMPORTED}import torch.nn.utils.parametrizations\n"),
        add_to_init(
            f"self.text = {named.format('spectral_norm')}(self.text)\n"
            f"        self.mix = {named.format('orthogonal')}(nn.Linear(width, width))\n"
            f"        self.classify = {named.format('weight_norm')}(nn.Linear(width, width))"
        ),
        ("        self.classify = nn.Linear(width, spec.num_outputs)\n", ""),
        ("logits = self.classify(", "logits = self.head(self.classify("),
        ("self.dropout(joined.tanh()))", "self.mix(self.dropout(joined.tanh()))))"),
        (
            "        width, self.pad_id",
            "        self.head = nn.Linear(settings.width, spec.num_outputs)\n        width, self.pad_id",
        ),
    )
    for check in ("check_onnx_export", "check_state_dict_is_complete", "check_overfits_small_dataset"):
        result = run_one_check("mutant", check)
        assert result.status == "passed", result.detail


def test_the_innermost_line_that_is_not_of_torch_or_core_is_the_models_own() -> None:
    core = "/".join(str(find_own_line.__code__.co_filename).split("/")[:-2])
    calls = [(f"{core}/nn/pooling.py", 3), ("/site/acme.py", 7), ("/site/acme.py", 9)]
    found = find_own_line(calls)
    assert found is not None
    assert (found.file, found.number, found.is_of_core) == ("/site/acme.py", 7, True)
    of_core = find_own_line(calls[:1])
    assert of_core is not None
    assert of_core.number == 3
    assert find_own_line([]) is None


def test_an_error_without_lines_has_the_message_alone() -> None:
    error = ExportError.failed(RuntimeError("no such operation"))
    assert str(error.at_lines([], [])) == str(error)
