"""zerofs estimate, layouts and plan: numbers that DeepSpeed prints, layouts that exist, and a report that fits on a screen."""
import contextlib
import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
import transformers
from deepspeed.runtime.zero.stage3 import (estimate_zero3_model_states_mem_needs_all_cold,
                                           estimate_zero3_model_states_mem_needs_all_live)
from deepspeed.runtime.zero.stage_1_and_2 import (estimate_zero2_model_states_mem_needs_all_cold,
                                                  estimate_zero2_model_states_mem_needs_all_live)

from conftest import SHARED
from mounting import run
from sparse_llama import MODELS, tensors

HF = sorted([*(SHARED / "golden/hf").iterdir(), *(SHARED / "golden/families/hf").iterdir()], key=lambda p: p.name)
# Copies of an optimizer on so many GPUs that a tiny model's parameters show in hundredths of a GB.
GPUS = 100_000


def said(function, *arguments: object, **options: object) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as text:
        function(*arguments, **options)
    # From Python 3.11 on an f-string shows the enumeration, and not its value.
    return text.getvalue().replace("OffloadDeviceEnum.cpu", "cpu ").replace("OffloadDeviceEnum.none", "none")


@pytest.mark.parametrize("loading", ["AutoModel", "AutoModelForCausalLM"])
@pytest.mark.parametrize("hf", HF, ids=lambda p: f"{p.parent.parent.name}-{p.name}")
def test_estimate_is_deepspeeds(hf: Path, loading: str, zerofs: Path) -> None:
    model = getattr(transformers, loading).from_pretrained(hf, dtype=torch.bfloat16)
    sizes = {"num_gpus_per_node": GPUS, "num_nodes": 3}
    wanted = (said(estimate_zero2_model_states_mem_needs_all_live, model, **sizes)
              + said(estimate_zero3_model_states_mem_needs_all_live, model, **sizes))
    done = run(zerofs, "estimate", hf, "--loading", loading, "--gpus-per-node", GPUS, "--nodes", 3)
    assert done.stdout == wanted


@pytest.mark.parametrize("loading", ["AutoModel", "AutoModelForCausalLM"])
def test_estimate_of_70b(loading: str, sparse70b: Path, zerofs: Path) -> None:
    counts = {name: torch.Size(shape).numel() for name, shape in tensors(MODELS["llama-3.3-70b"]).items()
              if loading == "AutoModelForCausalLM" or name != "lm_head.weight"}
    sizes = {"num_gpus_per_node": 12, "num_nodes": 4}
    wanted = (said(estimate_zero2_model_states_mem_needs_all_cold, sum(counts.values()), **sizes)
              + said(estimate_zero3_model_states_mem_needs_all_cold, sum(counts.values()), max(counts.values()), **sizes))
    done = run(zerofs, "estimate", sparse70b, "--loading", loading, "--gpus-per-node", 12, "--nodes", 4)
    assert done.stdout == wanted
    if loading == "AutoModel":
        for printed in ("69503M total params, 1050M largest", " 436.93GB |   3.91GB", "4660.54GB |   6.61GB", "  70.45GB |  28.19GB"):
            assert printed in done.stdout


def test_layouts_are_possible_and_fit(sparse70b: Path, zerofs: Path) -> None:
    asked = ("--gpus", 48, "--gpus-per-node", 12, "--memory", "64GB")
    lines = run(zerofs, "layouts", sparse70b, *asked).stdout.splitlines()
    everything = run(zerofs, "layouts", sparse70b, *asked, "--all").stdout.splitlines()
    assert lines and everything[:len(lines)] == lines
    assert all(re.fullmatch(r"not tp\d+-pp\d+-dp\d+-zero\d(-nopipe)?: .+", line) for line in everything[len(lines):])
    for line in lines:
        options, size = line.split(": ", 1)
        words = options.split()
        numbers = {flag: int(words[words.index(flag) + 1]) for flag in ("--tp", "--pp", "--dp")}
        assert numbers["--tp"] * numbers["--pp"] * numbers["--dp"] == 48
        value, unit = size.split()[:2]
        assert float(value) * {"GB": 1, "MB": 1e-3, "TB": 1e3}[unit] <= 64
    plan = run(zerofs, "plan", sparse70b, *lines[0].split(": ")[0].split())
    assert plan.returncode == 0, plan.stderr
    more = run(zerofs, "layouts", sparse70b, "--gpus", 48, "--gpus-per-node", 12, "--memory", "80GB").stdout.splitlines()
    assert {line.split(": ")[0] for line in lines} <= {line.split(": ")[0] for line in more}


def test_a_tree_for_3072_ranks_fits_on_a_screen(sparse70b: Path, zerofs: Path) -> None:
    layout = ("--tp", 8, "--pp", 8, "--dp", 48)
    text = run(zerofs, "plan", sparse70b, *layout).stdout
    report = json.loads(run(zerofs, "plan", sparse70b, *layout, "--json").stdout)
    assert len(text.splitlines()) <= 24 and all(len(line) <= 120 for line in text.splitlines() if "global_step0" in line)
    assert f"{len(report['files'])} files" in text and "= 3072 ranks" in text
    folded = [int(n) for n in re.findall(r"(\d+) files", text)]
    assert len(report["files"]) in folded


def test_picture(golden: Path, zerofs: Path, tmp_path: Path) -> None:
    file = tmp_path / "plan.svg"
    report = json.loads(run(zerofs, "plan", golden / "hf/llama_bf16", "--tp", 2, "--pp", 2, "--json", "--picture", file).stdout)
    cells = ElementTree.parse(file).findall("{*}rect")
    shades = [int(re.search(r"(\d+)%\)", cell.get("fill")).group(1)) for cell in cells]
    sizes = [rank["modelStates"] + rank["optimizerStates"] for rank in report["ranks"]]
    assert len(cells) == 4 and shades[sizes.index(max(sizes))] == min(shades)      # the most is the darkest


def test_folded_files_are_all_files(golden: Path, zerofs: Path) -> None:
    layout = ("--tp", 2, "--pp", 2, "--dp", 2)
    every = run(zerofs, "plan", golden / "hf/llama_bf16", *layout, "--files").stdout
    report = json.loads(run(zerofs, "plan", golden / "hf/llama_bf16", *layout, "--json").stdout)
    assert all(f"{file['size']}  {file['path']}" in every for file in report["files"])
