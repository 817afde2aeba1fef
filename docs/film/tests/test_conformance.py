"""Run fusionzoo's conformance checks on this plugin: `pip install -e . pytest`, then `pytest`."""

from fusionzoo.conformance import parametrize_with_checks

test_conformance = parametrize_with_checks("multimodal_film")
