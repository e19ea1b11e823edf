"""Extending MDS: now if it is imported, else as soon as it is."""
import gc
import importlib.abc
import importlib.util
import sys

from zerofs_megatron.errors import ExtensionError
from zerofs_megatron.spec import Spec, differences

AFTER = "megatron.initialize"      # its import brings in all that is replaced, and it is where a run begins

active = None      # the Spec by which this process is extended
waiting = None     # for MDS's import


def extend(spec=None):
    """Extends MDS by a spec: a dict, a file's path, or None for the one beside the package, unless one was given before."""
    if spec is None and (active or waiting):
        return
    spec = spec if isinstance(spec, Spec) else Spec.of(spec) if isinstance(spec, dict) else Spec.read(spec)
    if AFTER in sys.modules:
        extend_now(spec)
    else:
        extend_when_imported(spec)


def extend_when_imported(spec=None):
    """By a spec, or by the one beside the package, read no sooner. The last call counts."""
    global waiting
    if waiting is None:
        waiting = Waiting()
        sys.meta_path.insert(0, waiting)
    waiting.spec = spec


def extend_now(spec):
    global active
    if active is not None:
        if differences(active.model, spec.model):
            raise ExtensionError("MDS is extended already, by another spec: "
                                 + "; ".join(differences(spec.model, active.model)))
        return
    # Not before: these import torch, and a process that only waits for MDS may never need it.
    from zerofs_megatron import activation, attention, begin, block, embedding, head, norm, qk_norm, rope, universal
    from zerofs_megatron.changes import install
    refuse_if_late(spec)
    features = (rope, norm, activation, qk_norm, attention, block, embedding, head, universal)
    install(change for feature in features for change in feature.changes(spec.model))
    active = spec
    begin.arrange(spec)


def refuse_if_late(spec):
    """A model that is built has stock parts."""
    from megatron.model.transformer import ParallelTransformerLayer
    if spec.model and any(issubclass(type(o), ParallelTransformerLayer) for o in gc.get_objects()):
        raise ExtensionError("the model is built already: extend MDS at the top of the training script")


def complain_if_unused():
    if active is None:
        print("zerofs_megatron: WARNING: the script never imported Megatron-DeepSpeed; nothing was extended",
              file=sys.stderr, flush=True)


class Waiting(importlib.abc.MetaPathFinder):
    """Extends MDS right behind the import of AFTER."""
    spec = None

    def find_spec(self, name, path=None, target=None):
        if name != AFTER:
            return None
        sys.meta_path.remove(self)
        found = importlib.util.find_spec(name)
        if found is not None:
            found.loader = Followed(found.loader, lambda: extend_now(self.spec or Spec.read()))
        return found


class Followed(importlib.abc.Loader):
    def __init__(self, loader, then):
        self.loader, self.then = loader, then

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self.loader      # nothing of this stays
        self.loader.exec_module(module)
        self.then()
