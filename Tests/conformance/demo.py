#!/usr/bin/env python3
"""demo.py ZEROFS HF_DIR: mounts a real model as a Megatron-DeepSpeed checkpoint and shows that it is one.

The weights are rebuilt from the mounted rank files, from the model states and separately from the fp32 masters,
and must give transformers' own loss. Exit status 1 if anything differs.
"""
import argparse
import json
import logging
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import environment  # noqa: F401

logging.disable(logging.WARNING)
warnings.filterwarnings("ignore")

import torch

import rebuild
from mounting import Mount, mounted

TP, PP, DP = 3, 2, 2
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


def say(text: str) -> None:
    print(f"\n{text}", flush=True)


def tree(root: Path) -> None:
    files = sorted(f for f in root.rglob("*") if f.is_file())
    for directory in sorted({f.parent for f in files}):
        inside = [f for f in files if f.parent == directory]
        print(f"  {directory.relative_to(root.parent)}/  {len(inside)} files, "
              f"{sum(f.stat().st_size for f in inside) / 1e6:.1f} MB")
        for f in inside[:3] + inside[-2:] if len(inside) > 6 else inside:
            print(f"    {f.name:58s} {f.stat().st_size:>12,}")


def weights_agree(checkpoint: Path, hf: Path) -> bool:
    config = json.loads((hf / "config.json").read_text())
    judge = Judge(hf)
    start = time.perf_counter()
    states = rebuild.hugging_face(rebuild.shards_of_model_states(checkpoint), config)
    states_seconds = time.perf_counter() - start
    start = time.perf_counter()
    masters = rebuild.hugging_face(rebuild.shards_of_masters(checkpoint, TP, PP, DP), config)
    masters_seconds = time.perf_counter() - start
    assert all(tensor.dtype == torch.float32 for tensor in masters.values())
    masters = {name: tensor.bfloat16() for name, tensor in masters.items()}
    rows = [("transformers, from the directory", judge.loss(judge.original), None, None),
            ("rebuilt from the model states", judge.loss_of(states), judge.differing(states), states_seconds),
            ("rebuilt from the fp32 masters", judge.loss_of(masters), judge.differing(masters), masters_seconds)]
    print(f"  {'weights':36s} {'loss':>12s}  tensors that differ")
    for name, loss, differ, seconds in rows:
        more = "" if differ is None else f"{differ} of {len(states)}   (read and rebuilt in {seconds:.1f} s)"
        print(f"  {name:36s} {loss:12.8f}  {more}")
    return all(loss == rows[0][1] and not differ for _, loss, differ, _ in rows)


def optimizer_loads(checkpoint: Path) -> bool:
    print("  (the first run compiles DeepSpeed's CPU collective: about a minute)", flush=True)
    script = Path(__file__).with_name("deepspeed_load.py")
    done = subprocess.run([sys.executable, "-W", "ignore", script, checkpoint, "--dp", str(DP), "--zero", "1"],
                          capture_output=True, text=True)
    if done.returncode:
        print(done.stderr[-3000:])
        return False
    result = json.loads(done.stdout)
    print(f"  {result['optimizer']} on {DP} processes loaded {result['parameters']} parameters "
          f"({result['elements']:,} fp32 masters);\n"
          f"  masters that are not the bf16 weight, widened: {result['masters_differ']}")
    return result["masters_differ"] == 0 and result["nonzero"] == result["parameters"]


def show(mount: Mount, hf: Path) -> bool:
    print(f"  ready {mount.seconds * 1000:.0f} ms after exec")
    tree(mount.path)
    say("Loss on English sentences, from three sources of weights")
    agree = weights_agree(mount.path, hf)
    print("  equal weights, equal loss" if agree else "  THE MOUNT DIFFERS FROM THE MODEL")
    say("Optimizer state of model-parallel rank 0 in a real DeepSpeed engine (ZeRO 1, bf16)")
    loads = optimizer_loads(mount.path)
    say("What it cost")
    written = mount.bytes_written()
    print(f"  disk written by the daemon {written} bytes")
    print(f"  the daemon's private memory after all of this {mount.rss_anon_kb() / 1024:.1f} MB")
    return agree and loads and written == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("zerofs", type=Path)
    parser.add_argument("hf", type=Path)
    parser.add_argument("--tree", type=Path, help="judge this saved checkpoint instead of mounting")
    arguments = parser.parse_args()
    layout = ["--tp", TP, "--pp", PP, "--dp", DP, "--zero-stage", 1, "--dtype", "bf16"]
    if arguments.tree:
        return not (weights_agree(arguments.tree, arguments.hf) & optimizer_loads(arguments.tree))
    with tempfile.TemporaryDirectory(prefix="zerofs-demo.") as mountpoint:
        say("$ " + " ".join(map(str, ["zerofs mount", arguments.hf, mountpoint, *layout])))
        with mounted(arguments.zerofs.resolve(), arguments.hf.resolve(), Path(mountpoint), *layout) as mount:
            good = show(mount, arguments.hf)
            say(f"$ zerofs umount {mountpoint}")
    print("  done" if good else "  FAILED")
    return not good


if __name__ == "__main__":
    sys.exit(main())
