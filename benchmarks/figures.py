"""A figure: values per round, their median, and the bar they have to meet."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal

Direction = Literal["at least", "at most"]


@dataclass(frozen=True)
class Figure:
    """What one measurement found. `parts` holds its variants, one value per round each; the worst one counts.

    `bar` None means that there is no threshold. `beside` holds variants that explain the figure and do not count,
    `details` has further values that can be written as JSON.
    """

    name: str
    what: str
    parts: Mapping[str, Sequence[float]]
    bar: float | None = None
    bar_is: Direction = "at least"
    beside: Mapping[str, Sequence[float]] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def worst(self) -> str:
        """The part whose median is furthest from what is wanted."""
        choose = min if self.bar_is == "at least" else max
        return choose(self.parts, key=lambda part: median(self.parts[part]))

    @property
    def met(self) -> bool | None:
        """Whether the worst part meets the bar; None where there is no bar."""
        return self.meets(self.parts[self.worst])

    def meets(self, values: Sequence[float]) -> bool | None:
        """Whether the median of some values meets the bar; None where there is no bar."""
        if self.bar is None:
            return None
        middle = median(values)
        return middle >= self.bar if self.bar_is == "at least" else middle <= self.bar

    def to_dict(self) -> dict[str, Any]:
        """The figure as written to the JSON: the worst part's median, min and max, then all parts."""
        content: dict[str, Any] = {
            "what": self.what,
            **spread(self.parts[self.worst]),
            "bar": self.bar,
            "bar_is": self.bar_is,
            "met": self.met,
            "part": self.worst,
            "parts": {name: {**spread(values), "met": self.meets(values)} for name, values in self.parts.items()},
        }
        if self.beside:
            content["beside"] = {name: spread(values) for name, values in self.beside.items()}
        return {**content, **({"details": self.details} if self.details else {})}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, min and max of the rounds, with three significant digits at least, and how many rounds there were."""
    found = {"median": median(values), "min": min(values), "max": max(values)}
    return {**{name: round(value, 3) for name, value in found.items()}, "rounds": len(values)}


def interleaved(rounds: int, sides: Mapping[str, Callable[[int], float]]) -> dict[str, list[float]]:
    """Every side once per round, each called with the number of the round: what the machine does else hits all alike.

    The order turns from round to round, so that no side always comes first.
    """
    names = list(sides)
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            found[name].append(sides[name](number))
    return found


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Round by round, one side over the other."""
    return [one / other for one, other in zip(above, below, strict=True)]
