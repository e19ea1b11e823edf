"""The launcher: runs a training script as `python3 SCRIPT ARGS…` would, with MDS extended."""
import argparse
import os
import runpy
import sys

from zerofs_megatron import extending, mounting
from zerofs_megatron.errors import ExtensionError
from zerofs_megatron.spec import Spec


def options(argv):
    parser = argparse.ArgumentParser(
        prog="python3 -m zerofs_megatron", allow_abbrev=False,
        description="Run a training script of Megatron-DeepSpeed, extended by what the model needs.")
    parser.add_argument("--spec", metavar="FILE", help="what the model needs; default: $ZEROFS_MEGATRON_SPEC, "
                        "else extension.json beside the package")
    parser.add_argument("--hf", metavar="HF_DIR", help="mount the checkpoint of this model, in the run's own layout, and load it "
                        "(by `zerofs run`); once --save has a checkpoint, load that")
    parser.add_argument("--zerofs", metavar="OPTIONS", default="", help="with --hf: more options of `zerofs run`, in one word")
    parser.add_argument("--local_rank", "--local-rank", help=argparse.SUPPRESS)      # DeepSpeed's launcher puts it here
    parser.add_argument("script", help="the training script: pretrain_gpt.py, pretrain_gpt_alcf.py, …")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="its own arguments, untouched")
    return parser.parse_args(argv)


def main(argv):
    given = options(argv)
    try:
        local_rank = [f"--local_rank={given.local_rank}"] if given.local_rank is not None else []
        if given.hf:
            mounting.run(given.hf, given.zerofs, given.script, local_rank + given.arguments)
        extending.extend(Spec.read(given.spec))
        run(given.script, local_rank + given.arguments)
    except ExtensionError as error:      # a message for people: no traceback
        print(f"zerofs_megatron: {error}", file=sys.stderr, flush=True)
        sys.exit(error.exit_status)
    extending.complain_if_unused()


def run(script, arguments):
    """As `__main__`, with its own folder first on the path: relative data, imports, and spawned workers find it."""
    sys.argv = [script, *arguments]
    sys.path[0] = os.path.dirname(os.path.abspath(script))      # was this package's, or the current folder (-m)
    runpy.run_path(script, run_name="__main__")
