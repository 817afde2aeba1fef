"""Call functions, classes, methods and external code."""

from __future__ import annotations

import ast

from fusionzoo.contracts.static.atoms import Frame
from fusionzoo.contracts.static.binding import bind
from fusionzoo.contracts.static.budget import (
    MAX_CALL_DEPTH,
    MAX_CONTEXTS,
    MAX_KNOWN_RECURSION,
    MAX_RECURSION,
    MAX_SIMILAR,
    MAX_SIMILAR_OBJECTS,
)
from fusionzoo.contracts.static.instances import instantiate
from fusionzoo.contracts.static.machine import Arguments, Call, Machine, Similar
from fusionzoo.contracts.static.models import call_external, call_method
from fusionzoo.contracts.static.signatures import sign
from fusionzoo.contracts.static.values import (
    NONE,
    UNKNOWN,
    Atom,
    Bound,
    Class,
    External,
    Function,
    Instance,
    Method,
    Partial,
    Result,
    Text,
    Unknown,
    Value,
    join,
)


def call_atom(machine: Machine, atom: Atom, arguments: Arguments, node: ast.AST) -> Value:
    """Return the result of calling one alternative; () if the call never returns."""
    if isinstance(atom, Function):
        return call_function(machine, atom, arguments, node)
    if isinstance(atom, Bound):
        own = Arguments([(atom.receiver,), *arguments.positional], arguments.keywords, arguments.rest)
        return call_function(machine, atom.function, own, node)
    if isinstance(atom, Class):
        return instantiate(machine, atom, arguments, node)
    if isinstance(atom, External):
        return call_external(machine, Call(atom.name, arguments, node))
    if isinstance(atom, Method):
        return call_method(machine, Call(atom.name, arguments, node, atom.receiver))
    if isinstance(atom, Partial):
        keywords = {**dict(atom.keywords), **arguments.keywords}
        merged = Arguments([*atom.positional, *arguments.positional], keywords, arguments.rest)
        return machine.call(atom.function, merged, node)
    if isinstance(atom, Instance):
        return _call_instance(machine, atom, arguments, node)
    if isinstance(atom, Unknown | Result):
        return call_method(machine, Call("__call__", arguments, node, atom))
    return UNKNOWN


def _call_instance(machine: Machine, atom: Instance, arguments: Arguments, node: ast.AST) -> Value:
    for name in ("__call__", "forward"):  # PyTorch calls forward
        if atom.owner is not None and atom.owner.find(name):
            return machine.call(machine.get_attribute((atom,), name, node), arguments, node)
    return call_method(machine, Call("__call__", arguments, node, atom))


def call_function(machine: Machine, function: Function, arguments: Arguments, node: ast.AST) -> Value:
    """Return the result of a function of the project, remembered if nothing that it may see has changed."""
    key = (
        function,
        machine.is_certain,
        tuple(arguments.positional),
        tuple(sorted(arguments.keywords.items(), key=lambda item: item[0])),
        arguments.rest,
    )
    remembered = machine.memory.get(key)
    if remembered is not None and machine.heap.is_unchanged_since(remembered[0]):
        return remembered[1]
    active = sum(frame.function is not None and frame.function.node is function.node for frame in machine.frames)
    is_too_deep = len(machine.frames) >= MAX_CALL_DEPTH
    if is_too_deep or active >= (MAX_KNOWN_RECURSION if _is_known(arguments) else MAX_RECURSION):
        if is_too_deep or function.node in machine.relevant:
            reason = f"more than {MAX_CALL_DEPTH} nested calls" if is_too_deep else "it calls itself"
            machine.note(f"the call of {function.name} is not followed: {reason}", node)
        return UNKNOWN
    signature = (*sign(function, arguments), machine.is_certain)
    machine.budget.steps += len(signature) // 8  # building it takes time, too
    similar = machine.similar.setdefault(signature, Similar())
    created = _find_created(function, arguments)
    if similar.is_pure and similar.count >= (MAX_SIMILAR if created is None else MAX_SIMILAR_OBJECTS):
        if created is not None and similar.created is not None:
            _copy_attributes(machine, similar.created, created)
        return similar.result
    uses = machine.recorder.count
    count = machine.contexts[id(function.node)] = machine.contexts.get(id(function.node), 0) + 1
    if count > MAX_CONTEXTS:
        if function.node in machine.relevant:
            machine.note(
                f"{function.name} is called in more than {MAX_CONTEXTS} ways; the others are not followed", node
            )
        return UNKNOWN
    started = machine.heap.tick() if created is None else created.serial - 1
    result = _run_function(machine, function, arguments)
    similar.is_pure &= machine.heap.is_unchanged_since(started)
    similar.count += 1
    if machine.recorder.count > uses or any(isinstance(atom, Text) and "/" in atom.value for atom in result):
        machine.relevant.add(function.node)
    similar.result, similar.created = join(similar.result, result), created
    machine.memory[key] = (machine.heap.tick(), result)
    return result


def _is_known(arguments: Arguments) -> bool:
    """Return whether every argument is known, so that a recursion can come to its end."""
    values = arguments.all_values()
    return all(len(value) == 1 and not isinstance(value[0], Unknown | Result | Method) for value in values)


def _find_created(function: Function, arguments: Arguments) -> Instance | None:
    """Return the object that a call of `__init__` fills."""
    first = arguments.positional[0] if arguments.positional and function.name == "__init__" else ()
    return first[0] if len(first) == 1 and isinstance(first[0], Instance) else None


def _copy_attributes(machine: Machine, source: Instance, target: Instance) -> None:
    """Fill an object like another one of its class, with containers of its own."""
    for name, value in source.attributes.items():
        target.attributes[name] = tuple(machine.heap.copy(atom) for atom in value)


def _run_function(machine: Machine, function: Function, arguments: Arguments) -> Value:
    frame = Frame(function.frame.module, function.frame, function, serial=machine.heap.tick(), token=machine.heap.token)
    frame.names = bind(function, arguments, machine.heap)
    with machine.running(frame):
        if isinstance(function.node, ast.Lambda):
            return machine.evaluate(function.node.body)
        if machine.is_generator(function.node):
            kind = "context" if "contextmanager" in function.roles else "iterator"
            frame.yielded = machine.heap.sequence(kind=kind)
            machine.execute(function.node.body)
            return (frame.yielded,)
        continues = machine.execute(function.node.body)
    return join(*frame.returned, *([NONE] if continues else []))
