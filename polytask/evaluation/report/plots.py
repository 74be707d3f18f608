"""Plots as inline SVG: text stays text, and colours are CSS variables, so that a dark page has dark plots."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Stand-ins that matplotlib draws with, and what replaces them in the SVG.
INK, MUTED, GRID, MODEL, OTHER, SECOND = "#010101", "#020202", "#030303", "#040404", "#050505", "#060606"
_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    MODEL: "var(--model)",
    OTHER: "var(--other)",
    SECOND: "var(--second)",
}
WIDTH = 9.9
Value = Mapping[str, Any]


def curves(training: Mapping[str, Sequence[Mapping[str, Any]]], titles: Mapping[str, str]) -> str:
    """Mean training loss per epoch: a panel per task, a line per seed."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = _panels(len(titles), height=2.5, columns=3)
    for axis, (task, title) in zip(axes, titles.items(), strict=True):
        for place, (seed, epochs) in enumerate(training.items()):
            points = [(epoch["number"], epoch["losses"].get(task)) for epoch in epochs]
            points = [(number, loss) for number, loss in points if loss is not None]
            style = ("-", "--", ":", "-.")[place % 4]
            if not points:
                continue
            axis.plot(*zip(*points, strict=True), color=MODEL, linestyle=style, marker="o", markersize=2.5, label=seed)
        axis.set_title(title, loc="left", fontsize=10, color=INK)
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes[0].set_ylabel("mean training loss")
    # Of a model that a task was added to, that task alone was trained.
    trained = next((axis for axis in axes if axis.lines), axes[0])
    trained.legend(title="seed", frameon=False, fontsize=8, title_fontsize=8)
    return _svg(figure, f"Training loss per epoch of {', '.join(titles.values())}")


def bars(
    methods: Mapping[str, Mapping[str, Value]], metrics: Sequence[str], units: Mapping[str, str], about: str
) -> str:
    """One panel per metric: a bar per method with its 95% interval, the first method being the model."""
    figure, axes = _panels(len(metrics), height=0.85 + 0.27 * len(methods), columns=3)
    for axis, metric in zip(axes, metrics, strict=True):
        rows = [(name, values[metric]) for name, values in methods.items() if _is_there(values.get(metric))]
        for row, (_, value) in enumerate(rows):
            axis.barh(row, value["mean"], color=MODEL if row == 0 else OTHER, height=0.66)
            _interval(axis, value, row)
        axis.set_yticks(range(len(rows)), [_words(name) for name, _ in rows])
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.set_title(_words(metric), loc="left", fontsize=10, color=INK)
        axis.set_xlabel(units.get(metric, ""))
        axis.grid(axis="x", color=GRID, linewidth=0.7)
    return _svg(figure, f"{about}: {', '.join(metrics)} of {', '.join(methods)}")


def dots(panels: Mapping[str, Mapping[str, Value]], metric: str, about: str) -> str:
    """One panel per slice: a dot per method with its 95% interval on a common axis of `metric`."""
    names = list(dict.fromkeys(name for found in panels.values() for name in found))
    figure, axes = _panels(len(panels), height=0.95 + 0.25 * len(names), columns=3, share=True)
    for axis, (title, found) in zip(axes, panels.items(), strict=True):
        for row, name in enumerate(names):
            value = found.get(name)
            if _is_there(value):
                assert value is not None
                axis.plot(value["mean"], row, "o", color=MODEL if name == names[0] else OTHER, markersize=5)
                _interval(axis, value, row)
        axis.set_yticks(range(len(names)), [_words(name) for name in names])
        axis.set_ylim(len(names) - 0.5, -0.5)
        axis.set_title(title, loc="left", fontsize=9, color=INK)
        axis.set_xlabel(_words(metric))
        axis.grid(axis="x", color=GRID, linewidth=0.7)
    return _svg(figure, f"{about}: {metric} per slice: {', '.join(panels)}")


def gains(panels: Mapping[str, Mapping[str, Value]]) -> str:
    """One panel per task: what the model is above its variants, with 95% intervals, around a line at zero."""
    figure, axes = _panels(len(panels), height=0.95 + 0.28 * max(map(len, panels.values())), columns=3)
    for axis, (title, found) in zip(axes, panels.items(), strict=True):
        axis.axvline(0, color=INK, linewidth=1)
        for row, value in enumerate(found.values()):
            axis.plot(value["mean"], row, "o", color=OTHER if value["verdict"] == "level" else MODEL, markersize=5.5)
            _interval(axis, value, row)
        axis.set_yticks(range(len(found)), list(found))
        axis.set_ylim(len(found) - 0.5, -0.5)
        axis.set_title(title, loc="left", fontsize=9, color=INK)
        axis.set_xlabel("model minus variant")
        axis.grid(axis="x", color=GRID, linewidth=0.7)
    return _svg(figure, f"Gains over the variants: {', '.join(panels)}")


def reliability(methods: Mapping[str, Sequence[Mapping[str, Any]]], about: str) -> str:
    """Predicted probability against the share of positive labels; on the diagonal both are equal."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH * 0.52, 3.6), layout="constrained")
    axis = figure.add_subplot()
    _dress(axis)
    axis.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":", label="perfectly calibrated")
    for place, (name, points) in enumerate(methods.items()):
        axis.plot(
            [point["probability"] for point in points],
            [point["share"] for point in points],
            color=MODEL if place == 0 else (SECOND if place == 1 else OTHER),
            linestyle="-" if place == 0 else "--",
            marker="o",
            markersize=4,
            label=_words(name),
        )
    axis.set_xlim(-0.02, 1.02)
    axis.set_ylim(-0.02, 1.02)
    axis.set_xlabel("predicted probability (mean of each tenth)")
    axis.set_ylabel("share that came true")
    axis.legend(frameon=False, fontsize=8, loc="upper left")
    axis.grid(color=GRID, linewidth=0.7)
    return _svg(figure, f"{about}: calibration of {', '.join(methods)}")


def _words(name: str) -> str:
    """A name as the tables of the page have it."""
    return name.replace("_", " ")


def _panels(count: int, height: float, columns: int, share: bool = False) -> tuple["Figure", list["Axes"]]:
    """A figure with `count` dressed panels, `columns` a row, each `height` inches high."""
    from matplotlib.figure import Figure

    rows = -(-count // columns)
    figure = Figure(figsize=(WIDTH, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=share, sharey=share).reshape(-1)
    for axis in axes[:count]:
        _dress(axis)
    for axis in axes[count:]:
        axis.remove()
    return figure, list(axes[:count])


def _dress(axis: "Axes") -> None:
    axis.set_axisbelow(True)
    axis.patch.set_alpha(0)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    for side in ("bottom", "left"):
        axis.spines[side].set_color(MUTED)
    axis.tick_params(color=MUTED, labelcolor=INK, labelsize=8.5)
    for label in (axis.xaxis.label, axis.yaxis.label):
        label.set(color=INK, fontsize=9)


def _interval(axis: "Axes", value: Value, row: int) -> None:
    low, high = value["interval"]
    if low is not None and high is not None:
        axis.plot([low, high], [row, row], color=INK, linewidth=1.3, solid_capstyle="butt")


def _is_there(value: Value | None) -> bool:
    return value is not None and value["mean"] is not None


def _svg(figure: "Figure", label: str) -> str:
    """The figure as an SVG element with a label for those who cannot see it."""
    import matplotlib as mpl
    from markupsafe import escape

    for text in figure.findobj(mpl.legend.Legend):
        for entry in [*text.get_texts(), text.get_title()]:
            entry.set_color(INK)
    target = io.StringIO()
    # The salt keeps the ids of clip paths apart between the figures of one page, and equal between two runs.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": label, "font.family": "sans-serif"}):
        figure.savefig(target, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = target.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r' id="(?:figure|axes|patch|line2d|text|matplotlib\.axis|xtick|ytick|legend)_\d+"', "", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font-family: [^;\"]*; ?", "", svg)  # the page's own font
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)  # it would hold for the whole page
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    width = f"{float(size.group(1)):.0f}" if size else "660"
    svg = re.sub(r' (?:width|height)="[\d.]+pt"', "", svg, count=2)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" style="max-width: {width}pt" ', 1)
