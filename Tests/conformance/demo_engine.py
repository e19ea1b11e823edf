#!/usr/bin/env python3
"""demo_engine.py CASES.json OUT.json: real DeepSpeed loads a mount of --flavor hf, trains on a text, and saves.

CASES is a list of {hf, tree, save, zero, tokens, steps, lr}; `tokens` has the same number of sequences for each of the two
processes. The model starts with random weights: what it knows comes from `tree`.
"""
import json
import os
import sys

import environment
import torch

import transformers_engine

# Once in each process: the two that train import this module, too.
environment.widen_products()


def say(step: int, steps: int, loss: float) -> None:
    print(f"step {step:2d} of {steps}: loss {loss:.4f}", file=sys.stderr, flush=True)


def train(case: dict) -> dict:
    from transformers import AutoConfig, AutoModelForCausalLM
    torch.manual_seed(1)
    config = AutoConfig.from_pretrained(case["hf"])
    engine = transformers_engine.engine_of(AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16), case["zero"])
    engine.load_checkpoint(case["tree"])
    for group in engine.optimizer.param_groups:
        group["lr"] = case["lr"]  # the checkpoint's is torch's default
    rank = torch.distributed.get_rank()
    batch = torch.tensor(case["tokens"]).chunk(transformers_engine.DP)[rank]
    losses = []
    for step in range(case["steps"] + 1):
        loss = engine(input_ids=batch, labels=batch).loss
        mean = loss.detach().float()
        torch.distributed.all_reduce(mean)
        losses.append(float(mean) / transformers_engine.DP)
        if rank == 0:
            say(step, case["steps"], losses[-1])
        if step < case["steps"]:
            engine.backward(loss)
            engine.step()
    engine.save_checkpoint(case["save"])
    return {"losses": losses, "optimizer": type(engine.optimizer).__name__}


if __name__ == "__main__":
    transformers_engine.main(train)
