"""Networks of the papers: where they begin."""

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'gradnoise[neural]'")

from torch.nn import functional

from gradnoise.simulations.neural.models import vgg11


def test_outputs_of_vgg_depend_on_the_image_from_the_start():
    """Would catch weights so small that a deep network gives all images the same outputs (torch's own: by 5e-6)."""
    for seed in range(2):
        torch.manual_seed(seed)
        model, images = vgg11(), torch.rand(16, 3, 32, 32)
        with torch.no_grad():
            assert 0.03 < float(model(images).std(dim=0).mean()) < 0.3


def test_vgg_can_be_trained():
    """Well below ln 10 in some steps, on images of different colours; from torch's own start it stays at 2.29."""
    torch.manual_seed(0)
    model, images, labels, losses = vgg11(), torch.rand(8, 3, 1, 1) * torch.rand(8, 3, 32, 32), torch.arange(8), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    for _ in range(12):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses) < 1.7, losses
