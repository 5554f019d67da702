"""The same weights in Hugging Face's GPT-NeoX give the same logits."""

from __future__ import annotations

import torch

from config import ModelConfig
from model import GPT

B, T, H, D = 3, 24, 4, 16
CONFIG = ModelConfig(
    n_layer=3, n_head=H, n_embd=H * D, block_size=32, vocab_size=97, dropout=0.0
)  # fmt: skip


def as_gpt_neox(model: GPT) -> torch.nn.Module:
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    c = model.config
    neox = GPTNeoXForCausalLM(
        GPTNeoXConfig(
            vocab_size=c.vocab_size,
            hidden_size=c.n_embd,
            num_hidden_layers=c.n_layer,
            num_attention_heads=c.n_head,
            intermediate_size=4 * c.n_embd,
            max_position_embeddings=c.block_size,
            hidden_act="gelu",
            layer_norm_eps=1e-5,
            use_parallel_residual=False,
            attention_bias=False,
            tie_word_embeddings=True,
            attention_dropout=0.0,
            hidden_dropout=0.0,
            rope_parameters={
                "rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 1.0
            },
        )
    )  # fmt: skip
    C = c.n_embd
    weights = {
        "gpt_neox.embed_in.weight": model.embedding.weight,
        "lm_head.weight": model.embedding.weight,
        "gpt_neox.final_layer_norm.weight": model.final_norm.weight,
        "gpt_neox.final_layer_norm.bias": model.final_norm.bias,
    }
    for i, block in enumerate(model.blocks):
        layer = f"gpt_neox.layers.{i}"
        qkv = block.attention.qkv.weight  # rows: all of q, all of k, all of v
        weights |= {
            f"{layer}.input_layernorm.weight": block.attention_norm.weight,
            f"{layer}.input_layernorm.bias": block.attention_norm.bias,
            f"{layer}.post_attention_layernorm.weight": block.feed_forward_norm.weight,
            f"{layer}.post_attention_layernorm.bias": block.feed_forward_norm.bias,
            # GPT-NeoX wants them head by head.
            f"{layer}.attention.query_key_value.weight": qkv.view(3, H, D, C)
            .permute(1, 0, 2, 3)
            .reshape(3 * C, C),
            f"{layer}.attention.dense.weight": block.attention.proj.weight,
            f"{layer}.mlp.dense_h_to_4h.weight": block.feed_forward.up.weight,
            f"{layer}.mlp.dense_h_to_4h.bias": torch.zeros(4 * C),
            f"{layer}.mlp.dense_4h_to_h.weight": block.feed_forward.down.weight,
            f"{layer}.mlp.dense_4h_to_h.bias": torch.zeros(C),
        }
    neox.load_state_dict(weights, strict=True)
    return neox.eval()


def test_logits_equal_those_of_gpt_neox() -> None:
    torch.manual_seed(3)
    model = GPT(CONFIG).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Far from the initialisation, so that norms, attention and GELU all matter.
            noise = torch.randn_like(parameter) * 0.15
            parameter.copy_(noise if parameter.dim() == 2 else parameter + noise)
        idx = torch.randint(0, CONFIG.vocab_size, (B, T))
        ours = model(idx)
        theirs = as_gpt_neox(model)(input_ids=idx).logits
    assert ours.std() > 0.3
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
