"""Which device a name means, on machines with and without GPUs."""

import os
import re

import pytest
import torch

from dnl.runtime.devices import describe_hardware, pick_device


def pretend(monkeypatch: pytest.MonkeyPatch, gpus: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device.index}")


@pytest.mark.parametrize(
    ("name", "gpus", "device"),
    [
        ("auto", 0, "cpu"),
        ("auto", 2, "cuda:0"),
        ("cpu", 0, "cpu"),
        ("cpu", 2, "cpu"),
        ("cuda", 1, "cuda:0"),
        ("cuda:0", 1, "cuda:0"),
        ("cuda:1", 2, "cuda:1"),
    ],
)
def test_names(name: str, gpus: int, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, gpus)
    assert pick_device(name) == torch.device(device)


def test_auto_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, 1)
    assert pick_device() == torch.device("cuda:0")


@pytest.mark.parametrize("name", ["", "gpu", "tpu", "CPU", "meta", "mps", "cuda:x", "cuda:-1"])
def test_other_names_are_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, 1)
    message = f"device must be 'auto', 'cpu' or 'cuda[:index]', got {name!r}"
    with pytest.raises(ValueError, match=re.escape(message)):
        pick_device(name)


@pytest.mark.parametrize(("name", "gpus"), [("cuda", 0), ("cuda:1", 1), ("cuda:7", 2)])
def test_absent_gpus_are_refused(name: str, gpus: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, gpus)
    with pytest.raises(ValueError, match=f"device '{name}' does not exist: {gpus} CUDA devices"):
        pick_device(name)


def test_hardware_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, 2)
    assert describe_hardware(torch.device("cuda", 1)) == "GPU 1"
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    assert re.fullmatch(r"\S+ CPU, 3 cores", describe_hardware(torch.device("cpu")))
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert describe_hardware(torch.device("cpu")).endswith(" CPU, 5 cores")
