"""Importing this sets what torch, transformers and DeepSpeed need on a CPU. Import it before them."""
import os
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
CACHE = TOP / ".build-conformance"  # what is slow to make and the same every time; ignored by git

os.environ |= {"DS_ACCELERATOR": "cpu", "TRANSFORMERS_VERBOSITY": "error", "TQDM_DISABLE": "1",
               "TOKENIZERS_PARALLELISM": "false"}
os.environ.setdefault("TORCH_EXTENSIONS_DIR", str(CACHE / "torch_extensions"))  # DeepSpeed's CPU collective
if (programs := str(Path(sys.executable).parent)) not in os.environ["PATH"].split(os.pathsep):
    os.environ["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"  # ninja
