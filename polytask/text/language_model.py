"""The pretrained transformer: where it lies, its text vectors, and the cache that keeps each text's vector."""

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel
from transformers.utils import logging as transformers_logging

from polytask.errors import DataError
from polytask.scenario.schema import Scenario
from polytask.storage.atomic import sha256_file
from polytask.storage.wheels import cache_folder
from polytask.text.language_model_files import language_model_folder
from polytask.text.templates import TextTokenizer, batches_by_length
from polytask.text.vector_store import VectorShards

ENCODE_BATCH = 64
TOKENIZER_FILE = "tokenizer.json"


def load_backbone(folder: Path, layers: int | None = None) -> Any:
    """The transformer of a folder, frozen, in evaluation mode and in float32, whatever its weights are stored in.

    With `layers` only so many of its layers, from the first. Raises DataError where it cannot be used: no safetensors,
    code of its own, an encoder with a decoder, fewer layers.
    """
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    verbosity = transformers_logging.get_verbosity()
    if not any(folder.glob("*.safetensors")):
        found = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
        raise DataError(
            f"encoder.model: {folder} has {found}; allowed: weights as *.safetensors (pickles can run code)"
        )
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        if config.is_encoder_decoder:
            raise DataError(f"encoder.model: {folder} is of type {config.model_type}; allowed: an encoder or a decoder")
        if layers is not None:
            _keep_layers(config, folder, layers)
            # The layers that are left out would be reported as weights without a place.
            transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        config.use_cache = False  # a decoder's cache of keys and values is for generation
        backbone = AutoModel.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation="sdpa",
        )
    except (OSError, ValueError) as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        raise DataError(f"encoder.model: {folder} cannot be loaded: {reason}") from error
    finally:
        transformers_logging.set_verbosity(verbosity)
    return backbone.eval().requires_grad_(False)


def _keep_layers(config: Any, folder: Path, layers: int) -> None:
    if layers > config.num_hidden_layers:
        raise DataError(f"encoder.layers: invalid value {layers}; {folder} has {config.num_hidden_layers} layers")
    config.num_hidden_layers = layers
    if getattr(config, "layer_types", None):  # one entry per layer, in models that mix kinds of attention
        config.layer_types = config.layer_types[:layers]


class TextEncoder(nn.Module):
    """The language model with pooling: `input_ids`, `attention_mask` (B, T) int64 -> text vector (B, D) float32.

    D is the width of the model times the number of `layers` whose states are pooled, by default one.
    Padding is on the right. In a decoder a token sees only those before it, so padding changes nothing there.
    """

    def __init__(self, folder: Path, pooling: str, layers: Sequence[int] = ()) -> None:
        super().__init__()
        self.pooling = pooling
        self.layers = tuple(layers)
        self.backbone = load_backbone(folder, max(layers, default=None))
        self.config = self.backbone.config
        self.dim = int(self.config.hidden_size) * max(1, len(self.layers))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Pool the hidden states over the tokens that the mask keeps."""
        output = self.backbone(
            input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=bool(self.layers)
        )
        hidden: Tensor = output.last_hidden_state
        if self.layers:  # the first of `hidden_states` are the embeddings
            hidden = torch.cat([output.hidden_states[layer] for layer in self.layers], dim=-1)
        if self.pooling == "last":
            last = attention_mask.sum(dim=1).clamp(min=1) - 1
            return hidden.gather(1, last[:, None, None].expand(-1, 1, hidden.shape[-1])).squeeze(1)
        mask = attention_mask.unsqueeze(1).to(hidden.dtype)
        # A product rather than a sum over tokens: ONNX Runtime sums in another order for another batch size, and then
        # the last bit of a vector depends on the size of its batch.
        return (mask @ hidden).squeeze(1) / mask.sum(dim=2).clamp(min=1.0)


class LanguageModel:
    """A frozen text encoder with its tokenizer and a cache of vectors on disk.

    `sha256` identifies its weights, configuration, tokenizer and pooled layers; vectors of other ones are never taken
    for its own.
    """

    def __init__(self, scenario: Scenario, cache: Path | None = None, tuned: Path | None = None) -> None:
        """`tuned`: the folder of a language model that was trained; by default the scenario's own is loaded."""
        self.tuned = tuned
        self.folder = folder = tuned or language_model_folder(scenario.encoder.model)
        self.tokenizer_file = folder / TOKENIZER_FILE
        if not self.tokenizer_file.is_file():
            raise DataError(f"encoder.model: {folder} has no tokenizer.json (a fast tokenizer is needed)")
        self.tokenizer = TextTokenizer(self.tokenizer_file, scenario.text.max_tokens)
        self.encoder = TextEncoder(folder, scenario.encoder.pooling, scenario.encoder.layers)
        self.dim = self.encoder.dim
        self._check_sizes(scenario.text.max_tokens)
        self.sha256 = _weights_sha256(folder, self.tokenizer_file, scenario.encoder.layers)
        name = f"{self.sha256[:16]}-{scenario.encoder.pooling}-{scenario.text.max_tokens}"
        self._shards = VectorShards((cache or cache_folder()) / "text-vectors" / name, self.dim)

    def vectors(
        self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None
    ) -> tuple[NDArray[np.float32], int]:
        """Vectors (n, D) of `texts`, and how many of the distinct texts came from the cache.

        `progress(done, total)` is called after each batch of new texts.
        """
        keys = [sha256(text.encode()).hexdigest() for text in texts]
        text_of = dict(zip(keys, texts, strict=True))
        rows = {key: row for row, key in enumerate(text_of)}
        vectors = np.empty((len(rows), self.dim), dtype=np.float32)
        found = self._shards.read(list(rows), vectors)
        # Sorted, so that texts of equal length stay in one order, whatever order they came in.
        new = sorted(key for key, row in rows.items() if not found[row])
        for start in range(0, len(new), self._shards.rows):
            part = new[start : start + self._shards.rows]
            made = self._encode_all([text_of[key] for key in part], start, len(new), progress)
            self._shards.add(part, made)
            vectors[[rows[key] for key in part]] = made
        return vectors[[rows[key] for key in keys]], int(found.sum())

    def _check_sizes(self, max_tokens: int) -> None:
        config, known = self.encoder.config, self.tokenizer.vocabulary
        # Absent where positions have no limit.
        positions = getattr(config, "max_position_embeddings", None) or max_tokens
        if max_tokens > positions:
            raise DataError(
                f"text.max_tokens: invalid value {max_tokens}; expected at most {positions}, the model's limit"
            )
        if known > config.vocab_size:
            raise DataError(f"encoder.model: {self.tokenizer_file} has {known} tokens, the model {config.vocab_size}")

    def _encode_all(
        self, texts: Sequence[str], before: int, total: int, progress: Callable[[int, int], None] | None
    ) -> NDArray[np.float32]:
        """Vectors (n, D) of texts, on a GPU where there is one. `before` of `total` texts were encoded already."""
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        done = before
        self.encoder.to("cuda" if torch.cuda.is_available() else "cpu")
        try:
            for numbers in batches_by_length(texts, ENCODE_BATCH):
                vectors[numbers] = self._encode([texts[number] for number in numbers])
                done += len(numbers)
                if progress is not None:
                    progress(done, total)
        finally:
            self.encoder.cpu()
        return vectors

    def _encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        device = next(self.encoder.parameters()).device
        input_ids, attention_mask = (torch.from_numpy(array).to(device) for array in self.tokenizer(texts))
        with torch.inference_mode():
            vectors: NDArray[np.float32] = self.encoder(input_ids, attention_mask).cpu().numpy()
        return vectors


def _weights_sha256(folder: Path, tokenizer_file: Path, layers: tuple[int, ...]) -> str:
    files = [folder / "config.json", tokenizer_file, *sorted(folder.glob("*.safetensors"))]
    parts = [*map(sha256_file, files), *([f"layers {layers}"] if layers else [])]
    return sha256("".join(parts).encode()).hexdigest()
