"""The scenario's language model, the sizes of the shared encoder, and how they are trained and exported."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from polytask.scenario.section import Section

Precision = Literal["auto", "fp32", "int8", "fp16"]


class Lora(Section):
    """Low-rank adapters beside the linear layers called `targets`; `auto` takes all linear layers."""

    rank: int = Field(default=8, ge=1, le=1024)
    alpha: int = Field(default=16, ge=1)
    dropout: float = Field(default=0.05, ge=0, lt=1)
    targets: Literal["auto"] | tuple[str, ...] = "auto"


class Encoder(Section):
    """The language model: a Hugging Face id, a folder, or `package:<installed package>/<folder>`.

    `layers`: the text vector holds the pooled states after each of these layers, side by side, counted from 1; by
    default those after the last. In a sentence encoder the last layer knows best what a text is about, an earlier one
    how it judges.
    `training`: whether it stays as it is, learns through adapters (see `lora`), or learns whole; `learning_rate` is its
    own then (by default 2e-4 for adapters and 2e-5 for the whole).
    """

    model: str
    pooling: Literal["mean", "last"] = "mean"
    layers: tuple[Annotated[int, Field(ge=1)], ...] = ()
    training: Literal["frozen", "lora", "full"] = "frozen"
    learning_rate: float | None = Field(default=None, gt=0)
    lora: Lora = Lora()


class Model(Section):
    """Sizes of the shared encoder. `id_dropout` is the share of item rows seen by their text alone in training.

    `negative_strength` is how far items like the negative items of a request are lowered, in standard deviations of the
    request's scores (docs/adr/0012-less-of-this.md has what the default was chosen by).
    `fusion` says how tasks share what follows the encoder; `experts` counts the experts of `mmoe`.
    """

    dim: int = Field(default=64, ge=8, le=1024)
    layers: int = Field(default=2, ge=1, le=12)
    heads: int = Field(default=2, ge=1, le=16)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    id_dropout: float = Field(default=0.1, ge=0, lt=1)
    negative_strength: float = Field(default=0.5, ge=0, le=10)
    fusion: Literal["concat", "shared_bottom", "mmoe"] = "concat"
    experts: int = Field(default=4, ge=2, le=64)

    @model_validator(mode="after")
    def _heads_divide_dim(self) -> Self:
        if self.dim % self.heads:
            raise ValueError(f"`heads` must divide `dim`; {self.heads} does not divide {self.dim}")
        return self


class Training(Section):
    """AdamW with a one-cycle schedule over windows of consecutive events of one user.

    `weighting` says how the tasks' weights change while training: not (`static`), by learned uncertainty (Kendall et
    al., 2018), or by how slowly each loss falls (`dwa`, dynamic weight average; Liu et al., 2019). `precision` is that
    of matrix products: `auto` takes bf16 on a GPU that has it and fp32 elsewhere.
    """

    epochs: int = Field(default=20, ge=1, le=1000)
    windows_per_batch: int = Field(default=48, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    weighting: Literal["static", "uncertainty", "dwa"] = "static"
    query_share: float = Field(default=0.3, ge=0, le=1)
    seed: int = Field(default=7, ge=0, lt=2**31)
    threads: int = Field(default=2, ge=1)
    precision: Literal["auto", "fp32", "bf16"] = "auto"


class Export(Section):
    """How a trained model is written for serving.

    `precision` is that of the language model: `auto` tries int8, or fp16 where the export is for a GPU. Whatever is
    tried must pass a gate on the validation requests, or else it is fp32 (docs/adr/0026-int8-by-row.md). `instances` is
    the number of instances of each model on each device: a second one takes the other core of a CPU where there is a
    second batch, and overlaps copies with computation on a GPU.
    """

    precision: Precision = "auto"
    instances: int = Field(default=2, ge=1, le=16)
