"""The layout options of zerofs for a case of cases.json."""
import json
import tempfile
from pathlib import Path

CONFIGURATIONS = tempfile.TemporaryDirectory(prefix="zerofs-ds-config.")  # removed when Python leaves


def deepspeed_config(case: dict) -> dict:
    """What of the DeepSpeed configuration that the oracle ran the case with shows in a checkpoint."""
    fp16 = {"fp16": {"enabled": True, "initial_scale_power": 8}} if case["dtype"] == "fp16" else {}
    return fp16 | case.get("ds", {})


def options(case: dict) -> list[str]:
    words = ["--tp", case["tp"], "--pp", case["pp"], "--dp", case["dp"],
             "--zero-stage", case["zero"], "--dtype", case["dtype"]]
    if case.get("no_pipe"):
        words.append("--no-pipeline-parallel")
    if "pad" in case:
        words += ["--vocab-padding", case["pad"]]
    if "iteration" in case:
        words += ["--iteration", case["iteration"]]
    if config := deepspeed_config(case):
        text = json.dumps(config)
        file = Path(CONFIGURATIONS.name, f"{abs(hash(text))}.json")
        file.write_text(text)
        words += ["--deepspeed-config", file]
    return list(map(str, words))
