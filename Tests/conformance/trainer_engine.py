#!/usr/bin/env python3
"""trainer_engine.py CASES.json OUT.json: what HF Trainer saves and resumes from, with DeepSpeed on CPU.

CASES is a list of {hf, zero, config, warmup, tree, save}; `config` has members for DeepSpeed's configuration. Two processes do
for each: a Trainer that starts from the Hugging Face weights, saves to `save`/checkpoint-0 before its first step and makes
three; then one that starts from random weights, resumes from `tree`, is compared with the Hugging Face weights before its
first step, and makes three. OUT gets a list of results.
"""
from pathlib import Path

import environment  # noqa: F401
import torch

import transformers_engine
from transformers_engine import DP

RATE, DECAY, STEPS, BATCH = 2e-4, 0.1, 3, 2


def deepspeed_config(case: dict) -> dict:
    return {"train_micro_batch_size_per_gpu": "auto", "train_batch_size": "auto", "bf16": {"enabled": "auto"},
            "gradient_clipping": "auto", "zero_optimization": {"stage": case["zero"]}} | case["config"]


def arguments(case: dict):
    from transformers import TrainingArguments
    return TrainingArguments(
        output_dir=case["save"], max_steps=STEPS, per_device_train_batch_size=BATCH, learning_rate=RATE,
        weight_decay=DECAY, warmup_steps=case["warmup"], bf16=True, deepspeed=deepspeed_config(case), report_to=[],
        save_strategy="no", logging_steps=1, use_cpu=True, disable_tqdm=True, max_grad_norm=0.5)


def train(case: dict, make_model, before, resume: str | None = None, after=lambda _: None) -> list[float]:
    """The losses. `before(trainer)` is called before the first step, `after` behind the last."""
    from transformers import Trainer, TrainerCallback

    class Before(TrainerCallback):
        def on_train_begin(self, *_, **__) -> None:
            before(trainer)

        def on_train_end(self, *_, **__) -> None:
            after(trainer)

    # Before the model: at ZeRO 3 from_pretrained partitions what it makes, as the arguments say.
    args = arguments(case)
    row = torch.arange(16) * 7 % 200
    trainer = Trainer(model=make_model(), args=args, train_dataset=[{"input_ids": row, "labels": row}] * (STEPS * BATCH * DP),
                      callbacks=[Before()])
    trainer.train(resume_from_checkpoint=resume)
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def run_case(case: dict) -> dict:
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModelForCausalLM
    config = AutoConfig.from_pretrained(case["hf"])
    for dropout in ["attn_pdrop", "embd_pdrop", "resid_pdrop"]:
        if hasattr(config, dropout):
            setattr(config, dropout, 0.0)
    # Not by from_pretrained, which partitions what it makes once a Trainer was at ZeRO 3.
    weights = load_file(Path(case["hf"]) / "model.safetensors")
    fresh = train(
        case, lambda: AutoModelForCausalLM.from_pretrained(case["hf"], config=config, dtype=torch.bfloat16),
        lambda trainer: trainer._save_checkpoint(trainer.model, trial=None))
    seen: dict = {}

    def look(trainer) -> None:
        engine = trainer.model_wrapped
        seen["differing"] = transformers_engine.differing(engine, weights)
        seen["groups"] = [{"lr": group["lr"], "weight_decay": group["weight_decay"]}
                          for group in engine.basic_optimizer.param_groups]

    torch.manual_seed(1)
    resumed = train(case, lambda: AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16), look, case["tree"])
    return {"fresh": fresh, "resumed": resumed, **seen}


if __name__ == "__main__":
    transformers_engine.main(run_case)
