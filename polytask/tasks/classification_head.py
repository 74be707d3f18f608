"""The head that all kinds with classes, and the binary kind, share."""

from torch import Tensor, nn


class ClassificationHead(nn.Module):
    """A linear layer to one logit per class, or to one for binary tasks."""

    def __init__(self, fused_dim: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(fused_dim, outputs)

    def forward(self, fused: Tensor) -> Tensor:
        """Fused (..., k * d) -> logits (..., C)."""
        logits: Tensor = self.linear(fused)
        return logits
