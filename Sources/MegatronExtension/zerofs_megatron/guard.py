"""A checkpoint of an extended model names the spec it was made for, and can't be loaded in silence by anything else.

MDS saves its args in every mp_rank file (zero_pp_rank files at stage 3), and DeepSpeed loads one on every rank, in both
engines, with --finetune, and of universal checkpoints. So args.zerofs_megatron is an object of this package:

* without the package torch.load stops: ModuleNotFoundError: No module named 'zerofs_megatron'
* in a run that isn't extended, or is by another spec, the object itself stops, and says which keys differ
* DeepSpeed's tools only need the package on PYTHONPATH, beside MDS
"""
import json
import sys

from zerofs_megatron.errors import ExtensionError
from zerofs_megatron.spec import differences


class Required(str):
    """A model's spec as JSON. Pickle makes one by Required.__new__(Required, json), so that a load is a check."""
    def __new__(cls, text):
        check(json.loads(text))
        return super().__new__(cls, text)


def put(model, args):
    """Into the args that MDS saves with this run."""
    args.zerofs_megatron = Required(json.dumps(model, sort_keys=True, separators=(",", ":")))


def check(needed):
    if not in_a_run():
        return
    from zerofs_megatron import extending
    if extending.active is None:
        raise ExtensionError("this checkpoint is of a model that stock Megatron-DeepSpeed computes wrongly, and this run isn't "
                             "extended: put `python3 -m zerofs_megatron` in front of the training script")
    wrong = differences(extending.active.model, needed)
    if wrong:
        raise ExtensionError("this checkpoint is of another model than the run's spec: " + "; ".join(wrong))


def in_a_run():
    """Whether MDS has begun one in this process; converters and other tools haven't."""
    global_vars = sys.modules.get("megatron.global_vars")
    return getattr(global_vars, "_GLOBAL_ARGS", None) is not None
