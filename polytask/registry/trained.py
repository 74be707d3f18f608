"""A trained model with the bundle that was exported from it."""

from dataclasses import dataclass
from pathlib import Path

from polytask.contract.contract import Contract, load_contract
from polytask.data.catalogue import Catalogue, load_catalogue
from polytask.scenario.schema import Scenario


@dataclass(frozen=True)
class Version:
    """A trained model, as training left it, and the bundle that was exported from it."""

    checkpoint: Path
    bundle: Path

    def contract(self) -> Contract:
        """The contract of the bundle; ContractError when a file does not match it."""
        return load_contract(self.bundle)

    def catalogues(self) -> dict[str, Catalogue]:
        """The catalogues whose rows the model's weights stand for."""
        contract = load_contract(self.bundle, verify_files=False, older=True)
        return {
            name: load_catalogue(contract.scenario, name, self.bundle / spec.path)
            for name, spec in contract.catalogues.items()
        }


def scenario_of(version: Version, named: Scenario) -> Scenario:
    """The scenario of a version, its tasks with the gates that the scenario `named` gives them now."""
    scenario = version.contract().scenario
    gates = {task.name: task.baseline_gate for task in named.tasks}
    tasks = tuple(
        task.model_copy(update={"baseline_gate": gates.get(task.name, task.baseline_gate)}) for task in scenario.tasks
    )
    return scenario.model_copy(update={"tasks": tasks})
