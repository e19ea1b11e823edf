"""ALCF's own launch scripts, unedited, of a copy of the checkout: what a job reads of a model comes from a mount of its own.

stand_ins/alcf has what these scripts fetch, and the launcher of the machine.
"""
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import numpy
import pytest
import torch
import transformers

from mounting import mounted
from test_mount import ZEROFS, pytestmark  # noqa: F401
from training import HERE, PACKAGE, SEQUENCE, SHARED, environment_of, losses, write_corpus

LIMIT = 5e-3      # of bf16's own rounding of a loss


def made(folder: Path, **more: object) -> Path:
    """A Llama with a tokenizer."""
    torch.manual_seed(3)
    config = transformers.LlamaConfig(
        hidden_size=64, intermediate_size=176, num_hidden_layers=2, num_attention_heads=8, num_key_value_heads=4, head_dim=8,
        vocab_size=259, max_position_embeddings=4096, initializer_range=0.08,
        rope_parameters={"rope_theta": 5e5, "rope_type": "default"}, **more)
    transformers.LlamaForCausalLM(config).bfloat16().save_pretrained(folder)
    for file in (SHARED / "golden/hf/llama_bf16").glob("tokenizer*"):
        shutil.copy(file, folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return made(tmp_path_factory.mktemp("model") / "hf", rms_norm_eps=1e-5)      # helpers.sh has no epsilon


@pytest.fixture(scope="module")
def copy(checkout: Path, tmp_path_factory) -> Path:
    if not (checkout / "train_alcf.sh").is_file():
        pytest.skip(f"{checkout} isn't ALCF's")
    return shutil.copytree(checkout, tmp_path_factory.mktemp("alcf") / "MDS", ignore=shutil.ignore_patterns(".git", "__pycache__"))


def cross_entropy(model: Path, ids: list[int], start: int = 0) -> float:
    """transformers', of the tokens from `start` on."""
    llm = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    given = torch.tensor([ids])
    with torch.no_grad():
        logits = llm(given[:, :-1]).logits[0]
    after = max(start, 1)
    return float(torch.nn.functional.cross_entropy(logits[after - 1:], given[0, after:]))


class Job:
    """train_alcf.sh with the environment and the arguments that `zerofs args --format helpers` prints."""

    def __init__(self, copy: Path, model: Path, folder: Path, save: str) -> None:
        write_corpus(folder / "corpus", documents=100, size=8 * SEQUENCE, period=SEQUENCE)
        (files := folder / "files.txt").write_text(f"1.0 {folder / 'corpus'} corpus\n")
        (hosts := folder / "hosts").write_text("here\n")
        env = environment_of(copy, (PACKAGE / "zerofs_megatron/auto",)) | {
            "PBS_O_WORKDIR": str(copy), "HOSTFILE": str(hosts), "NGPU_PER_HOST": "2", "WORLD_SIZE": "2", "BE": "gloo",
            "DATA_FILE_LIST": str(files), "SEQ": str(SEQUENCE), "TRAIN_ITERS": "8", "SAVE_INTERVAL": "2", "EVAL_ITERS": "1",
            "TRAIN_TOKENS": "", "LR": "0.001", "NO_FLASH_ATTN": "1", "NO_TENSORBOARD": "1", "PIP_NO_INDEX": "1",
            "CKPT_DIR": str(folder / save), "ZEROFS_MEGATRON_HF": str(model), "ZEROFS": str(ZEROFS), "SHELL": "/bin/bash",
            "JOB": str(folder)}
        env["PATH"] = f"{HERE / 'stand_ins/alcf'}:{env['PATH']}"
        self.saved, self.marker, self.environment, self.copy = folder / save, f"JOB={folder}".encode(), env, copy
        self.model = model

    def start(self, *more: str) -> subprocess.Popen:
        script = (f'source <("$ZEROFS" args {self.model} --no-pipeline-parallel --format helpers); '
                  'bash train_alcf.sh "${ARGS[@]}" "$@"')
        return subprocess.Popen(["bash", "-c", script, "job", *more], env=self.environment, cwd=self.copy, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def run(self, *more: str) -> list[float]:
        process = self.start(*more)
        said, _ = process.communicate(timeout=600)
        found = losses(subprocess.CompletedProcess([], process.returncode, said, ""))
        assert found, said[-5000:]      # the script ends with 0 whatever happens
        return found

    def processes(self, word: bytes = b"") -> list[int]:
        """Those of the job whose command line has `word`."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if self.marker in (process / "environ").read_bytes().split(b"\0") and word in (process / "cmdline").read_bytes():
                    found.append(int(process.name))
        return found

    def kill_while_it_saves(self, job: subprocess.Popen, folder: Path) -> None:
        """As a batch system does at the end. The ranks are looked for before: then it is a matter of microseconds."""
        while len(ranks := self.processes(b"\0--train-iters=8")) < 2:      # of the ranks only, not of mpiexec
            assert job.poll() is None, job.communicate()[0][-3000:]
        while not folder.exists():
            assert job.poll() is None, job.communicate()[0][-3000:]
        for process in ranks:
            os.kill(process, signal.SIGKILL)
        for process in self.processes():
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)


def mounts_of(folder: Path) -> list[str]:
    return [line for line in Path("/proc/mounts").read_text().splitlines() if "fuse.zerofs" in line and str(folder) in line]


def test_train_alcf_three_jobs(copy: Path, model: Path, tmp_path: Path, measured) -> None:
    """Sent again as it is: the first job is cut, the second killed while it saves, the third goes on from what is whole."""
    whole = Job(copy, model, tmp_path, "whole").run()
    right = cross_entropy(model, numpy.fromfile(tmp_path / "corpus.bin", "int32")[:SEQUENCE + 1].tolist())
    measured("train_alcf.sh", "first loss", f"{whole[0]:.4f}, transformers {right:.4f}")
    assert len(whole) == 8 and whole[0] == pytest.approx(right, abs=LIMIT) and whole[-1] < whole[0] - 0.1
    chain = Job(copy, model, tmp_path, "chain")
    assert chain.run("--exit-interval", "2") == pytest.approx(whole[:2], abs=1e-6)
    latest = chain.saved / "latest"
    assert latest.read_text() == "global_step2"
    second = chain.start()
    chain.kill_while_it_saves(second, chain.saved / "global_step4")
    second.communicate(timeout=60)
    assert latest.read_text() == "global_step2", "it was killed too late to be told from one that had saved"
    assert chain.run() == pytest.approx(whole[2:], abs=1e-6)
    assert latest.read_text() == "global_step8" and not mounts_of(tmp_path)


EXAMPLE = {"instruction": "Name a city.", "input": "", "output": "Lima, where it seldom rains."}
PROMPT = ("Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
          "### Instruction:\n{instruction}\n\n### Response:")      # megatron/data/prompt_dataset.py, PROMPT_DICT


def test_finetune_llama(copy: Path, tmp_path: Path, measured) -> None:
    """With the lines that `zerofs args --format finetune` changes: theta, epsilon, tokenizer, what is loaded."""
    model, point = made(tmp_path / "hf", rms_norm_eps=1e-3), tmp_path / "mnt"
    point.mkdir()
    (copy / "dataset").mkdir(exist_ok=True)
    (copy / "dataset/alpaca_data.json").write_text(json.dumps([EXAMPLE] * 8))
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    prompt = PROMPT.format_map(EXAMPLE)
    ids = tokenizer(f"{prompt}{EXAMPLE['output']}{tokenizer.eos_token}").input_ids
    right = cross_entropy(model, ids, start=len(tokenizer(prompt).input_ids))
    layout = ["--pp", 2, "--zero-stage", 1]
    env = environment_of(copy) | {"WORLD_SIZE": "2", "BACKEND": "gloo", "MICRO_BATCH_SIZE": "1", "ZEROFS": str(ZEROFS),
                                  "MNT": str(point)}
    env["PATH"] = f"{HERE / 'stand_ins/alcf'}:{env['PATH']}"
    divisor = next(argument["values"][0] for argument in json.loads(subprocess.check_output(
        [ZEROFS, "args", model, *map(str, layout), "--format", "json"]))["arguments"]
        if argument["argument"] == "--make-vocab-size-divisible-by")
    script = (f'source <("$ZEROFS" args {model} {" ".join(map(str, layout))} --format finetune); '
              "exec bash ALCF/examples/finetune_llama3/finetune_llama.sh")
    with mounted(ZEROFS, model, point, *layout, "--make-vocab-size-divisible-by", divisor):
        with subprocess.Popen(["bash", "-c", script], env=env, cwd=copy, text=True, start_new_session=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            said, found = [], []
            end = threading.Timer(300, process.kill)
            end.start()
            for line in process.stdout:      # it would train for 3,500 steps
                said.append(line)
                found += [float(loss) for loss in re.findall(r"lm loss[:=] ?([\d.E+-]+)", line)]
                if len(found) == 3:
                    break
            end.cancel()
            subprocess.run(["pkill", "-KILL", "-f", f"finetune_llama.py --load {point}"])
            process.kill()
    assert len(found) == 3, "".join(said)[-5000:]
    measured("finetune_llama.sh", "first loss", f"{found[0]:.4f}, transformers {right:.4f}")
    assert found[0] == pytest.approx(right, abs=LIMIT)
