"""The import of a plugin changes nothing in the process: what the conformance kit reports, and what it accepts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from conformance_runs import install_model
from conftest import Installer
from correct_plugins import MODEL
from fusionzoo.conformance.check_package import check_import_has_no_side_effects
from fusionzoo.conformance.results import ConformanceError
from fusionzoo.conformance.subject_request import SubjectRequest
from fusionzoo.registry import MODELS_GROUP
from mutant_changes import add_on_import

MODULES = (
    "import builtins, decimal, faulthandler, gc, io, locale, logging, multiprocessing, os, random, signal, socket\n"
    "import sys, threading, time, warnings\nimport numpy as np\n"
)
WAITING_THREAD = "threading.Thread(target=threading.Event().wait, name='poll', daemon={}).start()"
CHANGES: dict[str, dict[str, str]] = {
    "system": {
        "os.environ['OMP_NUM_THREADS'] = '16'": "changes the environment variable OMP_NUM_THREADS from '1' to '16'",
        "os.environ['ACME_MODE'] = 'fast'": "sets the environment variable ACME_MODE to 'fast'",
        "del os.environ['PATH']": "removes the environment variable PATH, which was ",
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)": "changes the handler of SIGTERM from SIG_DFL to SIG_IGN",
        "signal.alarm(1000)": "changes the timer of signal.alarm from 'off' to 'on'",
        "socket.setdefaulttimeout(1)": "changes the default timeout of sockets from None to 1.0",
        "os.chdir('/')": "changes the working directory from ",
        "os.umask(0o037)": "changes the umask from ",
        "locale.setlocale(locale.LC_ALL, 'C.UTF-8')": "changes the locale from ",
        "time.tzname = ('XYZ', 'XYZ')": "changes the time zone from ",
    },
    "python": {
        "sys.setrecursionlimit(50_000)": "changes Python's recursion limit from 1000 to 50000",
        "sys.setswitchinterval(0.5)": "changes Python's switch interval from 0.005 to 0.5",
        "sys.path.insert(0, '/somewhere')": "changes sys.path: adds '/somewhere'",
        "sys.argv.reverse(); sys.argv.append('x')": "changes sys.argv: adds 'x'",
        "sys.excepthook = lambda *error: None": "changes sys.excepthook from sys.excepthook to acme_mutant.<lambda>",
        "threading.excepthook = print": "changes threading.excepthook from ",
        "gc.set_threshold(9)": "changes the thresholds of garbage collection from ",
        "gc.disable()": "changes garbage collection from 'on' to 'off'",
        "faulthandler.enable(sys.__stderr__)": "changes faulthandler from 'off' to 'on'",
        "decimal.getcontext().prec = 5": "changes the decimal context: prec from 28 to 5",
        "builtins.breakpoint = None": "changes builtins: breakpoint from builtins.breakpoint to None",
        "multiprocessing.set_start_method('spawn')": "changes multiprocessing's start method from None to 'spawn'",
        "random.seed(1)": "sets Python's seed or draws random numbers with random",
    },
    "logs": {
        "warnings.filterwarnings('error', message='mutant')": "changes the warning filters: adds ('error'",
        "warnings.showwarning = print": "changes warnings.showwarning from ",
        "logging.getLogger('acme').setLevel('DEBUG')": "sets the level of the logger 'acme' to 'DEBUG'",
        "logging.getLogger('acme').propagate = False": "sets propagate of the logger 'acme' to False",
        "logging.getLogger('acme').addHandler(logging.StreamHandler())": "sets the handlers of the logger 'acme' to [<",
        "logging.disable()": "changes the level below which logging is off from 'NOTSET' to 'CRITICAL'",
        "print('hello')": "prints 'hello' to stdout",
        "print('hello', file=sys.stderr)": "prints 'hello' to stderr",
    },
    "threads": {
        WAITING_THREAD.format(True): "starts the thread 'poll'",
        "threading.Thread(target=str, name='short').start()": "starts the thread 'short'",
        "sys.stdout = io.StringIO()": "changes sys.stdout from ",
        "sys.path.reverse()": "changes sys.path: another order or number of items",
    },
    "numpy": {
        "np.seterr(all='raise')": "changes numpy's error handling: divide from 'warn' to 'raise'",
        "np.set_printoptions(precision=3)": "changes numpy's print options: precision from 8 to 3",
        "np.random.seed(1)": "sets numpy's seed or draws random numbers with numpy",
    },
    "torch": {
        "torch.set_grad_enabled(False)": "changes torch's gradient mode from True to False",
        "torch.use_deterministic_algorithms(True)": "changes torch's deterministic algorithms from False to True",
        "torch.set_default_device('meta')": "changes torch's default device from cpu to meta",
        "torch.set_default_dtype(torch.float64)": "changes torch's default dtype from torch.float32 to torch.float64",
        "torch.set_num_threads(3)": "changes torch's number of threads from 1 to 3",
        "torch.set_num_interop_threads(3)": "changes torch's number of threads between operations from ",
        "torch.set_float32_matmul_precision('medium')": "changes torch's precision of matrix products from 'highest' ",
        "torch.backends.cudnn.benchmark = True": "changes torch.backends.cudnn.benchmark from False to True",
        "torch.backends.cuda.enable_flash_sdp(False)": "changes torch's flash attention from True to False",
        "torch.autograd.set_detect_anomaly(True)": "changes torch's anomaly detection from False to True",
        "torch.multiprocessing.set_sharing_strategy('file_system')": "changes torch's sharing strategy from ",
        "torch.manual_seed(1)": "sets torch's seed or draws random numbers with torch",
    },
}


def find_side_effects(install: Installer, code: str) -> str:
    """Install the correct model with this code at the module level, and return the failure of the check; empty if none.

    This process does not import the plugin.
    """
    install_model(install, MODEL, add_on_import(code))
    subject: Any = SimpleNamespace(request=SubjectRequest(MODELS_GROUP, "mutant"))
    try:
        check_import_has_no_side_effects(cast(Any, subject))
    except ConformanceError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("family", CHANGES)
@pytest.mark.usefixtures("forked_checks")
def test_a_change_of_the_process_is_named_with_both_values_and_a_fix(install: Installer, family: str) -> None:
    detail = find_side_effects(install, MODULES + "\n".join(CHANGES[family]))
    assert detail.startswith("importing the plugin ")
    effects, _, fix = detail.removeprefix("importing the plugin ").partition(". Every process")
    assert [text for text in CHANGES[family].values() if text not in effects] == [], effects
    assert effects.count("; ") == len(CHANGES[family]) - 1, f"nothing else has changed: {effects}"
    assert "Fix: " in fix


LIBRARY = """
import gc, locale, os, signal, socket, sys, threading, warnings
import numpy as np, torch

os.environ["ACME_LIBRARY"] = "1"
os.environ["OMP_NUM_THREADS"] = "3"
threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
socket.setdefaulttimeout(3)
sys.path.append("/somewhere")
sys.setrecursionlimit(4000)
sys.excepthook = lambda *error: None
warnings.filterwarnings("ignore", message="library")
np.seterr(all="raise")
torch.set_grad_enabled(False)
torch.set_num_threads(3)
gc.disable()
print("hello from a library")
print("hello from a library", file=sys.stderr)
"""
HARMLESS = """
import contextlib, logging, warnings
import numpy as np
logging.getLogger(__name__).addHandler(logging.NullHandler())
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    warnings.warn("not shown")
warnings.warn("shown, but by the filters of the user", DeprecationWarning)
with np.errstate(all="ignore"), torch.no_grad():
    HALF = np.float32(1) / 2
GENERATOR = np.random.default_rng(0).normal()
"""


@pytest.mark.usefixtures("forked_checks")
def test_what_a_library_changes_when_it_is_imported_is_not_reported(install: Installer) -> None:
    install("acme-library", source=LIBRARY)
    assert find_side_effects(install, "import acme_library") == ""


@pytest.mark.usefixtures("forked_checks")
def test_what_own_code_restores_is_not_reported(install: Installer) -> None:
    assert find_side_effects(install, HARMLESS) == ""


@pytest.mark.usefixtures("forked_checks")
def test_what_a_library_changes_when_the_plugin_calls_it_is_reported(install: Installer) -> None:
    install("acme-library", source="import os\n\ndef setup():\n    os.environ['ACME_MODE'] = 'fast'\n")
    detail = find_side_effects(install, "import acme_library\nacme_library.setup()")
    assert "sets the environment variable ACME_MODE to 'fast'" in detail


@pytest.mark.usefixtures("forked_checks")
def test_every_change_is_listed_once_also_if_the_import_fails(install: Installer) -> None:
    code = "import os\nos.environ['ACME_MODE'] = 'fast'\ntorch.set_num_threads(3)\nprint('one')\nraise LookupError"
    detail = find_side_effects(install, code)
    for text in ("ACME_MODE to 'fast'", "changes torch's number of threads from 1 to 3", "prints 'one' to stdout"):
        assert detail.count(text) == 1, detail


def test_the_check_in_fresh_processes_ends_although_a_thread_that_is_no_daemon_runs(install: Installer) -> None:
    assert "starts the thread 'poll'" in find_side_effects(install, MODULES + WAITING_THREAD.format(False))
