"""`import zerofs_megatron.apply`, as one line at the top of a training script, extends MDS by the spec beside the package."""
from zerofs_megatron import extend

extend()
