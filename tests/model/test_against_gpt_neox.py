"""The same weights in Hugging Face's GPT-NeoX give the same logits."""

from __future__ import annotations

import torch

from benchmarks.neox import as_neox
from config import ModelConfig
from model import GPT

B, T = 3, 24
CONFIG = ModelConfig(n_layer=3, n_head=4, n_embd=64, block_size=32, vocab_size=97, dropout=0.0)


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
        theirs = as_neox(model)(input_ids=idx).logits
    assert ours.std() > 0.3
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
