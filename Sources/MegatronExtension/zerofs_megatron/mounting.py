"""--hf HF_DIR: the run in a mount of its own, as `zerofs run` makes it.

One process of each node mounts the tree of exactly this run: layout, schedule and optimizer are those of the script's arguments.
The others wait for it, and the last one to leave unmounts. --load points at it; once --save has a checkpoint, at that.
"""
import argparse
import os
import shlex
import sys

from zerofs_megatron.errors import ExtensionError

PACKAGE = os.path.dirname(os.path.abspath(__file__))
SPEC = "{}/.zerofs/extension.json"      # of the mount; keep.py puts it beside the run's own checkpoints, too


def run(model, more, script, arguments):
    """Replaces this process; `zerofs` is looked for on PATH, or $ZEROFS names it."""
    zerofs = os.environ.get("ZEROFS", "zerofs")
    try:
        os.execvp(zerofs, command(zerofs, model, shlex.split(more), script, arguments))
    except OSError as error:
        raise ExtensionError(f"--hf: {zerofs}: {error.strerror}: install zerofs, or name the program by ZEROFS=…") from None


def run_in_place_of(words):
    """As `--hf $ZEROFS_MEGATRON_HF` before the script, in a process that starts as one of MDS's training scripts.

    words: sys.orig_argv. It has sys.path, but has run nothing yet.
    """
    script = next((i for i, word in enumerate(words) if i and word.endswith(".py") and not word.startswith("-")), None)
    model = os.environ.get("ZEROFS_MEGATRON_HF")
    if not model or script is None or {"-c", "-m"} & set(words[1:script]):
        return
    if not os.path.basename(words[script]).startswith("pretrain_") or not checkout(words[script]):
        return
    del os.environ["ZEROFS_MEGATRON_HF"]      # not for the processes that follow
    run(model, os.environ.get("ZEROFS_MEGATRON_OPTIONS", ""), words[script], words[script + 1:])


def command(zerofs, model, more, script, arguments):
    """Which options of the run decide what is mounted, `zerofs` finds in its arguments; files that they name, it is given."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--save")
    parser.add_argument("--deepspeed_config", "--deepspeed-config")
    files = parser.parse_known_args(arguments)[0]
    options = ["--device", device(), "--train-args", shlex.join([script, *arguments])]
    if checkout(script):      # which fork it is
        options += ["--megatron", checkout(script)]
    if files.deepspeed_config:
        options += ["--deepspeed-config", files.deepspeed_config]
    if files.save:
        options += ["--save", files.save]
    # Behind the script's own --load: the last one counts.
    again = [sys.executable, PACKAGE, "--spec", SPEC, script, *arguments, "--load", "{}"]
    return [zerofs, "run", model, *options, *more, "--", *again]


def device():
    """Whose random states DeepSpeed loads (its accelerator/real_accelerator.py: get_accelerator)."""
    named = os.environ.get("DS_ACCELERATOR")
    if named in ("cuda", "xpu", "cpu"):
        return named
    import torch
    if torch.cuda.is_available():
        return "cuda"
    return "xpu" if hasattr(torch, "xpu") and torch.xpu.is_available() else "cpu"


def checkout(script):
    """Where the script would import MDS from."""
    folder = os.path.dirname(os.path.abspath(script))
    return next((path for path in [folder, *sys.path] if os.path.isdir(os.path.join(path, "megatron/model"))), None)
