"""Randomly initialised language models of a few thousand weights, saved as any other."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModel, BertConfig, LlamaConfig, PreTrainedConfig, Qwen2Config

SIZES = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
CONFIGURATIONS: dict[str, PreTrainedConfig] = {
    "bert": BertConfig(**SIZES, intermediate_size=48, max_position_embeddings=64),
    "llama": LlamaConfig(**SIZES, intermediate_size=48, num_key_value_heads=2, max_position_embeddings=64),
    "qwen2": Qwen2Config(**SIZES, intermediate_size=48, num_key_value_heads=2, max_position_embeddings=64),
}


def write_language_model(folder: Path, kind: str, dtype: torch.dtype = torch.float32) -> Path:
    """Save a model of one of `CONFIGURATIONS` to `folder`, with a tokenizer whose tokens are bytes and a few pairs."""
    torch.manual_seed(0)
    model = AutoModel.from_config(CONFIGURATIONS[kind])
    with torch.no_grad():  # the usual initial weights are so small that texts would hardly differ
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.3)
    model.to(dtype).save_pretrained(folder)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=SIZES["vocab_size"], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(["a comedy on a weekday evening", "a quiet drama about the sea"] * 3, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
