"""block: where a layer's norms are, and whether attention and MLP follow each other.

New parameters (post, sandwich): self_attention.output_layernorm.weight and mlp.output_layernorm.weight, each the last of
its module. post has no input_layernorm and no post_attention_layernorm, parallel_one_norm no post_attention_layernorm.
MDS's own names keep their meaning: post_attention_layernorm always feeds the MLP.
"""
import torch
import torch.nn.functional as F

from zerofs_megatron.changes import after_layer

BEHIND, ABREAST = ("post", "sandwich"), ("parallel", "parallel_one_norm")


def changes(spec):
    block = spec.get("block")
    if block in BEHIND:
        yield from norms_behind(block)
    if block in ABREAST:
        yield from side_by_side(block)


def refusals(spec, args):
    block = spec.get("block")
    if not block:
        return
    if args.num_experts not in (None, 1, [1]):
        yield f"block {block!r} with --num-experts"
    if block in BEHIND and args.normalization != "rmsnorm":
        yield f"block {block!r} needs --normalization rmsnorm"
    if args.apply_residual_connection_post_layernorm:
        yield f"block {block!r} with --apply-residual-connection-post-layernorm"


def norms_behind(block):
    """ParallelAttention.forward and ParallelMLP.forward: both return (output, bias); the bias is added, then normed."""
    from megatron.model import transformer

    def add(layer, index):
        from megatron import get_args
        args = get_args()
        for module in (layer.self_attention, layer.mlp):
            module.output_layernorm = transformer.RMSNorm(
                args.hidden_size, args.layernorm_epsilon, sequence_parallel=args.sequence_parallel)
        if block == "post":
            layer.input_layernorm, layer.post_attention_layernorm = torch.nn.Identity(), torch.nn.Identity()

    def make(stock):
        def forward(self, *args, **kwargs):
            output, bias = stock(self, *args, **kwargs)
            return self.output_layernorm(output if bias is None else output + bias), None
        return forward
    yield after_layer(add)
    yield transformer.ParallelAttention, "forward", make
    yield transformer.ParallelMLP, "forward", make
    yield transformer.ParallelTransformerLayer, "forward", None


def side_by_side(block):
    """ParallelTransformerLayer.forward: MDS's order of attention and MLP is fixed."""
    from megatron.model.transformer import ParallelTransformerLayer
    one_norm = block == "parallel_one_norm"

    def remove(layer, index):
        if one_norm:
            del layer.post_attention_layernorm

    def make(stock):
        def forward(self, hidden_states, attention_mask=None, encoder_output=None, enc_dec_attn_mask=None,
                    retriever_input=None, retriever_output=None, retriever_attn_mask=None, inference_params=None,
                    rotary_pos_emb=None, aggregated_moe_loss=None):
            from megatron.core.utils import make_viewless_tensor

            def dropped(output, bias):
                return F.dropout(output if bias is None else output + bias, self.hidden_dropout, self.training)
            normed = self.input_layernorm(hidden_states)
            attended = dropped(*self.self_attention(normed, attention_mask, inference_params=inference_params,
                                                    rotary_pos_emb=rotary_pos_emb))
            transformed = dropped(*self.mlp(normed if one_norm else self.post_attention_layernorm(hidden_states)))
            output = hidden_states + attended + transformed
            moe_loss = output.new_zeros(()) if aggregated_moe_loss is None else aggregated_moe_loss
            return make_viewless_tensor(output, requires_grad=output.requires_grad, keep_graph=True), moe_loss
        return forward
    yield after_layer(remove)
    yield ParallelTransformerLayer, "forward", make
