#!/usr/bin/env python3
"""trained_engine.py CASES.json OUT.json: checkpoints that real DeepSpeed trained of a transformers model, by a script and by HF
Trainer, and what it has after loading others.

CASES is a list of {hf, zero, client, save, tree}; `client` is "script" or "trainer". Without `tree` two processes train from the
Hugging Face weights and save to `save`; with it they load that from random weights. Masters and moments by name, as the live
engine has them then, are in `save`/state.pt.
"""
from pathlib import Path

import environment  # noqa: F401
import torch

import trainer_engine
import transformers_engine


def keep(engine, case: dict) -> None:
    from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state
    optimizer = engine.optimizer
    if hasattr(optimizer, "_lazy_init_hp_params_optimizer_state"):  # linked at start, before there was a state
        optimizer._hp_optimizer_states_linked = False
        optimizer._lazy_init_hp_params_optimizer_state()
    found, moments = {}, ("exp_avg", "exp_avg_sq")
    # DeepSpeed 0.17 and 0.18 at stage 0: the masters aren't flat, and not linked to the parameters.
    masters = {id(low): high for group in zip(getattr(optimizer, "fp16_groups", []), getattr(optimizer, "fp32_groups", []))
               for low, high in zip(*group)}
    for name, parameter in engine.module.named_parameters():
        if (master := masters.get(id(parameter))) is not None:
            values = {"masters": master} | {key: optimizer.optimizer.state[master][key] for key in moments}
        else:
            values = {"masters": safe_get_full_fp32_param(parameter)}
            values |= {key: safe_get_full_optimizer_state(parameter, key) for key in moments}
        found[name] = {key: value.detach().float().clone() for key, value in values.items()}
    if torch.distributed.get_rank() == 0:
        Path(case["save"]).mkdir(parents=True, exist_ok=True)
        torch.save(found, f"{case['save']}/state.pt")


def model(case: dict):
    from transformers import AutoConfig, AutoModelForCausalLM
    if "tree" not in case:
        return AutoModelForCausalLM.from_pretrained(case["hf"], dtype=torch.bfloat16)
    torch.manual_seed(1)
    return AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(case["hf"]), dtype=torch.bfloat16)


def script(case: dict) -> dict:
    engine = transformers_engine.engine_of(model(case), case["zero"], lr=2e-2, weight_decay=0.1)
    result = {}
    if "tree" in case:
        engine.load_checkpoint(case["tree"])
    else:
        result["losses"] = transformers_engine.losses(engine, engine.module.config.vocab_size)
        engine.save_checkpoint(case["save"])
    keep(engine, case)
    return result | {"steps": engine.global_steps}


def trainer(case: dict) -> dict:
    case = {"config": {}, "warmup": 0} | case
    result = {}

    def before(trainer) -> None:
        if "tree" in case:
            keep(trainer.model_wrapped, case)
            result.update(steps=trainer.state.global_step,
                          rates=[group["lr"] for group in trainer.model_wrapped.basic_optimizer.param_groups])

    def after(trainer) -> None:
        if "tree" not in case:
            trainer._save_checkpoint(trainer.model, trial=None)
            keep(trainer.model_wrapped, case)
            result["steps"] = trainer.state.global_step

    result["losses"] = trainer_engine.train(case, lambda: model(case), before, case.get("tree"), after)
    return result


def run_case(case: dict) -> dict:
    return (trainer if case["client"] == "trainer" else script)(case)


if __name__ == "__main__":
    transformers_engine.main(run_case)
