"""Weights rebuilt from the rank files of a mount, judged by transformers: equal tensors, equal loss."""
import json
import time
from pathlib import Path

import torch

import rebuild

SENTENCES = [
    "The capital of France is Paris, and the capital of Italy is Rome.",
    "Water boils at one hundred degrees Celsius at sea level.",
    "Once upon a time there was a little girl who lived in a village near the forest.",
    "A checkpoint holds everything that is needed to continue training where it stopped.",
]


class Judge:
    """transformers' model, given one set of weights after another."""

    def __init__(self, hf: Path) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer
        self.original = AutoModelForCausalLM.from_pretrained(hf, dtype=torch.bfloat16).eval()
        self.empty = AutoModelForCausalLM.from_config(self.original.config, dtype=torch.bfloat16).eval()
        self.batches = [AutoTokenizer.from_pretrained(hf)(s, return_tensors="pt").input_ids for s in SENTENCES]

    @torch.no_grad()
    def loss(self, model: torch.nn.Module) -> float:
        losses = [model(input_ids=batch, labels=batch).loss for batch in self.batches]
        return float(torch.stack(losses).mean())

    def loss_of(self, weights: rebuild.Weights) -> float:
        for parameter in self.empty.parameters():
            parameter.data.fill_(float("nan"))  # nothing may be left over
        self.empty.load_state_dict(weights, strict=False)  # a tied output layer has no weight of its own
        self.empty.tie_weights()
        return self.loss(self.empty)

    def differing(self, weights: rebuild.Weights) -> int:
        wanted = dict(self.original.named_parameters())
        return len(wanted.keys() ^ weights.keys()) + sum(
            not torch.equal(weights[name], wanted[name]) for name in wanted.keys() & weights.keys())


def compared(checkpoint: Path, hf: Path, tp: int, pp: int, dp: int) -> tuple[str, bool]:
    """A table of three sources of weights, the directory, the model states, the fp32 masters; whether they agree."""
    config = json.loads((hf / "config.json").read_text())
    judge = Judge(hf)
    start = time.perf_counter()
    states = rebuild.hugging_face(rebuild.shards_of_model_states(checkpoint), config)
    states_seconds = time.perf_counter() - start
    start = time.perf_counter()
    masters = rebuild.hugging_face(rebuild.shards_of_masters(checkpoint, tp, pp, dp), config)
    masters_seconds = time.perf_counter() - start
    assert all(tensor.dtype == torch.float32 for tensor in masters.values())
    masters = {name: tensor.bfloat16() for name, tensor in masters.items()}
    rows = [("transformers, from the directory", judge.loss(judge.original), None, None),
            ("rebuilt from the model states", judge.loss_of(states), judge.differing(states), states_seconds),
            ("rebuilt from the fp32 masters", judge.loss_of(masters), judge.differing(masters), masters_seconds)]
    lines = [f"  {'weights':36s} {'loss':>12s}  tensors that differ"]
    for name, loss, differ, seconds in rows:
        more = "" if differ is None else f"{differ} of {len(states)}   (read and rebuilt in {seconds:.1f} s)"
        lines.append(f"  {name:36s} {loss:12.8f}  {more}")
    return "\n".join(lines), all(loss == rows[0][1] and not differ for _, loss, differ, _ in rows)
