"""Python imports this at its start where PYTHONPATH names this folder: MDS is extended as soon as a process imports it.

Only the first sitecustomize on the path is imported, so this one runs the next one, which it hides.
Nothing is read or replaced in a process that never imports MDS. Where ZEROFS_MEGATRON_HF names a model, a training script is
started again by `zerofs run`, with the model's mount (mounting.py).
"""
import importlib.machinery
import importlib.util
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def run_hidden():
    others = [p for p in sys.path if os.path.abspath(p) != HERE]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if spec and spec.loader:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


run_hidden()
sys.path.append(os.path.dirname(os.path.dirname(HERE)))
from zerofs_megatron.errors import ExtensionError
from zerofs_megatron.extending import extend_when_imported
from zerofs_megatron.mounting import run_in_place_of

try:
    run_in_place_of(sys.orig_argv)
except ExtensionError as error:      # Python goes on after errors of a sitecustomize
    print(f"zerofs_megatron: {error}", file=sys.stderr, flush=True)
    os._exit(error.exit_status)
extend_when_imported()
