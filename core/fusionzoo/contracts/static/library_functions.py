"""Functions of the standard library and of command-line libraries that pass values and functions on."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import islice, product

from fusionzoo.contracts.static import text as texts
from fusionzoo.contracts.static.builtin_functions import DICT, LIST, MAP, SAME
from fusionzoo.contracts.static.environment import VARIABLE_KEYS, find_default, read_variable
from fusionzoo.contracts.static.machine import Arguments, Call, Machine
from fusionzoo.contracts.static.operators import binary_texts, get_constant_text, update_mapping
from fusionzoo.contracts.static.path_operations import as_texts
from fusionzoo.contracts.static.reflection_functions import IMPORT_FUNCTION, PARSE_LITERAL
from fusionzoo.contracts.static.values import (
    NONE,
    UNKNOWN,
    Class,
    External,
    Instance,
    Mapping,
    Partial,
    Text,
    Tuple,
    Value,
    constant,
    join,
    join_all,
    text,
)

MAX_FOLD = 64
MAX_PRODUCTS = 128


def _partial(machine: Machine, call: Call) -> Value:
    positional = call.arguments.positional
    return (Partial(call.first(), tuple(positional[1:]), tuple(call.arguments.keywords.items())),)


def _reduce(machine: Machine, call: Call) -> Value:
    items, is_exact = machine.iterate(call.get(1) or UNKNOWN, call.node)
    if len(call.arguments.positional) > 2:
        items = [call.arguments.positional[2], *items]
    if not items or len(items) > MAX_FOLD:
        return UNKNOWN
    result = items[0]
    for item in items[1:]:
        result = machine.call(call.first(), Arguments([result, item]), call.node) or UNKNOWN
    return result if is_exact else join(result, UNKNOWN)


def _operator(symbol: str) -> Callable[[Machine, Call], Value]:
    def model(machine: Machine, call: Call) -> Value:
        return binary_texts(symbol, call.first(), call.get(1) or UNKNOWN)

    return model


def _chain(machine: Machine, call: Call) -> Value:
    values = call.arguments.positional
    is_exact = not call.arguments.rest
    if call.name.endswith("from_iterable"):
        values, is_exact = machine.iterate(call.first(), call.node)
    found: list[Value] = []
    for value in values:
        items, known = machine.iterate(value, call.node)
        found += items
        is_exact &= known
    return (machine.heap.sequence(found, is_exact),)


def _product(machine: Machine, call: Call) -> Value:
    columns = [machine.iterate(value, call.node) for value in call.arguments.positional]
    rows = list(islice(product(*(items[:MAX_PRODUCTS] for items, _ in columns)), MAX_PRODUCTS))
    is_exact = all(exact for _, exact in columns) and len(rows) < MAX_PRODUCTS
    return (machine.heap.sequence([(Tuple(tuple(row)),) for row in rows], is_exact),)


def _starmap(machine: Machine, call: Call) -> Value:
    rows, is_exact = machine.iterate(call.get(1) or UNKNOWN, call.node)
    results = []
    for row in rows:
        items, known = machine.iterate(row, call.node)
        arguments = Arguments(items) if known else Arguments(rest=join_all(items))
        results.append(machine.call(call.first(), arguments, call.node) or UNKNOWN)
    return (machine.heap.sequence(results, is_exact),)


def _replace(machine: Machine, call: Call) -> Value:
    found = []
    for atom in call.first():
        if isinstance(atom, Instance):
            copied = machine.heap.instance(atom.owner, atom.kind)
            copied.attributes = {**atom.attributes, **call.arguments.keywords}
            found.append((copied,))
    return join(*found) or UNKNOWN


def _as_dict(machine: Machine, call: Call) -> Value:
    found = [
        (machine.heap.mapping({Text(name): value for name, value in atom.attributes.items()}),)
        for atom in call.first()
        if isinstance(atom, Instance)
    ]
    return join(*found) or UNKNOWN


def _field(machine: Machine, call: Call) -> Value:
    """Model `dataclasses.field` and `pydantic.Field`."""
    found = machine.heap.instance(None, "field")
    default = call.get(0 if call.name.startswith("pydantic") else -1, "default")
    factory = call.get(-1, "default_factory") or call.get(-1, "factory")
    if default is not None and default != constant(...):
        found.attributes["default"] = default
    elif factory is not None:
        found.attributes["factory"] = factory
    found.attributes |= {key: value for key in VARIABLE_KEYS if (value := call.get(-1, key)) is not None}
    return (found,)


def _namespace(machine: Machine, call: Call) -> Value:
    found = machine.heap.instance(None, "namespace")
    found.attributes |= call.arguments.keywords
    return (found,)


def _named_tuple(machine: Machine, call: Call) -> Value:
    fields = get_constant_text(call.get(1, "field_names"))
    names = [] if fields is None else fields.replace(",", " ").split()
    if fields is None:
        names = [name for item in machine.iterate(call.get(1) or UNKNOWN, call.node)[0] for name in as_texts(item)]
    defaults = call.arguments.keywords.get("defaults")
    values = [] if defaults is None else machine.iterate(defaults, call.node)[0]
    padded: list[Value] = [*[()] * (len(names) - len(values)), *values]
    owner = Class(get_constant_text(call.get(0)) or "?", machine.frame.module, (), ())
    owner.roles, owner.fields = frozenset({"namedtuple"}), dict(zip(names, padded, strict=False))
    owner.serial, owner.token = machine.heap.tick(), machine.heap.token
    return (owner,)


def _enumeration(machine: Machine, call: Call) -> Value:
    members = DICT(machine, Call("builtins.dict", Arguments([call.get(1) or UNKNOWN]), call.node))
    owner = Class(get_constant_text(call.get(0)) or "?", machine.frame.module, (), (call.name,))
    owner.roles = frozenset({"enum"})
    for atom in members:
        for key, value in atom.entries.items() if isinstance(atom, Mapping) else ():
            if isinstance(key, Text):
                member = machine.heap.instance(owner, "enum")
                member.attributes |= {"value": value, "name": (key,)}
                owner.attributes[key.value] = (member,)
    return (owner,)


def _default_dict(machine: Machine, call: Call) -> Value:
    found = machine.heap.mapping()
    for value in call.arguments.positional[1:]:
        update_mapping(machine, found, value)
    found.rest = machine.call(call.first(), Arguments(), call.node) if call.first() != NONE else ()
    return (found,)


def _chain_map(machine: Machine, call: Call) -> Value:
    found = machine.heap.mapping()
    for value in reversed(call.arguments.positional):
        update_mapping(machine, found, value)
    return (found,)


def _template(machine: Machine, call: Call) -> Value:
    found = machine.heap.instance(None, "template")
    found.attributes["template"] = call.first()
    return (found,)


def substitute(machine: Machine, call: Call, template: Value) -> Value:
    """Model `string.Template.substitute`."""
    values = dict(call.arguments.keywords)
    for atom in call.arguments.positional[0] if call.arguments.positional else ():
        if isinstance(atom, Mapping):
            values |= {key.value: value for key, value in atom.entries.items() if isinstance(key, Text)}

    def fill(match: re.Match[str]) -> str:
        name = match["named"] or match["braced"]
        if name is None:
            return "$"
        return as_texts(values.get(name, UNKNOWN))[0] if len(values.get(name, ())) == 1 else texts.UNKNOWN_PART

    pattern = re.compile(r"\$(?:(?P<escaped>\$)|(?P<named>[A-Za-z_]\w*)|\{(?P<braced>[A-Za-z_]\w*)\})")
    return join(*(text(pattern.sub(fill, one)) for one in as_texts(template)))


def _get_variable(machine: Machine, call: Call) -> Value:
    default = find_default(call.get(1, "default"))
    return read_variable(machine, call.get(0, "key") or UNKNOWN, call.node, default)


def _pop_variable(machine: Machine, call: Call) -> Value:
    return read_variable(machine, call.first(), call.node, call.get(1, "default"))


def _default_variable(machine: Machine, call: Call) -> Value:
    name = get_constant_text(call.get(0))
    if name is not None and Text(name) not in machine.environment.entries:
        machine.environment.entries[Text(name)] = call.get(1) or UNKNOWN
        machine.environment.optional.add(Text(name))
    return call.get(1) or UNKNOWN


def _update_environment(machine: Machine, call: Call) -> Value:
    for value in call.arguments.positional:
        update_mapping(machine, machine.environment, value)
    for name, value in call.arguments.keywords.items():
        machine.heap.set_item(machine.environment, Text(name), value)
    return NONE


def _copy_environment(machine: Machine, call: Call) -> Value:
    return (External("os.environ"),)


def _add_root(machine: Machine, call: Call) -> Value:
    """Look for modules of the project where the script adds a folder to `sys.path`."""
    value = call.get(1) if call.name.endswith("insert") else call.get(0)
    script = machine.frames[0].module.path
    for path in as_texts(value or UNKNOWN):
        known = path.replace(texts.CODE_PART, str(script.parent))
        if texts.is_known(known):
            machine.finder.add_root(script.parent / known)
    return NONE


def _run_target(machine: Machine, call: Call) -> Value | None:
    """Model threads and processes: their target is called with its arguments."""
    target = call.arguments.keywords.get("target") or call.get(1) or ()
    positional = call.arguments.keywords.get("args")
    items, is_exact = machine.iterate(positional, call.node) if positional else ([], True)
    keywords = call.arguments.keywords.get("kwargs", ())
    arguments = Arguments(items if is_exact else [], {}, () if is_exact else join_all(items))
    for atom in keywords:
        if isinstance(atom, Mapping):
            arguments.keywords |= {key.value: value for key, value in atom.entries.items() if isinstance(key, Text)}
    machine.call(target, arguments, call.node)
    return None


def _spawn(machine: Machine, call: Call) -> Value:
    """Model launchers that call a function with the number of a process and further arguments."""
    positional = call.get(1, "args")
    items, is_exact = machine.iterate(positional, call.node) if positional else ([], True)
    is_numbered = call.name.endswith("spawn")
    arguments = Arguments([*([UNKNOWN] if is_numbered else []), *items], {}, () if is_exact else UNKNOWN)
    return machine.call(call.get(0, "fn") or call.get(0, "function") or UNKNOWN, arguments, call.node) or NONE


def _call_later(machine: Machine, call: Call) -> Value:
    """Model functions that call their first argument with the others, such as `asyncio.to_thread`."""
    arguments = Arguments(call.arguments.positional[1:], call.arguments.keywords, call.arguments.rest)
    return machine.call(call.first(), arguments, call.node) or UNKNOWN


LIBRARY_FUNCTIONS: dict[str, Callable[[Machine, Call], Value | None]] = {
    "functools.partial": _partial,
    "functools.reduce": _reduce,
    "operator.truediv": _operator("/"),
    "operator.add": _operator("+"),
    "operator.concat": _operator("+"),
    "itertools.chain": _chain,
    "itertools.chain.from_iterable": _chain,
    "itertools.product": _product,
    "itertools.starmap": _starmap,
    "dataclasses.replace": _replace,
    "dataclasses.asdict": _as_dict,
    "dataclasses.field": _field,
    "attr.ib": _field,
    "attr.field": _field,
    "attrs.field": _field,
    "pydantic.Field": _field,
    "types.SimpleNamespace": _namespace,
    "argparse.Namespace": _namespace,
    "types.MappingProxyType": SAME,
    "collections.namedtuple": _named_tuple,
    "enum.Enum": _enumeration,
    "collections.OrderedDict": DICT,
    "collections.UserDict": DICT,
    "collections.defaultdict": _default_dict,
    "collections.ChainMap": _chain_map,
    "collections.deque": LIST,
    "string.Template": _template,
    "omegaconf.OmegaConf.create": SAME,
    "easydict.EasyDict": _namespace,
    "copy.copy": SAME,
    "json.loads": PARSE_LITERAL,
    "ast.literal_eval": PARSE_LITERAL,
    "copy.deepcopy": SAME,
    "typing.cast": lambda machine, call: call.get(1, "val") or UNKNOWN,
    "contextlib.nullcontext": lambda machine, call: call.get(0, "enter_result") or NONE,
    "contextlib.closing": SAME,
    "tqdm.tqdm": SAME,
    "tqdm.auto.tqdm": SAME,
    "tqdm.notebook.tqdm": SAME,
    "rich.progress.track": SAME,
    "asyncio.run": SAME,
    "asyncio.gather": lambda machine, call: (Tuple(tuple(call.arguments.positional)),),
    "asyncio.create_task": SAME,
    "asyncio.to_thread": _call_later,
    "atexit.register": _call_later,
    "threading.Thread": _run_target,
    "threading.Timer": _run_target,
    "multiprocessing.Process": _run_target,
    "torch.multiprocessing.Process": _run_target,
    "torch.multiprocessing.spawn": _spawn,
    "torch.multiprocessing.start_processes": _spawn,
    "accelerate.notebook_launcher": _spawn,
    "importlib.import_module": IMPORT_FUNCTION,
    "concurrent.futures.wait": SAME,
    "concurrent.futures.as_completed": SAME,
    "map": MAP,
    "os.getenv": _get_variable,
    "os.environ.get": _get_variable,
    "os.environ.pop": _pop_variable,
    "os.environ.__getitem__": _pop_variable,
    "os.environ.setdefault": _default_variable,
    "os.environ.update": _update_environment,
    "os.environ.copy": _copy_environment,
    "sys.path.append": _add_root,
    "sys.path.insert": _add_root,
}
STARMAP = _starmap
