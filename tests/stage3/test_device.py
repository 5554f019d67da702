"""Which device, which arithmetic, and why."""

from __future__ import annotations

import pytest
import torch

from config import ConfigError
from pipeline.device import choose_compute, choose_device


def test_the_cpu_can_always_be_had() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    for arithmetic in ("float32", "bfloat16", "float16"):
        compute = choose_compute("cpu", arithmetic)
        assert compute.dtype == getattr(torch, arithmetic)
        assert f"{arithmetic}: asked for with --dtype" in compute.describe()


def test_auto_takes_an_accelerator_if_there_is_one() -> None:
    best = choose_device().type
    if torch.cuda.is_available():
        assert best == "cuda"
    elif torch.backends.mps.is_available():
        assert best == "mps"
    else:
        assert best == "cpu"
    assert choose_device("auto").type == best


def test_auto_takes_bfloat16_where_the_cpu_has_it() -> None:
    has = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    compute = choose_compute("cpu")
    assert compute.dtype == (torch.bfloat16 if has else torch.float32)
    assert ("has instructions for it" in compute.reason) is has


@pytest.mark.parametrize("device", ["gpu", "", "cpuu", "meta", "cuda:99"])
def test_devices_that_are_not_there(device: str) -> None:
    with pytest.raises(ConfigError, match=f"--device {device}"):
        choose_device(device)


def test_products_are_in_the_chosen_type_and_weights_stay() -> None:
    layer = torch.nn.Linear(4, 4)
    x = torch.randn(2, 4)
    for arithmetic in ("float32", "bfloat16", "float16"):
        compute = choose_compute("cpu", arithmetic)
        with compute.autocast():
            assert layer(x).dtype == compute.dtype
        assert layer.weight.dtype == torch.float32


def test_only_float16_is_scaled() -> None:
    enabled = [choose_compute("cpu", name).scaler().is_enabled() for name in ("float32", "float16")]
    assert enabled == [False, True]
    assert not choose_compute("cpu", "bfloat16").scaler().is_enabled()
