"""config.json and safetensors headers are read as transformers and safetensors read them."""
import json
import math
import re
import struct
from pathlib import Path

import pytest
from safetensors import SafetensorError, safe_open

from configuration_forms import FAMILIES, by_transformers, forms, table
from mounting import run

FORMS = 300  # of each family
KEPT = Path(__file__).resolve().parents[1] / "fixtures/configurations.json"


def by_zerofs(zerofs: Path, directory: Path, texts: list[str]) -> list[dict]:
    paths = [directory / f"{number}.json" for number in range(len(texts))]
    for path, text in zip(paths, texts):
        path.write_text(text)
    done = run(zerofs, "configuration", *paths)
    assert done.returncode == 0, done.stderr
    read = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(read) == len(texts)
    return read


def same(mine: object, theirs: object) -> bool:
    if isinstance(theirs, dict) and isinstance(mine, dict):
        return mine.keys() == theirs.keys() and all(same(mine[key], theirs[key]) for key in theirs)
    if isinstance(theirs, float) and not math.isfinite(theirs):
        return mine == {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}[str(theirs)]
    return mine == theirs


def is_refused_by_the_model(theirs: dict) -> bool:
    """What the configuration class takes, and no model can be made of: zerofs says so at once."""
    rope = theirs["rope"] or {"theta": 1, "partialRotaryFactor": 1}
    heads, hidden, kv = theirs["heads"], theirs["hiddenSize"], theirs["keyValueHeads"]
    return kv == 0 or heads % kv != 0 or isinstance(hidden, float) \
        or theirs["headDim"] == hidden // heads and hidden % heads != 0 \
        or rope["theta"] is None or rope["partialRotaryFactor"] is None or rope["partialRotaryFactor"] > 1


@pytest.mark.parametrize("family", FAMILIES)
def test_is_read_as_transformers_reads_it(family: str, zerofs: Path, tmp_path: Path) -> None:
    texts = forms(family, FORMS, 0)
    compared = 0
    for text, mine in zip(texts, by_zerofs(zerofs, tmp_path, texts)):
        theirs = by_transformers(tmp_path, text)
        if isinstance(theirs, str):  # transformers refuses it; zerofs may
            continue
        if is_refused_by_the_model(theirs):
            assert "error" in mine, text
            continue
        assert "error" not in mine, f"{mine['error']}\n{text}"
        mine.pop("warnings")
        different = {key: (mine.get(key), theirs.get(key)) for key in mine.keys() | theirs.keys()
                     if not same(mine.get(key), theirs.get(key))}
        assert not different, f"(zerofs, transformers): {different}\n{text}"
        compared += 1
    assert compared > FORMS // 3


def test_kept_table_is_what_transformers_says(tmp_path: Path) -> None:
    """The Swift tests' table. Made again by: configuration_forms.py > Tests/fixtures/configurations.json"""
    assert repr(json.loads(KEPT.read_text())) == repr(table(tmp_path))


CONTRADICTIONS = [
    ({"rope_theta": 1e4, "rope_scaling": {"rope_theta": 5e5, "rope_type": "default"}}, "rope_theta.*500000"),
    ({"rope_parameters": {"rope_theta": 5e5}, "rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling is served"),
    ({"rope_scaling": {"type": "dynamic", "rope_type": "linear", "factor": 2.0}}, "rope_type is served"),
    ({"dtype": "float32", "torch_dtype": "bfloat16"}, "dtype is served"),
    ({"model_type": "gpt2", "n_embd": 64, "hidden_size": 128}, "hidden_size is served"),
]


@pytest.mark.parametrize("change, words", CONTRADICTIONS)
def test_a_contradiction_is_said(change: dict, words: str, zerofs: Path, tmp_path: Path) -> None:
    start = {"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4}
    plain, changed = by_zerofs(zerofs, tmp_path, [json.dumps(start), json.dumps(start | change)])
    assert plain["warnings"] == []
    assert [w for w in changed["warnings"] if re.search(words, w)], changed["warnings"]


def test_of_a_member_that_comes_twice_the_last_counts(zerofs: Path, tmp_path: Path) -> None:
    text = '{"model_type": "llama", "rope_theta": 10000.0, "hidden_size": 4096, "rope_theta": 500000.0}'
    read, = by_zerofs(zerofs, tmp_path, [text])
    assert read["rope"]["theta"] == json.loads(text)["rope_theta"] == 500000
    assert "rope_theta more than once" in read["warnings"][0]


# Safetensors headers

ENTRY = '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
HEADERS = {
    "plain": '{"a":%s}' % ENTRY,
    "trailing comma": '{"a":%s,}' % ENTRY,
    "float dimension": '{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}',
    "exponent": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4e0]}}',
    "minus zero": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[-0,4]}}',
    "unknown dtype": '{"a":{"dtype":"NOPE","shape":[1],"data_offsets":[0,4]}}',
    "lower case": '{"a":{"dtype":"f32","shape":[1],"data_offsets":[0,4]}}',
    "metadata number": '{"__metadata__":{"a":5},"a":%s}' % ENTRY,
    "metadata null": '{"__metadata__":null,"a":%s}' % ENTRY,
    "metadata list": '{"__metadata__":[],"a":%s}' % ENTRY,
    "metadata nested": '{"__metadata__":{"a":{"b":"c"}},"a":%s}' % ENTRY,
    "metadata twice": '{"__metadata__":{},"__metadata__":{},"a":%s}' % ENTRY,
    "member twice": '{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "unknown member": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":[1,{"y":null}]}}',
    "unknown member NaN": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":NaN}}',
    "no shape": '{"a":{"dtype":"F32","data_offsets":[0,4]}}',
    "null shape": '{"a":{"dtype":"F32","shape":null,"data_offsets":[0,4]}}',
    "three offsets": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}',
    "one offset": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}',
    "space in front": ' {"a":%s}' % ENTRY,
    "space behind": '{"a":%s} \n\t' % ENTRY,
    "NUL behind": '{"a":%s}\0\0' % ENTRY,
    "more behind": '{"a":%s} x' % ENTRY,
    "escaped": '{"\\u0061":{"dtype":"\\u004632","shape":[1],"data_offsets":[0,4]}}',
    "half a surrogate pair": '{"\\ud800":%s}' % ENTRY,
    "beyond 64 bits": '{"a":{"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,4]}}',
    "overflow": '{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4]}}',
    "overflow before a zero":
        '{"a":{"dtype":"F32","shape":[4611686018427387904,4611686018427387904,0],"data_offsets":[0,0]},"b":%s}' % ENTRY,
    "half a byte": '{"a":{"dtype":"F4","shape":[7],"data_offsets":[0,4]}}',
    "F4": '{"a":{"dtype":"F4","shape":[8],"data_offsets":[0,4]}}',
    "F6": '{"a":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[1],"data_offsets":[3,4]}}',
    "not UTF-8": b'{"\xff":%s}' % ENTRY.encode(),
    "control character": '{"a\n":%s}' % ENTRY,
    "deep": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":%s}}' % ("[" * 124 + "]" * 124),
    "too deep": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":%s}}' % ("[" * 126 + "]" * 126),
    "empty name": '{"":%s}' % ENTRY,
    "hole": '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[3,4]}}',
    "shared bytes": '{"a":%s,"b":%s}' % (ENTRY, ENTRY),
}


def hf_directory(path: Path, header: str | bytes, data: bytes = bytes(4)) -> Path:
    path.mkdir(exist_ok=True)
    text = header if isinstance(header, bytes) else header.encode()
    (path / "config.json").write_text('{"model_type": "llama", "num_hidden_layers": 1, "dtype": "float32"}')
    (path / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_header_is_read_as_safetensors_reads_it(header: str | bytes, zerofs: Path, tmp_path: Path) -> None:
    hf = hf_directory(tmp_path / "hf", header)
    try:
        with safe_open(hf / "model.safetensors", "numpy") as file:
            file.keys()
        is_valid = True
    except SafetensorError:
        is_valid = False
    done = run(zerofs, "plan", hf)
    assert done.returncode == 5
    assert ("not a valid safetensors file" in done.stderr) != is_valid, done.stderr


def test_a_tensor_that_comes_twice_is_refused_by_name(zerofs: Path, tmp_path: Path) -> None:
    """The reference takes the last, other readers the first."""
    empty = '{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    done = run(zerofs, "plan", hf_directory(tmp_path / "hf", '{"twice":%s,"twice":%s}' % (empty, ENTRY)))
    assert done.returncode == 5 and "twice is there twice" in done.stderr
