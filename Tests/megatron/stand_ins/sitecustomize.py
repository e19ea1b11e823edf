"""What MDS's training scripts import and this machine may lack, so that real, unedited scripts run on CPU.

Python imports this at its start where PYTHONPATH names the folder. bin/make stands in for the build of C++ helpers.
"""
import logging
import os
import sys
import types


def stand_in(name: str, **attributes: object) -> types.ModuleType:
    module = sys.modules[name] = types.ModuleType(name)
    module.__dict__.update(attributes)
    return module


def build_sample_idx(sizes, doc_idx, seq_length, num_epochs, tokens_per_epoch, *_):
    from megatron.data.gpt_dataset import _build_sample_idx      # MDS's own, in Python
    return _build_sample_idx(sizes, doc_idx, seq_length, num_epochs, tokens_per_epoch)


def build_blending_indices(dataset_index, dataset_sample_index, weights, datasets, size, *_):
    assert datasets == 1, "the tests have one corpus"
    dataset_index[:size] = 0
    dataset_sample_index[:size] = range(size)


def build_concat_indices(dataset_index, dataset_sample_index, samples, datasets, *_):
    build_blending_indices(dataset_index, dataset_sample_index, None, datasets, samples[0])


stand_in("megatron.model.vision.knn_monitor", compute_feature_bank=None)      # needs torchvision
stand_in("megatron.data.helpers", build_sample_idx=build_sample_idx,          # C++
         build_blending_indices=build_blending_indices, build_concat_indices=build_concat_indices)
stand_in("deepspeed.compression.compress", init_compression=None, redundancy_clean=None)      # gone from DeepSpeed 0.19


class SummaryWriter:      # of tensorboard, which finetune_llama.sh always asks for
    def __init__(self, *_, **__):
        pass

    def __getattr__(self, name):
        return lambda *_, **__: None


stand_in("torch.utils.tensorboard")
stand_in("torch.utils.tensorboard.writer", SummaryWriter=SummaryWriter)
world = types.SimpleNamespace(Barrier=lambda: None)
stand_in("mpi4py", MPI=stand_in("mpi4py.MPI", COMM_WORLD=world))

logging.basicConfig(stream=sys.stdout, format="%(message)s")

# ezpz does this from MPI.
if "PMI_RANK" in os.environ:
    rank, size = os.environ["PMI_RANK"], os.environ["PMI_SIZE"]
    os.environ.update(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=size, LOCAL_SIZE=size)
