"""Faulty plugins whose import does more than define names. See `test_conformance_imports.py` for more kinds."""

from __future__ import annotations

from correct_plugins import Mutant
from mutant_changes import add_on_import, make_mutants

IMPORT_MUTANTS: tuple[Mutant, ...] = (
    *make_mutants(
        "check_import_has_no_side_effects",
        seeds_on_import=add_on_import("torch.manual_seed(0)"),
        seeds_python_on_import=add_on_import("import random\nrandom.seed(0)"),
        draws_on_import=add_on_import("START = torch.randn(2)"),
        builds_a_layer_on_import=add_on_import("from torch import nn\nSHARED = nn.Linear(2, 2)"),
        filters_warnings_on_import=add_on_import(
            "import warnings\nwarnings.filterwarnings('ignore', message='mutant')"
        ),
        ignores_warnings_on_import=add_on_import("import warnings\nwarnings.simplefilter('ignore', UserWarning)"),
        configures_logging_on_import=add_on_import("import logging\nlogging.basicConfig(level='INFO')"),
        adds_a_handler_on_import=add_on_import(
            "import logging\nlogging.getLogger().addHandler(logging.StreamHandler())"
        ),
        sets_cores_log_level_on_import=add_on_import(
            "import logging\nlogging.getLogger('fusionzoo').setLevel('ERROR')"
        ),
        prints_on_import=add_on_import("print('hello from a mutant')"),
        starts_a_program_on_import=add_on_import("import subprocess\nsubprocess.run(['true'])"),
        connects_on_import=add_on_import(
            "import contextlib, socket\nwith contextlib.suppress(OSError):\n"
            "    socket.create_connection(('127.0.0.1', 9), timeout=1).close()"
        ),
        sets_an_environment_variable_on_import=add_on_import("import os\nos.environ['ACME_MUTANT'] = '1'"),
        starts_a_thread_on_import=add_on_import("import threading\nthreading.Thread(target=str).start()"),
        prints_to_stderr_on_import=add_on_import("import sys\nprint('hello from a mutant', file=sys.stderr)"),
    ),
)
