#!/usr/bin/env python3
"""demo.py ZEROFS HF_DIR: a real model, mounted, trained, mounted back as a Hugging Face directory, and in another layout.

1. The model as a Megatron-DeepSpeed checkpoint. Weights rebuilt from its rank files give transformers' own loss.
2. Ten steps of training on an English text, from the mount: real DeepSpeed with transformers' model, or, where
   MEGATRON_DEEPSPEED names a checkout, real Megatron-DeepSpeed with its own script. The loss starts at transformers' own.
3. The checkpoint that was saved, as a Hugging Face directory. transformers writes a text with it.
4. The trained model in another layout, loaded there.

The status is 1 if anything differs, or if zerofs wrote to the disk.
"""
import argparse
import contextlib
import json
import logging
import os
import shlex
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import environment

logging.disable(logging.WARNING)
warnings.filterwarnings("ignore")

import torch

import demo_weights
from mounting import Mount, mounted

TP, PP, DP = 3, 2, 2
STEPS, SEQUENCE, LR = 10, 128, 5e-5
TEXT = environment.TOP / "docs/architecture.md"
PROMPT = "A checkpoint file is"


def say(text: str) -> None:
    print(f"\n{text}", flush=True)


@contextlib.contextmanager
def progress(what: str) -> Iterator[None]:
    """A line for what takes more than two seconds; on a terminal it counts them. Nothing else may be printed meanwhile."""
    start, done, live = time.monotonic(), threading.Event(), sys.stdout.isatty()

    def watch() -> None:
        if done.wait(2):
            return
        print(f"  … {what}", end="" if live else "\n", flush=True)
        while not done.wait(1):
            if live:
                print(f"\r  … {what}: {time.monotonic() - start:.0f} s", end="", flush=True)
        print(("\r" if live else "") + f"  … {what}: {time.monotonic() - start:.0f} s", flush=True)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


class Demo:
    """One run: where things are, what was mounted, what was wrong."""

    def __init__(self, zerofs: Path, hf: Path, scratch: Path, checkout: Path | None) -> None:
        from transformers import AutoTokenizer
        self.zerofs, self.hf, self.scratch, self.checkout = zerofs, hf, scratch, checkout
        self.tokenizer = AutoTokenizer.from_pretrained(hf)
        self.tokens = self.tokenizer(TEXT.read_text()).input_ids
        self.written, self.wrong = 0, []

    @contextlib.contextmanager
    def mount(self, source: Path, name: str, *options: object) -> Iterator[Mount]:
        (point := self.scratch / name).mkdir()
        shown = [f"'{option}'" if " " in str(option) else str(option) for option in options]
        line = " ".join(["$ zerofs mount", str(source), str(point), *shown])
        say(line if len(line) < 300 else line[:300] + " …")
        with mounted(self.zerofs, source, point, *options) as mount:
            print(f"  ready after {mount.seconds * 1000:.0f} ms")
            yield mount
            self.written += mount.bytes_written()

    def check(self, good: bool, words: str) -> None:
        print(f"  {words}" if good else f"  WRONG: {words}", flush=True)
        if not good:
            self.wrong.append(words)

    @torch.no_grad()
    def loss(self, directory: Path, batch: list[list[int]]) -> float:
        from transformers import AutoModelForCausalLM
        model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.bfloat16).eval()
        return float(model(input_ids=torch.tensor(batch), labels=torch.tensor(batch)).loss)

    def generated(self, directory: Path) -> str:
        from transformers import AutoModelForCausalLM
        model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.bfloat16).eval()
        prompt = self.tokenizer(PROMPT, return_tensors="pt")
        out = model.generate(**prompt, max_new_tokens=24, do_sample=False, pad_token_id=0)
        return self.tokenizer.decode(out[0], skip_special_tokens=True).replace("\n", " ")


def tree(root: Path) -> None:
    files = sorted(f for f in root.rglob("*") if f.is_file())
    for directory in sorted({f.parent for f in files}):
        inside = [f for f in files if f.parent == directory]
        print(f"  {directory.relative_to(root.parent)}/  {len(inside)} files, "
              f"{sum(f.stat().st_size for f in inside) / 1e6:.1f} MB")
        for f in inside[:3] + inside[-2:] if len(inside) > 6 else inside:
            print(f"    {f.name:58s} {f.stat().st_size:>12,}")


@contextlib.contextmanager
def as_a_checkpoint(demo: Demo, source: Path, name: str) -> Iterator[Mount]:
    """Mounted for Megatron-DeepSpeed, with the weights and masters of the source."""
    layout = ["--tp", TP, "--pp", PP, "--dp", DP, "--zero-stage", 1, "--dtype", "bf16"]
    with demo.mount(source, name, *layout) as mount:
        tree(mount.path)
        with progress("rebuilding the weights"):
            table, good = demo_weights.compared(mount.path, source, TP, PP, DP)
        print(table)
        demo.check(good, "equal weights, equal loss")
        yield mount


def loads_in_deepspeed(demo: Demo, tree: Path) -> None:
    """The optimizer state of the first model-parallel rank."""
    script = Path(__file__).with_name("deepspeed_load.py")
    with progress("DeepSpeed loads one of its model-parallel ranks"):
        done = subprocess.run([sys.executable, "-W", "ignore", script, tree, "--dp", str(DP), "--zero", "1"],
                              capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout)
    demo.check(result["masters_differ"] == 0 and result["nonzero"] == result["parameters"],
               f"{result['optimizer']} loaded {result['parameters']} parameters; masters that are not the weights: "
               f"{result['masters_differ']}")


def falls(demo: Demo, own: float, losses: list[float]) -> None:
    print("  loss of each step: " + " ".join(f"{loss:.4f}" for loss in losses))
    demo.check(abs(losses[0] - own) < 0.05, f"it starts at transformers' own, {own:.4f}")
    demo.check(losses[-1] < losses[0] - 0.1, f"it falls by {losses[0] - losses[-1]:.2f}")


def train_deepspeed(demo: Demo) -> Path:
    """DeepSpeed with transformers' model, two processes; one sequence of the text for each."""
    saved = demo.scratch / "saved"
    batch = [demo.tokens[:SEQUENCE], demo.tokens[SEQUENCE:2 * SEQUENCE]]
    case = {"hf": str(demo.hf), "zero": 2, "tokens": batch, "steps": STEPS, "lr": LR, "save": str(saved),
            "tree": str(demo.scratch / "for-deepspeed")}
    (demo.scratch / "cases.json").write_text(json.dumps([case]))
    script, out = Path(__file__).with_name("demo_engine.py"), demo.scratch / "out.json"
    with demo.mount(demo.hf, "for-deepspeed", "--flavor", "hf", "--dp", 2, "--zero-stage", 2):
        with progress("training in DeepSpeed, ZeRO 2 (the first time it compiles its CPU collective)"):
            done = subprocess.run([sys.executable, "-W", "ignore", script, demo.scratch / "cases.json", out],
                                  capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    [result] = json.loads(out.read_text())
    assert "error" not in result, result["error"]
    falls(demo, demo.loss(demo.hf, batch), result["losses"])
    as_hugging_face(demo, saved, batch, result["losses"][-1])
    return saved


def as_hugging_face(demo: Demo, saved: Path, batch: list[list[int]], last: float) -> None:
    """The saved checkpoint for transformers; the trained model in another layout, while it is mounted."""
    print(f"  saved {sum(f.stat().st_size for f in saved.rglob('*') if f.is_file()) / 1e6:.0f} MB")
    with demo.mount(saved, "trained", "--as", "hf", "--like", demo.hf) as mount:
        with progress("transformers computes and writes"):
            loss = demo.loss(mount.path, batch)
            before, after = demo.generated(demo.hf), demo.generated(mount.path)
        demo.check(abs(loss - last) < 0.05, f"transformers' loss of the trained model: {loss:.4f}")
        print(f"  before: {before}\n  after:  {after}")
        if not demo.checkout:
            with as_a_checkpoint(demo, mount.path / f"global_step{STEPS}", "another-layout") as another:
                loads_in_deepspeed(demo, another.path)


def train_megatron(demo: Demo) -> None:
    """Megatron-DeepSpeed's own script: two pipeline stages, and from what that saved two data-parallel ranks without them."""
    import demo_megatron
    saved = demo.scratch / "saved"
    tokens = demo.tokens[:SEQUENCE]
    batch = [tokens + tokens[:1]]  # a document of one sequence, again and again: behind its end is its beginning
    layout = ["--tp", 1, "--pp", 2, "--dp", 1]
    line = demo_megatron.command_line(demo.zerofs, demo.hf, layout, tokens, STEPS, demo.scratch / "pipeline")
    with demo.mount(demo.hf, "for-megatron", *layout, "--device", "cpu", "--train-args", shlex.join(line)) as mount:
        with progress("training in Megatron-DeepSpeed, two pipeline stages"):
            losses = demo_megatron.train(demo.checkout, line, 2, mount.path, saved)
    falls(demo, demo.loss(demo.hf, batch), losses)
    layout = ["--tp", 1, "--pp", 1, "--dp", 2, "--no-pipeline-parallel"]
    line = demo_megatron.command_line(demo.zerofs, demo.hf, layout, tokens, STEPS + 1, demo.scratch / "no-pipeline")
    # MDS refuses the schedule of a run with another batch. With --train-args the checkpoint has that of the new run.
    with demo.mount(saved, "another-layout", *layout, "--train-args", shlex.join(line)) as mount:
        with progress("one step more, two data-parallel ranks"):
            [last] = demo_megatron.train(demo.checkout, line, 2, mount.path)
        demo.check(last < losses[-1] + 0.02, f"it goes on there: {last:.4f}")
    as_hugging_face(demo, saved, batch, last)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("zerofs", type=Path)
    parser.add_argument("hf", type=Path)
    arguments = parser.parse_args()
    checkout, hf = os.environ.get("MEGATRON_DEEPSPEED"), arguments.hf.resolve()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="demo.", dir=hf.parent) as scratch:
        demo = Demo(arguments.zerofs.resolve(), hf, Path(scratch), Path(checkout).resolve() if checkout else None)
        with as_a_checkpoint(demo, hf, "checkpoint"):
            pass
        train_megatron(demo) if checkout else train_deepspeed(demo)
    say("What it cost")
    demo.check(demo.written == 0, f"disk written by zerofs: {demo.written} bytes")
    print("  done" if not demo.wrong else "  FAILED: " + "; ".join(demo.wrong), f"in {time.monotonic() - start:.0f} s")
    return bool(demo.wrong)


if __name__ == "__main__":
    sys.exit(main())
