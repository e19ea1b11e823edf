"""Llama in plain torch with the parameter names, shapes and order of Megatron-DeepSpeed's GPTModel at TP 1."""
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MegatronAttention(nn.Module):
    def __init__(self, config: dict) -> None:
        super().__init__()
        self.heads = config["num_attention_heads"]
        self.groups = config.get("num_key_value_heads") or self.heads
        self.head = config.get("head_dim") or config["hidden_size"] // self.heads
        self.theta = config["rope_parameters"]["rope_theta"]
        hidden, attended = config["hidden_size"], self.heads * self.head
        self.query_key_value = nn.Linear(hidden, attended + 2 * self.groups * self.head, bias=False)
        self.dense = nn.Linear(attended, hidden, bias=False)

    def rotate(self, x: Tensor) -> Tensor:
        positions = torch.arange(x.shape[-2], dtype=torch.float32)
        frequencies = self.theta ** (-torch.arange(0, self.head, 2, dtype=torch.float32) / self.head)
        angles = torch.outer(positions, frequencies).repeat(1, 2)
        first, second = x.chunk(2, dim=-1)
        return x * angles.cos().to(x.dtype) + torch.cat([-second, first], -1) * angles.sin().to(x.dtype)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, _ = x.shape
        per_group = self.heads // self.groups
        fused = self.query_key_value(x).view(batch, length, self.groups, per_group + 2, self.head)
        q, k, v = fused.split([per_group, 1, 1], dim=3)
        q = q.flatten(2, 3).transpose(1, 2)
        k, v = (t.expand(-1, -1, -1, per_group, -1).flatten(2, 3).transpose(1, 2) for t in (k, v))
        attended = F.scaled_dot_product_attention(self.rotate(q), self.rotate(k), v, is_causal=True)
        return self.dense(attended.transpose(1, 2).flatten(2))


class MegatronMLP(nn.Module):
    def __init__(self, config: dict) -> None:
        super().__init__()
        hidden, ffn = config["hidden_size"], config["intermediate_size"]
        self.dense_h_to_4h = nn.Linear(hidden, 2 * ffn, bias=False)
        self.dense_4h_to_h = nn.Linear(ffn, hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.dense_h_to_4h(x).chunk(2, dim=-1)
        return self.dense_4h_to_h(F.silu(gate) * up)


class MegatronLayer(nn.Module):
    def __init__(self, config: dict) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(config["hidden_size"], eps=config["rms_norm_eps"])
        self.self_attention = MegatronAttention(config)
        self.post_attention_layernorm = nn.RMSNorm(config["hidden_size"], eps=config["rms_norm_eps"])
        self.mlp = MegatronMLP(config)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attention(self.input_layernorm(x))
        return x + self.mlp(self.post_attention_layernorm(x))


class MegatronLlama(nn.Module):
    """Untied; the vocabulary is padded to a multiple of 128, and the loss is over the real one."""

    def __init__(self, config: dict) -> None:
        super().__init__()
        self.vocabulary = config["vocab_size"]
        padded, hidden = -(-self.vocabulary // 128) * 128, config["hidden_size"]
        embedding, encoder = nn.Module(), nn.Module()
        embedding.word_embeddings = nn.Embedding(padded, hidden)
        encoder.layers = nn.ModuleList(MegatronLayer(config) for _ in range(config["num_hidden_layers"]))
        encoder.final_layernorm = nn.RMSNorm(hidden, eps=config["rms_norm_eps"])
        self.language_model = nn.Module()
        self.language_model.embedding = embedding
        self.language_model.encoder = encoder
        self.language_model.output_layer = nn.Linear(hidden, padded, bias=False)

    def load_nested(self, module: dict) -> None:
        """GPTModel's saved `module` is a dictionary of dictionaries; here the path to a tensor is its name."""
        def named(node: dict | Tensor, path: str):
            if isinstance(node, Tensor):
                yield path, node
            else:
                for key, child in node.items():
                    yield from named(child, f"{path}.{key}" if path else key)
        self.load_state_dict(dict(named(module, "")), strict=True)

    def forward(self, tokens: Tensor) -> Tensor:
        """Loss of predicting each token from those before it."""
        x = self.language_model.embedding.word_embeddings(tokens[:, :-1])
        for layer in self.language_model.encoder.layers:
            x = layer(x)
        logits = self.language_model.output_layer(self.language_model.encoder.final_layernorm(x))
        return F.cross_entropy(logits[..., :self.vocabulary].float().flatten(0, 1), tokens[:, 1:].flatten())
