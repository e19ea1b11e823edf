"""What happens when MDS has parsed a run's arguments: on every rank, before a model is built or anything is loaded."""
import functools

from zerofs_megatron import attention, block, facts, guard, head, keep, layernorm
from zerofs_megatron.errors import ExtensionError

WITH_REFUSALS = (attention, block, head)


def arrange(spec):
    """set_global_variables, as MDS's initialize calls it; if the arguments are there already, at once."""
    from megatron import global_vars, initialize
    if global_vars._GLOBAL_ARGS is not None:
        begin(spec, global_vars._GLOBAL_ARGS)
        return
    stock = initialize.set_global_variables

    @functools.wraps(stock)
    def set_global_variables(args, *more, **kwargs):
        stock(args, *more, **kwargs)
        begin(spec, args)
    initialize.set_global_variables = set_global_variables


def begin(spec, args):
    facts.compare(spec.facts, args)
    refuse(spec.model, args)
    if args.normalization == "layernorm":
        layernorm.mend()
    if spec.guard and spec.model:
        guard.put(spec.model, args)
    if args.rank == 0:
        if getattr(args, "save", None):
            keep.keep(spec, args.save)
        announce(spec, args)


def refuse(model, args):
    reasons = [reason for feature in WITH_REFUSALS for reason in feature.refusals(model, args)]
    if model and args.transformer_impl != "local":
        reasons.append("the extension replaces parts of MDS's own layers: --transformer-impl has to be local")
    if reasons:
        raise ExtensionError("this model can't be run so: " + "; ".join(reasons))


def announce(spec, args):
    guarded = "" if spec.guard or not spec.model else "; checkpoints are not guarded"
    print(f"zerofs_megatron: Megatron-DeepSpeed extended by {spec.summary()}{guarded}", flush=True)
    if args.sequence_parallel:
        print("zerofs_megatron: WARNING: --sequence-parallel: MDS under DeepSpeed doesn't sum the gradients of the norms "
              "over the tensor-parallel ranks, with or without this extension; they train apart", flush=True)
