"""Modules by task name, whatever a scenario calls its tasks."""

import keyword
from collections.abc import Iterator

from torch import nn

_TAKEN = frozenset(dir(nn.ModuleDict()))


def module_name(task: str) -> str:
    """The name of a task's submodule, as used in the names of the weights.

    It is the task's own but for a word of Python (`class`), which the code that torch.export writes cannot hold, and an
    attribute that modules have (`type`): those get a capital letter, which no task's name has.
    """
    return task.capitalize() if keyword.iskeyword(task) or task in _TAKEN else task


class TaskModules(nn.ModuleDict):
    """A ModuleDict whose keys are task names; see `module_name`."""

    def __getitem__(self, task: str) -> nn.Module:
        """The module of a task."""
        return super().__getitem__(module_name(task))

    def __setitem__(self, task: str, module: nn.Module) -> None:
        """Set the module of a task."""
        super().__setitem__(module_name(task), module)

    def __contains__(self, task: str) -> bool:
        """Whether a task has one."""
        return super().__contains__(module_name(task))

    def __iter__(self) -> Iterator[str]:
        """The tasks, in the order in which they were set."""
        return (name[0].lower() + name[1:] for name in self._modules)

    def keys(self) -> list[str]:  # type: ignore[override]
        """The tasks."""
        return list(self)

    def items(self) -> list[tuple[str, nn.Module]]:  # type: ignore[override]
        """Tasks and their modules."""
        return list(zip(self, self.values(), strict=True))
