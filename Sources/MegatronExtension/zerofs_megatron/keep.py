"""The extension outlives the mount: rank 0 keeps the package and the spec in SAVE/.zerofs, beside the checkpoints.

    PYTHONPATH=SAVE/.zerofs python3 -m zerofs_megatron pretrain_gpt.py …       resumes without a mount
"""
import json
import os
import shutil
import tempfile

from zerofs_megatron.errors import ExtensionError
from zerofs_megatron.spec import Spec, differences

PACKAGE = os.path.dirname(os.path.abspath(__file__))


def keep(spec, save):
    kept = os.path.join(save, ".zerofs")
    refuse_another_model(spec, kept)
    files = {**package_files(), "extension.json": spec.text.encode()}
    if all(content(os.path.join(kept, name)) == data for name, data in files.items()):
        return
    os.makedirs(save, exist_ok=True)
    new = tempfile.mkdtemp(prefix=".zerofs-", dir=save)
    for name, data in files.items():
        path = os.path.join(new, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
    os.chmod(new, 0o755)
    put_in_place(new, kept)


def put_in_place(new, kept):
    """All files at once: a run that starts meanwhile finds the old ones or the new ones."""
    try:
        os.rename(new, kept)
    except OSError:      # there is one, and a folder can't be renamed over it
        os.rename(kept, new + "-old")
        os.rename(new, kept)
        shutil.rmtree(new + "-old", ignore_errors=True)


def package_files():
    files = {}
    for folder, _, names in os.walk(PACKAGE):
        for name in names:
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                files[os.path.join("zerofs_megatron", os.path.relpath(path, PACKAGE))] = content(path)
    return files


def content(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None


def refuse_another_model(spec, kept):
    text = content(os.path.join(kept, "extension.json"))
    wrong = differences(spec.model, Spec.of(json.loads(text)).model) if text else []
    if wrong:
        raise ExtensionError(f"--save names a folder with checkpoints of another model ({kept}): " + "; ".join(wrong))
