"""The pipeline's last LayerNorm, which ALCF's fork can't build off CUDA.

GPTModelPipe passes sequence_parallel, which MDS's fused LayerNorm takes and torch.nn.LayerNorm, its stand-in on
Aurora and on CPU, doesn't.
"""
import torch


def mend():
    from megatron.model import gpt_model
    if gpt_model.LayerNorm is not torch.nn.LayerNorm:
        return

    class LayerNorm(torch.nn.LayerNorm):
        def __init__(self, *args, sequence_parallel=False, **kwargs):
            super().__init__(*args, **kwargs)
            for parameter in self.parameters():
                parameter.sequence_parallel = sequence_parallel
    gpt_model.LayerNorm = LayerNorm
