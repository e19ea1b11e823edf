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


def widen_products() -> None:
    """Has linear layers multiply bf16 as fp32 and round, as oneDNN does where the CPU has AVX-512. Elsewhere torch has loops of its
    own (aten/src/ATen/native/mkldnn/Utils.h: mkldnn_bf16_device_check), which take up to thirty times as long."""
    import torch
    linear = torch.nn.functional.linear

    def widened(input, weight, bias=None):
        return linear(input.float(), weight.float(), None if bias is None else bias.float()).to(input.dtype)

    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        torch.nn.functional.linear = widened
