"""embedding_scale: embeddings leave multiplied (Gemma). The tied head's weight stays as it is."""
import torch


def changes(spec):
    """Embedding.forward; EmbeddingPipe's calls it."""
    scale = spec.get("embedding_scale")
    if not scale:
        return
    from megatron.model.language_model import Embedding, EmbeddingPipe

    def make(stock):
        def forward(self, *args, **kwargs):
            # Rounded to the parameters' type, as transformers does.
            return stock(self, *args, **kwargs) * torch.tensor(scale, dtype=self.params_dtype).item()
        return forward
    yield Embedding, "forward", make
    yield EmbeddingPipe, "forward", None
