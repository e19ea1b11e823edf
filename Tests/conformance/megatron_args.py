"""The command line that the oracle runs a golden case with."""
import importlib.util
import sys
from pathlib import Path


def oracle_module(oracle: Path, name: str):
    """One of the oracle's scripts as a module."""
    sys.path.append(str(oracle))
    spec = importlib.util.spec_from_file_location(name, oracle / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def command_line(oracle: Path, golden: Path, case: dict) -> list[str]:
    run = oracle_module(oracle, "mds_run")
    hf = golden / "hf" / case["hf"]
    options = ["--hf", str(hf), "--dir", "none", "--dtype", case["dtype"]]
    for name in ("tp", "pp", "dp", "zero"):
        options += [f"--{name}", str(case[name])]
    if case.get("no_pipe"):
        options.append("--no-pipe")
    if "mds" in case:
        options += ["--mds", case["mds"]]
    words = run.mds_argv(run.options(options), run.hf_cfg(str(hf)), case["tp"] * case["pp"] * case["dp"], "ds.json")
    return words[1:]
