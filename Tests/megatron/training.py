"""Real training scripts of real checkouts, run as users run them: as programs, by mpiexec, from a corpus on disk."""
import os
import re
import socket
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np

TOP = Path(__file__).resolve().parents[2]
HERE = TOP / "Tests/megatron"
PACKAGE = TOP / "Sources/MegatronExtension"      # the folder that holds zerofs_megatron, as MNT/.zerofs does
SHARED = Path(os.environ.get("SHARED", TOP.parent / "shared")).resolve()
SCRIPTS = ("pretrain_gpt_alcf.py", "pretrain_gpt.py")
LAYERS, SEQUENCE, VOCABULARY = 2, 32, 256      # no padding: universal checkpoints lose its rows


def script_of(checkout: Path) -> str:
    return next(s for s in SCRIPTS if (checkout / s).is_file())


def write_corpus(prefix: Path, documents: int = 1, size: int = 20_000, period: int | None = None) -> Path:
    """Documents of `size` random tokens, or of the same `period` again and again, in MDS's indexed format
    (megatron/data/indexed_dataset.py, MMapIndexedDataset)."""
    drawn = np.random.default_rng(1).integers(0, VOCABULARY - 1, period or documents * size, dtype=np.int32)
    prefix.with_suffix(".bin").write_bytes(np.resize(drawn, documents * size).tobytes())
    head = b"MMIDIDX\0\0" + struct.pack("<QBQQ", 1, 4, documents, documents + 1)      # version, int32, sequences, documents + 1
    starts = np.arange(documents, dtype=np.int64) * size * 4
    index = np.full(documents, size, np.int32).tobytes() + starts.tobytes() + np.arange(documents + 1, dtype=np.int64).tobytes()
    prefix.with_suffix(".idx").write_bytes(head + index)
    return prefix


def arguments(folder: Path, *more: object, tp=1, pp=1, dp=1, pipe=False, zero=1, iters=4, seq=SEQUENCE) -> list[str]:
    """Of a tiny Llama, two sequences a step."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "deepspeed.json"
    config.write_text(f'{{"train_micro_batch_size_per_gpu": {2 // dp}, "gradient_accumulation_steps": 1, "train_batch_size": 2,'
                      f' "steps_per_print": 1000, "zero_optimization": {{"stage": {zero}}}}}')
    given = f"""--num-layers {LAYERS} --hidden-size 64 --ffn-hidden-size 96 --num-attention-heads 8 --num-key-value-heads 4
        --seq-length {seq} --max-position-embeddings 256 --micro-batch-size {2 // dp} --global-batch-size 2 --train-iters {iters}
        --lr 0.01 --lr-decay-style constant --weight-decay 0.1 --clip-grad 1 --seed 7 --init-method-std 0.05
        --normalization rmsnorm --use-rotary-position-embeddings --swiglu --disable-bias-linear
        --untie-embeddings-and-output-weights --attention-dropout 0 --hidden-dropout 0 --no-query-key-layer-scaling
        --tokenizer-type NullTokenizer --vocab-size {VOCABULARY - 1} --make-vocab-size-divisible-by {256 // tp}
        --data-path {write_corpus(folder / 'corpus')} --data-cache-path {folder / 'cache'} --split 100,0,0 --num-workers 0
        --log-interval 1 --eval-iters 0 --eval-interval 100 --save-interval 100
        --tensor-model-parallel-size {tp} --pipeline-model-parallel-size {pp} --zero-stage {zero}
        --deepspeed --deepspeed_config {config} --distributed-backend gloo
        --no-masked-softmax-fusion --no-bias-gelu-fusion --no-bias-dropout-fusion --no-gradient-accumulation-fusion"""
    return given.split() + ([] if pipe else ["--no-pipeline-parallel"]) + [str(m) for m in more]


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def run(checkout: Path, command: list, ranks: int = 1, path: tuple = (), launcher: tuple = (), **environment: object
        ) -> subprocess.CompletedProcess:
    """python COMMAND…, on that many ranks, by `launcher` on each; PYTHONPATH is `path`, MDS, and the stand-ins."""
    env = environment_of(checkout, path) | {k: str(v) for k, v in environment.items()}
    if ranks == 1:
        env |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
    launcher = ["mpiexec", "-n", str(ranks), *map(str, launcher)] if ranks > 1 else []
    return subprocess.run([*launcher, sys.executable, "-W", "ignore", *map(str, command)], env=env, capture_output=True,
                          text=True, timeout=1200, cwd=checkout)


def environment_of(checkout: Path, path: tuple = ()) -> dict[str, str]:
    paths = [*path, checkout, HERE / "stand_ins", SHARED / "oracle/stubs"]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, paths)), "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WANDB_MODE": "disabled",
        "PATH": os.pathsep.join([str(HERE / "stand_ins/bin"), str(Path(sys.executable).parent), os.environ["PATH"]]),
    }


def losses(done: subprocess.CompletedProcess) -> list[float]:
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-5000:]}"
    return [float(x) for x in re.findall(r"lm loss[:=] ?([\d.E+-]+)", done.stdout)]
