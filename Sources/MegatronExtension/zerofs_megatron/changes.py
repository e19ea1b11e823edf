"""How a feature says what it replaces, and how a checkout of MDS is known.

A feature is a generator of changes: (owner, name, make). `owner.name` becomes `make(what it was)`. A make of None
replaces nothing: the feature builds on that function, so it must be known too.

A function is known by its source, not by a commit: edits elsewhere in a checkout pass, another form of a function that
is replaced or built on stops. Comments, docstrings, formatting and quotes don't count.
"""
import ast
import hashlib
import inspect
import textwrap

from zerofs_megatron.errors import ExtensionError
from zerofs_megatron.known import KNOWN


def digest(function):
    """Of the function's syntax tree, the same under every Python from 3.9 on."""
    return digest_of(ast.parse(textwrap.dedent(inspect.getsource(function))).body[0])


def digest_of(tree):
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return hashlib.sha256(written(tree).encode()).hexdigest()[:16]


def written(node):
    """ast.dump without what Python's versions write differently: empty fields, and how a name is used."""
    if isinstance(node, ast.AST):
        fields = ((k, v) for k, v in ast.iter_fields(node) if k not in ("ctx", "kind", "type_comment"))
        return f"({type(node).__name__}" + "".join(f" {k}={written(v)}" for k, v in fields if v is not None and v != []) + ")"
    return "[" + ",".join(map(written, node)) + "]" if isinstance(node, list) else repr(node)


def name_of(function):
    return f"{function.__module__}.{function.__qualname__}"


def is_known(thing):
    """Classes are derived from, not rewritten: whoever builds one is checked instead."""
    if inspect.isclass(thing):
        return True
    try:
        return digest(thing) in KNOWN.get(name_of(thing), ())
    except (OSError, TypeError, AttributeError):      # no Python, or no source
        return False


def place_of(thing):
    try:
        line = inspect.getsourcelines(thing)[1]
        return f"{name_of(thing)} ({inspect.getsourcefile(thing)}, line {line})"
    except (OSError, TypeError, AttributeError):
        return f"{thing!r} (its source isn't there)"


def install(changes):
    """All of them, or none with one message."""
    changes = list(changes)
    missing = [f"{owner.__name__}.{name}" for owner, name, _ in changes if not hasattr(owner, name)]
    strange = [getattr(owner, name) for owner, name, _ in changes if hasattr(owner, name) and not is_known(getattr(owner, name))]
    if missing or strange:
        raise ExtensionError(
            "this Megatron-DeepSpeed isn't one that the extension knows. Another form of: "
            + "; ".join(dict.fromkeys([*map(place_of, strange), *missing]))
            + ". Known are argonne-lcf and deepspeedai; take these functions from there, or see zerofs_megatron/known.py")
    for owner, name, make in changes:
        if make is not None:
            setattr(owner, name, make(getattr(owner, name)))


def after_layer(do):
    """A change: do(layer, index) follows the construction of every layer, index counted from 0 over the whole model."""
    from megatron.model.transformer import ParallelTransformerLayer, ParallelTransformerLayerPipe

    def make(stock):
        def __init__(self, config, layer_number, *args, **kwargs):
            stock(self, config, layer_number, *args, **kwargs)
            # GPTModelPipe counts layers from 0, ParallelTransformer from 1.
            do(self, layer_number - (0 if isinstance(self, ParallelTransformerLayerPipe) else 1))
        return __init__
    return ParallelTransformerLayer, "__init__", make
