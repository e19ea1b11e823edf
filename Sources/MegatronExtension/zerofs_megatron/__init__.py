"""What a model needs and Megatron-DeepSpeed (MDS) has no flag for, added to an imported, unedited MDS at run time.

Three ways to use it, each before MDS builds the model (docs/extension.md):

    python3 -m zerofs_megatron pretrain_gpt.py ARGS…       in front of the training script
    import zerofs_megatron.apply                           one line at the top of the script
    PYTHONPATH=…/zerofs_megatron/auto                      nothing else

The spec, a JSON object (spec.py), names what the model asks for; nothing else is replaced.
"""
from zerofs_megatron.errors import ExtensionError, WrongArguments
from zerofs_megatron.extending import extend

__all__ = ["ExtensionError", "WrongArguments", "extend"]
