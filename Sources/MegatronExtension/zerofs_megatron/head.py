"""logit_scale, logit_softcap, head_bias: what happens to the logits.

New parameter (head_bias): lm_head.bias in the pipeline, language_model.output_layer.bias without it; the last of all.
"""
import torch


def changes(spec):
    scale, cap = spec.get("logit_scale"), spec.get("logit_softcap")
    if not (scale or cap or spec.get("head_bias")):
        return
    from megatron.model import gpt_model
    from megatron.model.transformer import LMHeadPipe

    def finished(logits):
        logits = logits * scale if scale else logits
        return torch.tanh(logits / cap) * cap if cap else logits

    def without_pipeline(stock):      # and the tied pipeline
        def parallel_lm_logits(input_, word_embeddings_weight, parallel_output, bias=None):
            bias = getattr(word_embeddings_weight, "head_bias", bias)
            return finished(stock(input_, word_embeddings_weight, parallel_output, bias))
        return parallel_lm_logits

    def untied_pipeline(stock):
        def forward(self, inputs, **kwargs):
            output = stock(self, inputs, **kwargs)
            return (finished(output[0]), *output[1:]) if isinstance(output, tuple) else finished(output)
        return forward
    yield gpt_model, "parallel_lm_logits", without_pipeline
    yield gpt_model, "post_language_model_processing", None
    yield gpt_model.GPTModelPipe, "__init__", None
    yield LMHeadPipe, "forward", untied_pipeline
    if spec.get("head_bias"):
        yield from biased()


def refusals(spec, args):
    if spec.get("head_bias") and args.zero_stage == 3:
        yield "a bias of the head under ZeRO stage 3 (it is used outside its module): --zero-stage has to be 2 or less"
    if spec.get("head_bias") and not args.untie_embeddings_and_output_weights:
        yield "a bias of a tied head: give --untie-embeddings-and-output-weights"


def biased():
    """The constructors of LMHeadPipe and TransformerLanguageModel."""
    from megatron.model.language_model import TransformerLanguageModel
    from megatron.model.transformer import LMHeadPipe

    def with_bias_of(attribute):
        def make(stock):
            def __init__(self, *args, **kwargs):
                stock(self, *args, **kwargs)
                if hasattr(self, attribute):
                    add_bias(getattr(self, attribute))
            return __init__
        return make
    yield LMHeadPipe, "__init__", with_bias_of("lm_head")
    yield TransformerLanguageModel, "__init__", with_bias_of("output_layer")


def add_bias(linear):
    from megatron.core.tensor_parallel import set_tensor_model_parallel_attributes
    linear.bias = torch.nn.Parameter(linear.weight.new_zeros(linear.weight.shape[0]))
    set_tensor_model_parallel_attributes(linear.bias, True, 0, 1)
    linear.weight.head_bias = linear.bias      # GPTModel hands on the weight alone
