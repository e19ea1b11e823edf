#!/usr/bin/env python3
"""deepspeed_load.py CHECKPOINT --dp N --zero S [--mp-rank M | --train HF_DIR --steps N]: real DeepSpeed loads it.

N processes on CPU build a bf16 engine as Megatron-DeepSpeed does (two parameter groups, torch's Adam) and call
engine.load_checkpoint. By default the module is the bare parameters of one model-parallel rank; with --train it
is a Llama, whose loss is taken before and during training. Prints one line of JSON.
"""
import argparse
import contextlib
import json
import os
import socket
import sys
import tempfile
from pathlib import Path

import environment  # noqa: F401
import torch
from torch import Tensor, nn

import rebuild

BATCH, LENGTH = 2, 32


class Topology:
    """What DeepSpeed asks of Megatron's mpu: these processes are the data-parallel ranks of one of `size`."""

    def __init__(self, mp_rank: int, size: int) -> None:
        alone = [torch.distributed.new_group([rank]) for rank in range(torch.distributed.get_world_size())]
        self.alone = alone[torch.distributed.get_rank()]
        self.mp_rank, self.size = mp_rank, size

    def get_model_parallel_rank(self) -> int: return self.mp_rank
    def get_model_parallel_world_size(self) -> int: return self.size
    def get_model_parallel_group(self): return self.alone
    def get_data_parallel_rank(self) -> int: return torch.distributed.get_rank()
    def get_data_parallel_world_size(self) -> int: return torch.distributed.get_world_size()
    def get_data_parallel_group(self): return torch.distributed.group.WORLD


class BareParameters(nn.Module):
    """One model-parallel rank's parameters in MDS's order, filled from its layer files."""

    def __init__(self, shapes: list[dict[str, torch.Size]]) -> None:
        super().__init__()
        self.names = [name for group in shapes for name in group]
        self.all = nn.ParameterList(nn.Parameter(torch.zeros(s)) for group in shapes for s in group.values())

    def fill(self, shards: rebuild.Shards, tp_rank: int) -> None:
        for name, parameter in zip(self.names, self.all):
            parameter.data.copy_(shards[name.replace("tied_modules.embed", "1")][tp_rank])


def groups(module: nn.Module) -> list[dict]:
    """Megatron-DeepSpeed's two groups (megatron/optimizer/__init__.py): weight decay for matrices only."""
    matrices = [p for p in module.parameters() if p.dim() > 1]
    vectors = [p for p in module.parameters() if p.dim() == 1]
    return [{"name": "wd_no_scale_lr", "params": matrices, "wd_mult": 1.0, "lr_mult": 1.0},
            {"name": "no_wd_no_scale_lr", "params": vectors, "wd_mult": 0.0, "lr_mult": 1.0, "weight_decay": 0.0}]


def tokens(vocabulary: int) -> Tensor:
    return torch.randint(0, vocabulary, (BATCH, LENGTH + 1), generator=torch.Generator().manual_seed(77))


def load(arguments: argparse.Namespace, rank: int) -> dict:
    import deepspeed
    from deepspeed.utils import safe_get_full_fp32_param
    from megatron_llama import MegatronLlama
    torch.manual_seed(1)
    torch.set_num_threads(1)
    deepspeed.init_distributed(dist_backend="gloo", verbose=False)
    step = rebuild.step_directory(arguments.checkpoint)
    saved = rebuild.load(step / f"mp_rank_{arguments.mp_rank:02d}_model_states.pt")
    if arguments.train:
        config = json.loads((arguments.train / "config.json").read_text())
        module: nn.Module = MegatronLlama(config)
        fill = lambda src, dst: dst.load_nested(src)  # noqa: E731
    else:
        module = BareParameters(saved["param_shapes"])
        tp = saved["checkpoint_parallel_dimensions"]["tp_degree"]
        shards = rebuild.shards_of_model_states(arguments.checkpoint)
        fill = lambda src, dst: dst.fill(shards, arguments.mp_rank % tp)  # noqa: E731
    engine, *_ = deepspeed.initialize(
        model=module, optimizer=torch.optim.Adam(groups(module), lr=1e-3, weight_decay=0.1),
        mpu=Topology(arguments.mp_rank, saved["mp_world_size"]),
        config={"train_micro_batch_size_per_gpu": BATCH, "bf16": {"enabled": True}, "steps_per_print": 1000,
                "gradient_clipping": 1.0, "zero_optimization": {"stage": arguments.zero}})
    path, _ = engine.load_checkpoint(str(arguments.checkpoint), custom_load_fn=fill)
    masters = [(p.detach(), safe_get_full_fp32_param(p)) for p in module.parameters()]
    result = {
        "loaded": path, "optimizer": type(engine.optimizer).__name__, "parameters": len(masters),
        "elements": sum(p.numel() for p, _ in masters),
        "masters_differ": sum(not torch.equal(p.float(), master) for p, master in masters),
        "nonzero": sum(bool(master.any()) for _, master in masters),
    }
    if arguments.train:
        batch = tokens(config["vocab_size"])
        with torch.no_grad():
            result["loss"] = float(engine(batch))
        for group in engine.optimizer.param_groups:
            group["lr"] = 1e-3  # as a scheduler would: at step 0 the saved one is 0
        result["losses"] = []
        for _ in range(arguments.steps):
            loss = engine(batch)
            engine.backward(loss)
            engine.step()
            result["losses"].append(float(loss.detach()))
        with torch.no_grad():
            result["loss_after"] = float(engine(batch))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    return result


def run_rank(rank: int, arguments: argparse.Namespace, port: int, out: str) -> None:
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(arguments.dp),
                      LOCAL_SIZE=str(arguments.dp), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    with contextlib.redirect_stdout(sys.stderr):
        result = load(arguments, rank)
    if rank == 0:
        Path(out).write_text(json.dumps(result))


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--dp", type=int, default=2)
    parser.add_argument("--zero", type=int, default=1)
    parser.add_argument("--mp-rank", type=int, default=0)
    parser.add_argument("--train", type=Path, metavar="HF_DIR")
    parser.add_argument("--steps", type=int, default=2)
    arguments, port = parser.parse_args(), free_port()
    with tempfile.TemporaryDirectory() as scratch:
        out = f"{scratch}/result.json"
        try:
            torch.multiprocessing.spawn(run_rank, (arguments, port, out), nprocs=arguments.dp)
        finally:  # DeepSpeed's collective leaves 69 MB per run
            for leftover in Path("/dev/shm").glob(f"deepspeed_allreduce_buffer_*_127.0.0.1_{port}_*"):
                leftover.unlink()
        print(Path(out).read_text())


if __name__ == "__main__":
    main()
