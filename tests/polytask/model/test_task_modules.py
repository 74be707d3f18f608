"""A scenario may call its tasks what it likes: words of Python and of torch included."""

import onnxruntime as ort
import pytest
import torch
from torch import nn

from polytask.contract.tensors import multitask_inputs, multitask_outputs
from polytask.export.onnx import export_graph
from polytask.export.serving_graph import ServingGraph
from polytask.model.multitask import MultiTaskModel
from polytask.model.task_modules import TaskModules, module_name
from polytask.scenario import Scenario

NAMES = ["class", "type", "items", "training", "plain"]


def test_modules_keep_their_tasks_names_and_order():
    modules = TaskModules({name: nn.Linear(1, width) for width, name in enumerate(NAMES, start=1)})
    assert list(modules) == modules.keys() == NAMES
    assert [module.out_features for _, module in modules.items()] == [1, 2, 3, 4, 5]
    assert modules["class"].out_features == 1
    assert "type" in modules
    assert "Type" not in list(modules)
    assert set(modules.state_dict()) == {f"{module_name(name)}.{part}" for name in NAMES for part in ("weight", "bias")}
    assert (module_name("plain"), module_name("class")) == ("plain", "Class")


@pytest.mark.parametrize("fusion", ["concat", "shared_bottom", "mmoe"])
def test_a_task_called_class_is_exported(text_only_scenario, tmp_path, fusion):
    content = text_only_scenario.model_dump()
    for task, name in zip(content["tasks"], NAMES, strict=False):
        task["name"] = name
    content["model"]["fusion"] = fusion
    scenario = Scenario.model_validate(content)
    torch.manual_seed(0)
    model = MultiTaskModel(scenario, None, torch.randn(10, 8), users=0)
    inputs, outputs = multitask_inputs(scenario, 8), multitask_outputs(scenario, 8)
    path = export_graph(ServingGraph(model, None), inputs, outputs, tmp_path / "model.onnx")
    text = torch.randn(2, 8)
    answers = ort.InferenceSession(str(path)).run(["class_scores", "items_values"], {"text_vector": text.numpy()})
    expected = model.score(None, text)
    torch.testing.assert_close(torch.from_numpy(answers[0]), expected["class"].softmax(dim=-1), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(torch.from_numpy(answers[1]), expected["items"], atol=1e-5, rtol=1e-5)
