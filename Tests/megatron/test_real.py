"""A real model, SmolLM2, with llama3 scaling put into its config.json, from a mount."""
from pathlib import Path

import numpy
import pytest

import families
from environment import CACHE
from mounting import mounted
from test_mount import ZEROFS, pytestmark  # noqa: F401

LAYOUT = ["--pipe", "--tp", 3, "--pp", 2, "--seq", 128, "--mbs", 1]      # 3 key-value heads


@pytest.mark.skipif(not (CACHE / "smollm2").is_dir(), reason="no SmolLM2: Tests/conformance/smollm2.py makes it")
def test_smollm2_with_llama3_scaling(checkout: Path, tmp_path: Path, measured) -> None:
    """Stock MDS, given the same weights, shows what the extension is for."""
    families.make(checkout, tmp_path, ["smollm2_llama3"])

    def difference(name: str, *options: object, extended: bool) -> float:
        (mountpoint := tmp_path / name).mkdir()
        with mounted(ZEROFS, tmp_path / "hf/smollm2_llama3", mountpoint, "--follow-links", "--tp", 3, "--pp", 2, "--dtype", "fp32",
                     *options) as m:
            result = families.run(checkout, tmp_path, ["smollm2_llama3"], *LAYOUT, "--load", m.path, extended=extended)["smollm2_llama3"]
        assert result.difference is not None, result.said
        return result.difference / float(numpy.abs(numpy.load(tmp_path / "ref/smollm2_llama3/ref.npz")["fp32"]).max())
    extended, stock = difference("extended", extended=True), difference("stock", "--extension", "unguarded", extended=False)
    measured("SmolLM2, llama3", "of the largest logit", f"{extended:.1e}")
    measured("SmolLM2, llama3, stock", "of the largest logit", f"{stock:.1e}")
    assert extended < 1e-5 and stock > 1e-2
