#!/usr/bin/env python3
"""transformers_engine.py CASES.json OUT.json: what real DeepSpeed saves and loads of a transformers model.

CASES is a list of {hf, zero, tree, save}. Two processes on CPU do for each: deepspeed.initialize with
AutoModelForCausalLM and a plain AdamW, save_checkpoint to `save`; then, with random weights, load_checkpoint from
`tree`, compare parameters and masters with the Hugging Face weights, and train two steps. Without `save` nothing is
saved. OUT gets a list of results.
"""
import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import environment  # noqa: F401
import torch

from deepspeed_load import free_port, tokens

DP = 2


def engine_of(model: torch.nn.Module, zero: int, **options: float):
    import deepspeed
    engine, *_ = deepspeed.initialize(
        model=model, optimizer=torch.optim.AdamW(model.parameters(), **options),
        config={"train_micro_batch_size_per_gpu": 2, "bf16": {"enabled": True}, "steps_per_print": 1000,
                "zero_optimization": {"stage": zero}})
    return engine


def differing(engine, weights: dict[str, torch.Tensor]) -> list[str]:
    """Names of parameters that aren't the Hugging Face weights, or whose fp32 masters aren't."""
    import deepspeed
    from deepspeed.utils import safe_get_full_fp32_param
    wrong, unpartitioned = [], {}
    if type(engine.optimizer).__name__ == "FP16_UnfusedOptimizer":
        for parameters, masters in zip(engine.optimizer.fp16_groups, engine.optimizer.fp32_groups):
            unpartitioned |= {id(parameter): master for parameter, master in zip(parameters, masters)}
    for name, parameter in engine.module.named_parameters():
        master = unpartitioned[id(parameter)] if unpartitioned else safe_get_full_fp32_param(parameter)
        with deepspeed.zero.GatheredParameters([parameter]):
            if not torch.equal(parameter.detach(), weights[name]):
                wrong.append(name)
        if not torch.equal(master, weights[name].float()):
            wrong.append(f"master of {name}")
    return wrong


def losses(engine, vocabulary: int) -> list[float]:
    engine.train()  # DeepSpeed 0.14 refuses the backward pass otherwise
    batch = tokens(vocabulary)
    result = []
    for _ in range(3):
        loss = engine(input_ids=batch, labels=batch).loss
        result.append(float(loss.detach()))
        if len(result) < 3:
            engine.backward(loss)
            engine.step()
    return result


def run_case(case: dict) -> dict:
    from transformers import AutoConfig, AutoModelForCausalLM
    model = AutoModelForCausalLM.from_pretrained(case["hf"], dtype=torch.bfloat16)
    weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    if case.get("save"):
        # FP16_UnfusedOptimizer makes a step without gradients when it starts, whose weight decay a rate of 0 prevents.
        options = {"lr": 0.0} if case["zero"] == 0 else {}
        engine_of(model, case["zero"], **options).save_checkpoint(case["save"])
    config = AutoConfig.from_pretrained(case["hf"])
    for dropout in ["attn_pdrop", "embd_pdrop", "resid_pdrop"]:
        if hasattr(config, dropout):
            setattr(config, dropout, 0.0)
    torch.manual_seed(1)
    engine = engine_of(AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16), case["zero"])
    random = len(differing(engine, weights))
    loaded, _ = engine.load_checkpoint(case["tree"])
    return {"loaded": loaded, "optimizer": type(engine.optimizer).__name__, "parameters": len(weights),
            "differing_before": random, "differing": differing(engine, weights),
            "losses": losses(engine, config.vocab_size)}


def run_rank(rank: int, run_case: Callable[[dict], dict], cases: list[dict], port: int, out: str) -> None:
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(DP), LOCAL_SIZE=str(DP),
                      MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    with contextlib.redirect_stdout(sys.stderr):
        import deepspeed
        torch.set_num_threads(1)
        deepspeed.init_distributed(dist_backend="gloo", verbose=False)
        for case in cases:
            result = run_case(case)
            if rank == 0:
                with open(out, "a") as file:
                    file.write(json.dumps({"deepspeed": deepspeed.__version__, **result}) + "\n")
        torch.distributed.destroy_process_group()


def main(run_case: Callable[[dict], dict]) -> None:
    """Runs the cases of the command line's file in DP processes. If these die, the case that they were at gets the result
    {"error": …}, and new processes, with a port and so a shared memory of their own, go on behind it."""
    cases, results = json.loads(Path(sys.argv[1]).read_text()), []
    while len(results) < len(cases):
        port, lines = free_port(), Path(f"{sys.argv[2]}.{len(results)}")
        lines.touch()
        try:
            torch.multiprocessing.spawn(run_rank, (run_case, cases[len(results):], port, str(lines)), nprocs=DP)
            results += map(json.loads, lines.read_text().splitlines())
        except (torch.multiprocessing.ProcessRaisedException, torch.multiprocessing.ProcessExitedException) as error:
            results += map(json.loads, lines.read_text().splitlines())
            results = (results + [{"error": str(error)}])[:len(cases)]
        finally:  # DeepSpeed's collective leaves 69 MB per run
            for leftover in Path("/dev/shm").glob(f"deepspeed_allreduce_buffer_*_127.0.0.1_{port}_*"):
                leftover.unlink()
    Path(sys.argv[2]).write_text(json.dumps(results))


if __name__ == "__main__":
    main(run_case)
