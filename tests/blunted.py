"""A model that has lost its edge, for the tests of what may not be deployed."""

from pathlib import Path

import torch

from polytask.training.checkpoint import load_checkpoint, save_checkpoint


def blunted(checkpoint: Path, sha256: str, folder: Path) -> Path:
    """A model that ranks by noise."""
    model = load_checkpoint(checkpoint, sha256)
    generator = torch.Generator().manual_seed(1)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
    save_checkpoint(model, [], sha256, folder)
    return folder
