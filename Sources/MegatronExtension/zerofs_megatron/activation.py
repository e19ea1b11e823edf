"""activation: the MLP's function, where no flag of MDS chooses it; gated where --swiglu sizes the matrix for two halves."""
import torch
import torch.nn.functional as F

FUNCTIONS = {
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
    "relu2": lambda x: F.relu(x).square(),
}


def changes(spec):
    """ParallelMLP.__init__: its activation_func."""
    if not spec.get("activation"):
        return
    from megatron.model.transformer import ParallelMLP
    function = FUNCTIONS[spec["activation"]]

    def gated(x):
        gate, up = torch.chunk(x, 2, dim=-1)
        return function(gate) * up

    def make(stock):
        def __init__(self, config, *args, **kwargs):
            stock(self, config, *args, **kwargs)
            self.bias_gelu_fusion = False
            self.activation_func = gated if config.gated_linear_unit else function
        return __init__
    yield ParallelMLP, "__init__", make
    yield ParallelMLP, "forward", None
