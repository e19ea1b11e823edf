"""Real Megatron-DeepSpeed in the demo: its own training script on a text, with the arguments that `zerofs args` prints."""
import struct
import sys
from pathlib import Path

import numpy

from environment import TOP
from mounting import run

sys.path.append(str(TOP / "Tests/megatron"))
import training  # noqa: E402


def write_corpus(prefix: Path, tokens: list[int]) -> None:
    """One document in MDS's indexed format (megatron/data/indexed_dataset.py, MMapIndexedDataset)."""
    prefix.with_suffix(".bin").write_bytes(numpy.int32(tokens).tobytes())
    head = b"MMIDIDX\0\0" + struct.pack("<QBQQ", 1, 4, 1, 2)  # version, int32, sequences, documents + 1
    index = numpy.int32([len(tokens)]).tobytes() + numpy.int64([0]).tobytes() + numpy.int64([0, 1]).tobytes()
    prefix.with_suffix(".idx").write_bytes(head + index)


def command_line(zerofs: Path, hf: Path, layout: list, tokens: list[int], steps: int, folder: Path) -> list[str]:
    """The model's arguments from zerofs, the run's beside them. A corpus of one sequence is the batch of every step."""
    folder.mkdir()
    write_corpus(folder / "corpus", tokens)
    lines = run(zerofs, "args", hf, *layout, "--deepspeed-config-out", folder / "deepspeed.json").stdout.splitlines()
    model = " ".join(line.split("#")[0] for line in lines).split()
    dp = layout[layout.index("--dp") + 1]
    return model + f"""--seq-length {len(tokens)} --global-batch-size {dp} --train-iters {steps}
        --lr 5e-5 --lr-decay-style constant --lr-decay-iters 1000 --weight-decay 0.1 --clip-grad 1
        --data-path {folder / 'corpus'} --data-cache-path {folder / 'cache'} --split 100,0,0 --num-workers 0
        --log-interval 1 --eval-iters 0 --eval-interval 1000 --save-interval 1000 --distributed-backend gloo
        --no-masked-softmax-fusion --no-bias-gelu-fusion --no-bias-dropout-fusion --no-gradient-accumulation-fusion""".split()


def train(checkout: Path, arguments: list[str], ranks: int, load: Path, save: Path | None = None) -> list[float]:
    """The loss of each step. A full load: nothing but --load."""
    saved = ["--save", save] if save else []
    return training.losses(training.run(
        checkout, [training.script_of(checkout), *arguments, "--load", load, *saved], ranks))
