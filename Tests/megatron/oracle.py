#!/usr/bin/env python3
"""shared/oracle/families/run.py with zerofs_megatron in the place of its prototype: oracle.py OUT CASE… --extension …

It makes a tiny random model, gives real MDS its weights, and compares logits with transformers'. More options:

  --seq N       sequences of this length
  --nosum       control: the gradients of head norms aren't summed over the tensor-parallel ranks
  --load TREES  may have {case} in it
"""
import os
import runpy
import sys
import types
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("SHARED", TOP.parent / "shared")).resolve()
sys.path[:0] = [str(TOP / "Sources/MegatronExtension"), str(SHARED / "oracle/families"), str(SHARED / "oracle")]

import zerofs_megatron

prototype = types.ModuleType("extension")
prototype.apply = lambda spec: zerofs_megatron.extend({**spec, "guard": False})
sys.modules["extension"] = prototype


def taken(option: str, values: int) -> list[str]:
    if option not in sys.argv:
        return []
    at = sys.argv.index(option)
    found = sys.argv[at:at + 1 + values]
    del sys.argv[at:at + 1 + values]
    return found


length, nosum = taken("--seq", 1), taken("--nosum", 0)
import mds_run
import models

if length:
    models.SEQ = int(length[1])
if nosum:
    from zerofs_megatron import norm, qk_norm
    qk_norm.HeadNorm.forward = lambda self, x: norm.product(norm.unit(x, self.eps), self.weight, x, self.norm)
stock = mds_run.options


def options(argv=None):
    o = stock(argv)
    o.seq, o.dir = models.SEQ, o.dir.replace("{case}", o.case)
    return o


mds_run.options = options
runpy.run_path(str(SHARED / "oracle/families/run.py"), run_name="__main__")
