"""A model between host and card. The processor stands in for the card: what is pinned is a copy like any other."""

import pytest
import torch
from torch import nn

from model_cache import held
from model_cache.held import Held, host_memory

CPU = torch.device("cpu")


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of what was pinned, in order."""
    made: list[int] = []

    def copy(tensor: torch.Tensor) -> torch.Tensor:
        made.append(tensor.numel())
        return tensor.detach().clone()

    monkeypatch.setattr(held, "_is_on_card", lambda _: True)
    monkeypatch.setattr(held, "_pinned_copy", copy)
    return made


def network() -> nn.Module:
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 3, bias=False))
    net.append(net[2])  # tied
    return net.eval().requires_grad_(False)


def test_leaving_again_copies_nothing(pinned: list[int]) -> None:
    net = network()
    picture = torch.rand(4, 2)
    before = net(picture)
    one = Held.of(net)
    assert one.size == 4 * (6 + 3 + 3 + 3 + 3 + 3 + 9) + 8
    for _ in range(3):
        one.bring(CPU)
        assert one.on_device
        assert torch.equal(net(picture), before)
        one.release(pin=True)
        assert not one.on_device
        assert torch.equal(net(picture), before)
    assert sorted(pinned) == [1, 3, 3, 3, 3, 3, 6, 9], "each tensor once, at the first leaving"


def test_a_preparation_makes_the_copy_worthless(pinned: list[int]) -> None:
    net = network()
    one = Held.of(net)
    one.bring(CPU)
    one.release(pin=True)
    one.bring(CPU)
    net[0].weight.data.mul_(2)
    changed = net[0].weight.clone()
    one.changed(net)
    one.release(pin=True)
    one.bring(CPU)
    assert torch.equal(net[0].weight, changed)
    assert len(pinned) == 16


def test_no_room_on_the_way_puts_everything_back(pinned: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    net = network()
    picture = torch.rand(4, 2)
    before = net(picture)
    one = Held.of(net)
    one.release(pin=True)
    waiting = [copy for _, copy in one._pinned]

    class Full(torch.Tensor):
        """The third tensor finds no room."""

        def to(self, *_: object, **__: object) -> torch.Tensor:
            raise torch.OutOfMemoryError("no room")

    tensor, copy = one._pinned[2]
    one._pinned[2] = (tensor, copy.as_subclass(Full))
    with pytest.raises(torch.OutOfMemoryError):
        one.bring(CPU)
    assert not one.on_device
    one._pinned[2] = (tensor, copy)
    one.bring(CPU)
    assert torch.equal(net(picture), before)
    assert len(waiting) == 8


def test_the_host_has_memory() -> None:
    assert 0 < host_memory() < 1 << 50
