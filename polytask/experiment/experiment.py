"""The whole evaluation of a scenario: train seeds and variants, then compare all of them with the baselines."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.data.dataset import Dataset, with_scenario, with_vectors
from polytask.data.evaluation_requests import split_requests
from polytask.data.splits import Split
from polytask.evaluation.calibration import calibration
from polytask.evaluation.examples import examples
from polytask.evaluation.previous import previous_method
from polytask.evaluation.query_check import QueryRequests, query_report
from polytask.evaluation.study import (
    MODEL,
    PREVIOUS,
    Method,
    Study,
    baseline_methods,
    merged,
    model_method,
    study,
)
from polytask.evaluation.summary import ABLATION, summary_of
from polytask.evaluation.tuning import Tuned, tuned_baselines
from polytask.experiment.held_out_items import cold_report
from polytask.experiment.trainings import Trained, Trainings, data_sha256
from polytask.experiment.variants import Variant, variants_of, with_seed
from polytask.jobs.inputs import Log, item_vectors, load_dataset
from polytask.jobs.train import train_model
from polytask.metrics.bootstrap import RESAMPLES
from polytask.model.multitask import MultiTaskModel
from polytask.scenario.schema import Scenario
from polytask.text.language_model import LanguageModel
from polytask.training.checkpoint import language_model_of, save_checkpoint
from polytask.training.loop import train

SPLITS: tuple[Split, ...] = ("validation", "test")


@dataclass
class Experiment:
    """What is evaluated, and how.

    `output` keeps a checkpoint per seed and variant. `ablation_seeds` are some of `seeds`, none for no variants;
    `previous` is a checkpoint folder. The callbacks receive the current step and the finished ones.
    """

    scenario: Scenario
    tables: Path
    training_set: Path
    output: Path
    seeds: Sequence[int]
    ablation_seeds: Sequence[int] = ()
    previous: Path | None = None
    resamples: int = RESAMPLES
    log: Log = print
    done: Log = print
    seconds: dict[str, Any] = field(default_factory=dict)

    def run(self) -> dict[str, Any]:
        """Train what is not trained yet, measure everything, and return the content of metrics.json."""
        with self._timed("load"):
            language_model = LanguageModel(self.scenario)
            dataset = load_dataset(self.scenario, self.tables, self.training_set, language_model, self.log)
        trainings = Trainings(self.output, [data_sha256(self.tables, self.training_set)])
        models = {seed: self._seed(trainings, seed, dataset, language_model) for seed in self.seeds}
        variants = self._variants(trainings, dataset, language_model)
        requests = {split: split_requests(dataset, split) for split in SPLITS}
        with self._timed("baselines"):
            tuned = tuned_baselines(dataset, requests["validation"])
        methods = self._methods(models, variants, tuned, dataset, language_model)
        studies: dict[Split, Study] = {}
        for split in SPLITS:
            with self._timed(f"measure_{split}"):
                studies[split] = study(requests[split], self.scenario.tasks, methods, self.resamples)
        first = models[self.seeds[0]]
        with self._timed("cold"):
            cold = self._cold(trainings, first.dataset, language_model)
        with self._timed("queries"):
            queries = query_report([QueryRequests(s.trained.model, s.dataset, s.encode) for s in models.values()])
        return {
            **summary_of(self.scenario, self.seeds, studies, tuned, _meanings(variants), self.resamples),
            "cold": cold,
            "queries": queries,
            "calibration": calibration(requests["test"], {MODEL: first.method, **baseline_methods(tuned)}),
            "examples": examples(first.trained.model, first.dataset),
            "training": {str(seed): of_seed.trained.epochs for seed, of_seed in models.items()},
            "seconds": self.seconds,
        }

    def _seed(self, trainings: Trainings, seed: int, dataset: Dataset, language_model: LanguageModel) -> "OfSeed":
        scenario = with_seed(self.scenario, seed)
        name = f"seed-{seed}"

        def run(target: Path) -> None:
            train_model(scenario, self.tables, self.training_set, target, self._prefixed(name))

        trained = self._noted(trainings.get(name, scenario, language_model.sha256, run))
        if scenario.encoder.training == "frozen":
            return OfSeed(trained, dataset, _encode(language_model))
        tuned = language_model_of(trainings.folder / name, scenario)
        return OfSeed(trained, with_vectors(dataset, tuned.vectors(dataset.distinct_texts)[0]), _encode(tuned))

    def _variants(
        self, trainings: Trainings, dataset: Dataset, language_model: LanguageModel
    ) -> dict[int, list[tuple[Variant, Trained]]]:
        """The trained variants of each ablation seed."""
        if not self.ablation_seeds:
            return {}
        if self.scenario.encoder.training != "frozen":
            self.done("no variants: they are trained on given text vectors, and here the language model is trained")
            return {}
        items = item_vectors(dataset, language_model, self.log)
        return {
            seed: [
                (variant, self._variant(trainings, f"{variant.name}-{seed}", variant, language_model.sha256))
                for variant in variants_of(dataset, items, seed)
            ]
            for seed in self.ablation_seeds
        }

    def _variant(self, trainings: Trainings, name: str, variant: Variant, encoder_sha256: str) -> Trained:
        # Not the language model's vectors: no other command may take this checkpoint for an ordinary one.
        encoder = f"{encoder_sha256} {variant.name}"
        scenario = variant.dataset.scenario

        def run(target: Path) -> None:
            log, epochs = self._prefixed(name), scenario.training.epochs
            model, history = train(
                variant.dataset, variant.item_vectors, lambda epoch: log(f"epoch {epoch.number}/{epochs}")
            )
            save_checkpoint(model, history, encoder, target)

        return self._noted(trainings.get(name, scenario, encoder, run))

    def _cold(self, trainings: Trainings, dataset: Dataset, language_model: LanguageModel) -> dict[str, Any]:
        """What becomes of held-out items, with the first seed; see `cold_report`."""
        if self.scenario.encoder.training != "frozen":
            self.done(
                "no held-out items: they are measured on given text vectors, and here the language model is trained"
            )
            return {}
        scenario = with_seed(self.scenario, self.seeds[0])

        def trained(held: Dataset) -> MultiTaskModel:
            variant = Variant("held-out-items", "held-out-items", "a tenth of the items held out", held, items)
            return self._variant(trainings, f"{variant.name}-{self.seeds[0]}", variant, language_model.sha256).model

        items = item_vectors(dataset, language_model, self.log)
        return cold_report(with_scenario(dataset, scenario), _encode(language_model), trained, self.seeds[0])

    def _methods(
        self,
        models: dict[int, "OfSeed"],
        variants: dict[int, list[tuple[Variant, Trained]]],
        tuned: dict[str, dict[str, Tuned]],
        dataset: Dataset,
        language_model: LanguageModel,
    ) -> dict[str, list[Method]]:
        methods: dict[str, list[Method]] = {MODEL: [of_seed.method for of_seed in models.values()]}
        methods |= {name: [method] for name, method in baseline_methods(tuned).items()}
        if self.previous is not None:
            methods[PREVIOUS] = [previous_method(self.previous, dataset, language_model)]
        for found in variants.values():
            for group in dict.fromkeys(variant.group for variant, _ in found):
                parts = [model_method(t.model, v.dataset) for v, t in found if v.group == group]
                methods.setdefault(ABLATION + group, []).append(merged(parts))
        if variants:  # the model of the very seeds that the variants were trained with
            methods[ABLATION + MODEL] = [models[seed].method for seed in variants]
        return methods

    def _noted(self, trained: Trained) -> Trained:
        self.seconds.setdefault("train", {})[trained.name] = trained.seconds
        how = "reused, trained earlier in" if trained.reused else "trained in"
        self.done(f"{trained.name}: {how} {trained.seconds} s")
        return trained

    def _prefixed(self, name: str) -> Log:
        return lambda line: self.log(f"{name}: {line}")

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        started = time.monotonic()
        self.log(what)
        yield
        self.seconds[what] = round(time.monotonic() - started, 1)


@dataclass(frozen=True)
class OfSeed:
    """The model of a seed with the data set whose text vectors it reads, and the encoder of further texts."""

    trained: Trained
    dataset: Dataset
    encode: Callable[[list[str]], NDArray[np.float32]]

    @property
    def method(self) -> Method:
        """The model as a method."""
        return model_method(self.trained.model, self.dataset)


def _encode(language_model: LanguageModel) -> Callable[[list[str]], NDArray[np.float32]]:
    return lambda texts: language_model.vectors(texts)[0]


def _meanings(variants: dict[int, list[tuple[Variant, Trained]]]) -> dict[str, str]:
    return {variant.group: variant.meaning for found in variants.values() for variant, _ in found}
