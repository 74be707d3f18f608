"""The source article's formulas in plain NumPy, at its shapes, against the model: E, F = concat(E), P and L."""

from math import erf, sqrt

import numpy as np
import torch

from polytask.model.loss_weights import StaticWeights
from polytask.model.multitask import Histories, MultiTaskModel
from polytask.scenario.schema import Scenario
from polytask.tasks.learning import learning_of

SAMPLES, TASKS, DIM, CLASSES = 3, 3, 64, 10


def article_scenario(small_scenario: Scenario) -> Scenario:
    tasks = [
        {
            "name": f"task_{number}",
            "title": "A task of the article",
            "kind": "multiclass",
            "classes": [f"class {c}" for c in range(CLASSES)],
            "label": {"source": "item", "column": "title"},
        }
        for number in range(TASKS)
    ]
    content = small_scenario.model_dump()
    return Scenario.model_validate({**content, "tasks": tasks, "model": {"dim": DIM, "layers": 1, "heads": 2}})


def layer_norm(x, layer):
    mean, variance = x.mean(axis=-1, keepdims=True), x.var(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + layer.eps) * numpy(layer.weight) + numpy(layer.bias)


def linear(x, layer):
    return x @ numpy(layer.weight).T + numpy(layer.bias)


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(erf)(x / sqrt(2)))


def numpy(tensor):
    return tensor.detach().double().numpy()


def test_model_computes_what_the_article_defines(small_scenario):
    torch.manual_seed(0)
    scenario = article_scenario(small_scenario)
    model = MultiTaskModel(scenario, torch.randn(13, 6), torch.randn(9, 6), users=7).double().eval()
    state = torch.randn(SAMPLES, DIM, dtype=torch.float64)
    text = torch.randn(SAMPLES, 6, dtype=torch.float64)
    labels = torch.randint(0, CLASSES, (TASKS, SAMPLES))
    logits = model.logits(Histories(state, torch.zeros(SAMPLES, DIM).double()), text, model.catalogues())
    losses = {
        task.name: learning_of(task).mean_loss(task, logits[task.name], label)
        for task, label in zip(scenario.tasks, labels, strict=True)
    }
    total = StaticWeights(dict.fromkeys(losses, 1.0))(losses)

    standardise, _, project = model.text
    request = linear((numpy(text) - numpy(standardise.mean)) / numpy(standardise.scale), project)
    shared = layer_norm(numpy(state) + request, model.state_norm)
    E = []
    for tower in model.fusion.towers.values():
        norm, widen, _, _, narrow = tower.layers
        E.append(shared + linear(gelu(linear(layer_norm(shared, norm), widen)), narrow))
    F = np.concatenate(E, axis=-1)
    assert F.shape == (SAMPLES, TASKS * DIM)
    np.testing.assert_allclose(numpy(model.fusion.shared(model.state_norm(state + model.text(text)))), F, rtol=1e-10)
    L = 0.0
    for task, label in zip(scenario.tasks, labels.numpy(), strict=True):
        scores = linear(F, model.heads[task.name].linear)
        P = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
        assert P.shape == (SAMPLES, CLASSES)
        np.testing.assert_allclose(numpy(learning_of(task).predict(task, logits[task.name])[0]), P, rtol=1e-10)
        L += -np.log(P[np.arange(SAMPLES), label]).mean()
    np.testing.assert_allclose(total.item(), L, rtol=1e-10)
