"""Metrics of plugins that cannot be registered or computed."""

from __future__ import annotations

from collections.abc import Sequence

from fusionzoo.errors.base import ZooError
from fusionzoo.errors.plugin_errors import Claim, describe_exception
from fusionzoo.errors.wording import cut, list_names, quote_name


class PluginMetricError(ZooError):
    """A metric that a plugin registers is declared wrongly, or its function does not return a finite number."""

    @classmethod
    def not_a_list(cls, claim: Claim, returned: object) -> PluginMetricError:
        """The hook `metrics` returned something other than a list of `PluginMetric`."""
        message = f"metrics() returned {cut(repr(returned), 200)}, which is not a list of PluginMetric"
        return cls._in_plugin(claim, message, "return a list of fusionzoo.hookspecs.PluginMetric", "FZ-P036")

    @classmethod
    def malformed_name(cls, claim: Claim, name: object, max_length: int) -> PluginMetricError:
        """The name of a metric is not in snake_case, is too long, or begins with `val_`, as in `val_loss`."""
        message = f"a metric has the name {cut(repr(name), 100)}"
        fix = f"use a-z, 0-9 and single _ between words, not val_ at the beginning, and at most {max_length} characters"
        return cls._in_plugin(claim, message, fix, "FZ-P037")

    @classmethod
    def taken_name(cls, claim: Claim, name: str) -> PluginMetricError:
        """A metric has the name of a metric of fusionzoo, or of another metric of the plugin."""
        message = f"its metric {quote_name(name)} has the name of another metric of the plugin or of fusionzoo"
        return cls._in_plugin(claim, message, "rename it", "FZ-P029")

    @classmethod
    def wrong_field(cls, claim: Claim, name: str, field: str, value: object, expected: str) -> PluginMetricError:
        """A field of a metric has a value of the wrong kind."""
        message = f"`{field}` of its metric {quote_name(name)} is {cut(repr(value), 200)}, not {expected}"
        return cls._in_plugin(claim, message, f"give {expected}", "FZ-P030")

    @classmethod
    def raised(cls, claim: Claim, name: str, rows: str, cause: BaseException) -> PluginMetricError:
        """The function of a metric raised an exception."""
        message = f"its metric {quote_name(name)} raised {describe_exception(cause)} for {rows}"
        fix = "correct the function; it may not change its arguments, and returns None where the metric is undefined"
        return cls._in_plugin(claim, message, fix, "FZ-P031")

    @classmethod
    def not_a_finite_number(cls, claim: Claim, name: str, rows: str, value: object) -> PluginMetricError:
        """The function of a metric returned NaN, infinity, or something other than a number."""
        message = f"its metric {quote_name(name)} returned {cut(repr(value), 200)} for {rows}"
        fix = "return a finite number, or None where the metric is undefined"
        return cls._in_plugin(claim, message, fix, "FZ-P032")

    @classmethod
    def undefined_on_val(cls, claim: Claim, name: str) -> PluginMetricError:
        """`early_stop_metric` is a metric of a plugin, whose function returns None for the labels of val."""
        message = (
            f"early_stop_metric val/{name} is undefined for the labels of val: the function of {claim} returns None."
        )
        return cls(message, "add other rows to val, or set early_stop_metric: val_loss.", "FZ-P034")

    @classmethod
    def of_two_plugins(cls, name: str, claims: Sequence[Claim]) -> PluginMetricError:
        """The model and its text encoder register different metrics of the same name."""
        message = f"The metric {quote_name(name)} is registered by {list_names([str(claim) for claim in claims])}."
        fix = f"choose another text encoder, or rename the metric in {claims[0].owner} or {claims[1].owner}."
        return cls(message, fix, "FZ-P033")

    @classmethod
    def _in_plugin(cls, claim: Claim, message: str, fix: str, code: str) -> PluginMetricError:
        return cls(f"{claim} is broken: {message}.", f"in {claim.owner}, {fix}.", code)
