"""The same network as Hugging Face's GPTNeoXForCausalLM, to compare with."""

from __future__ import annotations

from typing import Any

import torch

from config import ModelConfig
from model import GPT


def make_neox(config: ModelConfig) -> Any:
    """An untrained GPTNeoXForCausalLM of this shape; no dropout on attention weights, as ours."""
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    return GPTNeoXForCausalLM(
        GPTNeoXConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.n_embd,
            num_hidden_layers=config.n_layer,
            num_attention_heads=config.n_head,
            intermediate_size=4 * config.n_embd,
            max_position_embeddings=config.block_size,
            hidden_act="gelu",
            layer_norm_eps=1e-5,
            use_parallel_residual=False,
            attention_bias=False,
            tie_word_embeddings=True,
            attention_dropout=0.0,
            hidden_dropout=config.dropout,
            rope_parameters={
                "rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 1.0
            },
        )
    )  # fmt: skip


def as_neox(model: GPT) -> Any:
    """A GPTNeoXForCausalLM in eval mode with copies of a model's weights."""
    c = model.config
    C, H = c.n_embd, c.n_head
    weights = {
        "gpt_neox.embed_in.weight": model.embedding.weight,
        "lm_head.weight": model.embedding.weight,
        "gpt_neox.final_layer_norm.weight": model.final_norm.weight,
        "gpt_neox.final_layer_norm.bias": model.final_norm.bias,
    }
    blocks: Any = model.blocks
    for i, block in enumerate(blocks):
        layer = f"gpt_neox.layers.{i}"
        qkv = block.attention.qkv.weight  # rows: all of q, all of k, all of v
        weights |= {
            f"{layer}.input_layernorm.weight": block.attention_norm.weight,
            f"{layer}.input_layernorm.bias": block.attention_norm.bias,
            f"{layer}.post_attention_layernorm.weight": block.feed_forward_norm.weight,
            f"{layer}.post_attention_layernorm.bias": block.feed_forward_norm.bias,
            # GPT-NeoX wants them head by head.
            f"{layer}.attention.query_key_value.weight": qkv.view(3, H, C // H, C)
            .permute(1, 0, 2, 3)
            .reshape(3 * C, C),
            f"{layer}.attention.dense.weight": block.attention.proj.weight,
            f"{layer}.mlp.dense_h_to_4h.weight": block.feed_forward.up.weight,
            f"{layer}.mlp.dense_h_to_4h.bias": torch.zeros(4 * C),
            f"{layer}.mlp.dense_4h_to_h.weight": block.feed_forward.down.weight,
            f"{layer}.mlp.dense_4h_to_h.bias": torch.zeros(C),
        }
    neox = make_neox(c)
    neox.load_state_dict(weights, strict=True)
    return neox.eval()
