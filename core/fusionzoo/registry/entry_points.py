"""The entry-point groups of plugins, and the names that fusionzoo's own plugins provide.

The name of an entry point is what `model_class` or `text_encoder` names. Its value is a module or object with hooks.
"""

from __future__ import annotations

CORE_DISTRIBUTION = "fusionzoo"
MODELS_GROUP = "fusionzoo.models"
TEXT_ENCODERS_GROUP = "fusionzoo.text_encoders"
GROUP_KINDS = {MODELS_GROUP: "model_class", TEXT_ENCODERS_GROUP: "text_encoder"}
FUSION_PREFIX = "multimodal_"  # of the names of models that read text and table

FIRST_PARTY_ENCODERS = ("bert", "cnn", "lstm", "tfidf")  # each provides a text encoder, a text model and a fusion
FIRST_PARTY_FUSIONS = ("moe", "gate_fusion", "cross_attn")
FIRST_PARTY_PLUGINS = (*FIRST_PARTY_ENCODERS, *FIRST_PARTY_FUSIONS)


def first_party_distributions(group: str) -> dict[str, str]:
    """Return the distribution of each name that fusionzoo's own plugins provide in a group."""
    names = {plugin: plugin for plugin in FIRST_PARTY_ENCODERS}
    if group == MODELS_GROUP:
        names |= {f"{FUSION_PREFIX}{plugin}": plugin for plugin in FIRST_PARTY_PLUGINS}
    return {name: f"{CORE_DISTRIBUTION}-{plugin.replace('_', '-')}" for name, plugin in names.items()}
