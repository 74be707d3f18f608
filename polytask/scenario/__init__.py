"""The scenario: one YAML file that names the data, the texts, the features, the tasks, the encoder and the training.

It is the only list of tasks, columns and feature names; tensor names, heads, losses, metrics, Feast views, Triton
configuration and reports are derived from it.
"""

from polytask.scenario.load import load_scenario, scenario_path
from polytask.scenario.schema import Scenario, Task

__all__ = ["Scenario", "Task", "load_scenario", "scenario_path"]
