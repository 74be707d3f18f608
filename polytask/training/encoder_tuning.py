"""Training of the language model together with the tasks: through low-rank adapters (LoRA), or whole."""

import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import Parameter
from transformers.pytorch_utils import Conv1D

from polytask.data.catalogue import PADDING_ROW
from polytask.errors import ScenarioError
from polytask.model.item_table import ItemTable
from polytask.scenario.schema import Lora, Scenario
from polytask.text.language_model import ENCODE_BATCH, TOKENIZER_FILE, LanguageModel, TextEncoder

# Adapters start at zero and bear larger steps than pretrained weights do.
LEARNING_RATES = {"lora": 2e-4, "full": 2e-5}


class EncoderTuning:
    """A copy of a language model inside the training loop.

    The request texts of a batch are encoded with gradient, each distinct text once. Item texts are many and change
    little from one step to the next: they are re-encoded at the start of every epoch, without gradient.
    """

    def __init__(
        self, language_model: LanguageModel, scenario: Scenario, request_texts: Sequence[str], item_texts: Sequence[str]
    ) -> None:
        """`request_texts` (T,) in the order of the data set's text vectors; `item_texts` (N,) from row 1 on."""
        settings = scenario.encoder
        assert settings.training != "frozen"
        self.learning_rate = settings.learning_rate or LEARNING_RATES[settings.training]
        self._request_texts = request_texts
        self._item_texts = item_texts
        self._tokenizer = language_model.tokenizer
        self._tokenizer_file = language_model.tokenizer_file
        self.encoder = TextEncoder(language_model.folder, settings.pooling, settings.layers)
        if settings.training == "full":
            self.encoder.backbone.requires_grad_(True)
        else:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(scenario.training.seed)
                self.encoder.backbone = with_adapters(self.encoder.backbone, settings.lora)
        self._leave_out_unused()

    def weights(self) -> dict[str, Parameter]:
        """The weights that are trained, by name."""
        return {name: weight for name, weight in self.encoder.named_parameters() if weight.requires_grad}

    def start_epoch(self, model: nn.Module) -> None:
        """Give the model's item tables the items' present vectors, and go on in training mode."""
        self._encode_items(model)
        self.encoder.train()

    def vectors(self, rows: NDArray[np.int64]) -> Tensor:
        """Text vectors (P, D) of request texts given by row (P,), with gradient."""
        distinct, inverse = np.unique(rows, return_inverse=True)
        vectors = self._encode([self._request_texts[row] for row in distinct])
        return vectors[torch.from_numpy(inverse).to(vectors.device)]

    def finish(self, model: nn.Module) -> None:
        """Merge the adapters into the weights, freeze them, and give the item tables the vectors they make."""
        backbone: Any = self.encoder.backbone
        if hasattr(backbone, "merge_and_unload"):
            self.encoder.backbone = backbone.merge_and_unload()
        self.encoder.cpu().requires_grad_(False)
        self._encode_items(model)

    def save(self, folder: Path) -> None:
        """Write the finished language model as any other: configuration, safetensors, tokenizer."""
        self.encoder.backbone.save_pretrained(folder)
        shutil.copyfile(self._tokenizer_file, folder / TOKENIZER_FILE)

    def _encode(self, texts: Sequence[str]) -> Tensor:
        device = next(self.encoder.parameters()).device
        input_ids, attention_mask = (torch.from_numpy(array).to(device) for array in self._tokenizer(texts))
        vectors: Tensor = self.encoder(input_ids, attention_mask)
        return vectors

    @torch.no_grad()
    def _encode_items(self, model: nn.Module) -> None:
        tables = [module for module in model.modules() if isinstance(module, ItemTable)]
        if not tables:
            return
        self.encoder.eval()
        starts = range(0, len(self._item_texts), ENCODE_BATCH)
        vectors = torch.cat([self._encode(self._item_texts[start : start + ENCODE_BATCH]) for start in starts])
        for table in tables:
            table.text_vectors[PADDING_ROW + 1 :] = table.standardise(vectors.to(table.text_vectors.device))

    def _leave_out_unused(self) -> None:
        """Freeze what the text vector does not depend on, such as a pooling layer that is not read."""
        weights = list(self.weights().values())
        gradients = torch.autograd.grad(self._encode(["text"]).sum(), weights, allow_unused=True)
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.requires_grad_(gradient is not None)


def with_adapters(backbone: Any, settings: Lora) -> Any:
    """The transformer with adapters W + (alpha / rank) B A on its linear layers (LoRA; Hu et al., 2021).

    Only A and B are trained; B starts at zero, so that nothing has changed yet. Raises ScenarioError when `targets`
    names a layer that the model does not have.
    """
    from peft import LoraConfig, get_peft_model

    layers = sorted(
        {name.split(".")[-1] for name, layer in backbone.named_modules() if isinstance(layer, (nn.Linear, Conv1D))}
    )
    targets = layers if settings.targets == "auto" else list(settings.targets)
    unknown = sorted(set(targets) - set(layers))
    if unknown:
        raise ScenarioError(f"encoder.lora.targets: invalid value {', '.join(unknown)}; expected {', '.join(layers)}")
    adapters = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=targets,
        bias="none",
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
        return get_peft_model(backbone, adapters)
