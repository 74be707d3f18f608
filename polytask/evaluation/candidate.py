"""The report of one trained model: what `polytask evaluate` finds, without further trainings."""

import json
from pathlib import Path
from typing import Any

from polytask.data.dataset import Dataset
from polytask.data.evaluation_requests import split_requests
from polytask.data.splits import Split
from polytask.evaluation.calibration import calibration
from polytask.evaluation.examples import examples
from polytask.evaluation.query_check import QueryRequests, query_report
from polytask.evaluation.study import MODEL, Method, baseline_methods, model_method, study
from polytask.evaluation.summary import summary_of
from polytask.evaluation.tuning import Tuned
from polytask.model.cold_start import load_cold_start
from polytask.model.multitask import MultiTaskModel
from polytask.text.language_model import LanguageModel
from polytask.training.checkpoint import HISTORY_FILE

SPLITS: tuple[Split, ...] = ("validation", "test")
# A quarter of an evaluation's: the interval's ends move in the third digit, and a step of a pipeline is waited for.
RESAMPLES = 500


def candidate_results(
    model: MultiTaskModel,
    checkpoint: Path,
    dataset: Dataset,
    language_model: LanguageModel,
    tuned: dict[str, dict[str, Tuned]],
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """As metrics.json has it, for `render_report`: one seed, and no variants and held-out items, which need trainings.

    `checkpoint` is the model's folder, which knows its losses; `dataset` has the vectors of `language_model`; `tuned`
    are the baselines.
    """
    scenario = dataset.scenario
    _, new_rows = load_cold_start(checkpoint)
    requests = {split: split_requests(dataset, split) for split in SPLITS}
    methods: dict[str, list[Method]] = {MODEL: [model_method(model, new_rows=new_rows)]}
    methods |= {name: [method] for name, method in baseline_methods(tuned).items()}
    studies = {split: study(requests[split], scenario.tasks, methods, resamples) for split in SPLITS}
    epochs = json.loads((checkpoint / HISTORY_FILE).read_text(encoding="utf-8"))["epochs"]
    seed = scenario.training.seed
    return {
        **summary_of(scenario, [seed], studies, tuned, {}, resamples),
        "cold": {},
        "queries": query_report(
            [QueryRequests(model, dataset, lambda texts: language_model.vectors(texts)[0], new_rows)]
        ),
        "calibration": calibration(requests["test"], {name: found[0] for name, found in methods.items()}),
        "examples": examples(model, dataset, new_rows),
        "training": {str(seed): epochs},
        "seconds": {"train": round(sum(float(epoch["seconds"]) for epoch in epochs), 1)},
    }
