#!/usr/bin/env python3
"""shared/oracle/families/run.py with zerofs_megatron in the place of its prototype: oracle.py OUT CASE… --extension …

It makes a tiny random model, gives real MDS its weights, and compares logits with transformers'.
"""
import os
import runpy
import sys
import types
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("SHARED", TOP.parent / "shared"))
sys.path.insert(0, str(TOP / "Sources/MegatronExtension"))

import zerofs_megatron

prototype = types.ModuleType("extension")
prototype.apply = zerofs_megatron.extend
sys.modules["extension"] = prototype

if "--nosum" in sys.argv:      # control: the gradients of head norms aren't summed over the tensor-parallel ranks
    sys.argv.remove("--nosum")
    from zerofs_megatron import norm, qk_norm
    qk_norm.HeadNorm.forward = lambda self, x: norm.product(norm.unit(x, self.eps), self.weight, x, self.norm)

runpy.run_path(str(SHARED / "oracle/families/run.py"), run_name="__main__")
