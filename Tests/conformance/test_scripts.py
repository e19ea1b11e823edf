"""Launch scripts: what zerofs takes from each against the words that bash itself hands to the training program.

The field's scripts are compared by $SHARED/field/scripts/check.py; others here, with bash as the oracle.
"""
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import SHARED

FIELD = SHARED / "field/scripts"
STAND_IN = """#!/bin/bash
found=; words=()
for word; do if [ "$found" ]; then words+=("$word"); elif [[ $word == *.py ]]; then found=1; fi; done
if [ "$found" ]; then printf '%s\\0' "${words[@]}" >> "$RECORD"; printf '\\n' >> "$RECORD"; exit; fi
for ((i = 1; i <= $#; i++)); do case ${!i} in bash|sh) exec "${@:i}" ;; esac; done
"""
# Each launches with the same words wherever it runs, and bash says with which.
SCRIPTS = {
    "printf": "printf -v LR '%d' 007; deepspeed t.py $M --seed $LR",
    "mapfile": "mapfile -t A < <(printf '2\\n3\\n'); deepspeed t.py $M --zero-stage 1",
    "here-string": "read -r A B <<< '1 2'; deepspeed t.py $M --zero-stage $A --seed $B",
    "suffix": "F=run_z1.yaml; Z=${F%.yaml}; deepspeed t.py $M --zero-stage ${Z#run_z}",
    "case of letters": "T=BF16; deepspeed t.py $M --${T,,} --seed 3",
    "let": "let S=3*4; ((S++)); deepspeed t.py $M --seed $S",
    "c-style loop": "for ((i = 0; i < 3; i++)); do O=\"$O --seed $i\"; done; deepspeed t.py $M $O",
    "until": "i=0; until [ $i -ge 4 ]; do i=$((i + 1)); done; deepspeed t.py $M --seed $i",
    "function with output": "f() { echo \"--seed $(($1 * 2))\"; }; deepspeed t.py $M $(f 4)",
    "local": "S=1; f() { local S=2; g; }; g() { O=\"--seed $S\"; }; f; deepspeed t.py $M $O",
    "set --": "set -- --seed 9 --zero-stage 1; deepspeed t.py $M \"$@\"",
    "shift": "set -- a b c; shift 2; [ $1 = c ] && O='--seed 5'; deepspeed t.py $M $O",
    "launcher": "srun --ntasks 4 bash -c \"cd /; exec python -u t.py $M --seed 8\"",
    "not exported": "S=5; export T=6; bash -c 'deepspeed t.py '\"$M\"' --seed ${S:-1}$T'",
    "env": "env A=1 B=2 python3 t.py $M --seed 4",
    "pipeline of functions": "f() { cat; }; S=$(echo 12 | f); deepspeed t.py $M --seed $S 2>&1 | tee /dev/null",
    "subshell": "S=1; (S=2; export S); deepspeed t.py $M --seed $S",
    "nested quotes": "O=\"--save 'a b'\"; eval deepspeed t.py $M $O",
    "negated": "if ! [ 1 = 2 ]; then O='--seed 6'; fi; deepspeed t.py $M $O",
    "errexit": "set -e; false || true; deepspeed t.py $M --seed 2; false; deepspeed t.py $M --seed 3",
    "trailing and": "A=; [ -n \"$A\" ] && O='--seed 1'; deepspeed t.py $M $O",
    "array index": "A=(3 4 5); deepspeed t.py $M --seed ${A[1]} --no-pipeline-parallel --zero-stage ${#A[@]}",
    "array slice": "A=(--seed 4 --lr 9); deepspeed t.py $M \"${A[@]:0:2}\"",
    "keys": "A=(x y); for i in \"${!A[@]}\"; do O=\"--seed $i\"; done; deepspeed t.py $M $O",
    "ternary": "Z=$((2 > 1 ? 1 : 3)); deepspeed t.py $M --zero-stage $Z",
    "octal": "deepspeed t.py $M --seed $((010 + 1))",
    "braces": "for i in {1..3}; do S=$i; done; deepspeed t.py $M --seed $S",
    "IFS": "IFS=, read -ra A <<< '1,2,3'; deepspeed t.py $M --seed ${A[2]}",
    "escapes": "deepspeed t.py $M --save a\\ b\"c\\\"d\"'e'$'\\tf'",
    "append": "O=--seed; O+=' 4'; deepspeed t.py $M $O",
    "break": "for i in 1 2 3; do for j in 4 5; do S=$i$j; [ $S = 24 ] && break 2; done; done; deepspeed t.py $M --seed $S",
    "continue": "for i in 1 2 3; do [ $i = 3 ] && continue; S=$i; done; deepspeed t.py $M --seed $S",
    "indented document": "cat > j.sh <<-E\n\tdeepspeed t.py $M --seed 5\n\tE\nbash j.sh",
    "sed": "S=$(echo a7 | sed s/a//); deepspeed t.py $M --seed $S",
    "getopts": "while getopts s: o; do S=$OPTARG; done; deepspeed t.py $M --seed ${S:-3}",
    "regular expression": "[[ ab1 =~ [0-9] ]] && O='--seed 1'; deepspeed t.py $M $O",
    "error in the middle": "deepspeed t.py $M --seed 1 &&\ndeepspeed t.py $M --seed 1",
    "unset": "O='--seed 1'; unset O; deepspeed t.py $M ${O:-}",
    "xargs": "echo --seed 3 | xargs deepspeed t.py $M",
    "changed file": "echo 'S=1' > e.sh; sed -i s/1/2/ e.sh; source ./e.sh; deepspeed t.py $M --seed $S",
}
MODEL = "M" + next(line for line in (FIELD / "01.sh").read_text().splitlines() if line.startswith("MODEL="))[5:] + "\n"
MODEL = MODEL.replace("--bf16", "--lr 1e-4 --bf16")


@pytest.fixture
def bash(tmp_path: Path):
    """The words behind the program of each command that bash starts."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("deepspeed", "python", "python3", "srun", "mpiexec"):
        (programs / name).write_text(STAND_IN)
        (programs / name).chmod(0o755)
    record = tmp_path / "record"

    def words(script: Path) -> list[list[str]]:
        record.write_text("")
        env = {"PATH": f"{programs}:/usr/bin:/bin", "HOME": "/root", "RECORD": str(record)}
        subprocess.run(["bash", script.name], cwd=script.parent, env=env, capture_output=True, timeout=20)
        return [line.split("\0")[:-1] for line in record.read_text().splitlines()]
    return words


def test_field(zerofs: Path) -> None:
    done = subprocess.run([sys.executable, FIELD / "check.py"], env=os.environ | {"ZEROFS": str(zerofs)}, capture_output=True,
                          text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " right" in done.stdout.splitlines()[-1], done.stdout


@pytest.mark.parametrize("name", SCRIPTS)
def test_as_bash(bash, tmp_path: Path, golden: Path, zerofs: Path, name: str) -> None:
    """The same seed, ZeRO stage and switches as bash's words give, or a refusal that names the line."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder in (ours, theirs):
        folder.mkdir()
        (folder / "t.sh").write_text(MODEL + SCRIPTS[name] + "\n")
    started = bash(theirs / "t.sh")
    assert started, "bash starts nothing: the test is wrong"

    out = ours / "out"
    done = subprocess.run([zerofs, "materialize", golden / "hf/llama_bf16", out, "--device", "cpu", "--train-args", "t.sh"], cwd=ours,
                          text=True, capture_output=True, timeout=60, env={"PATH": os.environ["PATH"], "HOME": "/root"})
    assert {path.name for path in ours.iterdir()} <= {"t.sh", "out"}, "zerofs wrote"
    if done.returncode:
        assert re.search(r"\bline \d+|--[a-z-]+ has", done.stderr), done.stderr
        return
    options = json.loads((out / "zerofs-manifest.json").read_text())["origin"]["options"]
    assert {tuple(words) for words in started} == {tuple(shlex.split(options["train-args"]))}
