"""The report is one file without external resources, has the values of metrics.json, and escapes the users' texts."""

import copy
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from polytask.evaluation.measures import units
from polytask.evaluation.report import render_report
from polytask.evaluation.report.page import verdict

NEVER_CLOSED = {"meta", "br", "link", "img", "input", "hr"}


@pytest.fixture(scope="module")
def results(runs):
    """As read back from metrics.json, with a binary task's calibration and a table of new items."""
    content = json.loads(json.dumps(runs[0][0]))
    points = [{"probability": p, "share": p**2, "requests": 3} for p in (0.1, 0.5, 0.9)]
    content["calibration"] = {"scene": {"polytask": points, "tfidf_logistic": points}}
    content["cold"] = {
        "recall@10": {"mean": 0.123, "seeds": [0.123], "interval": [0.1, 0.15]},
        "warm_loss": 0.0217,
        "recall@10_by_offset": {"-0.5": 0.0913, "+0.0": 0.123},
        "warm_loss_by_offset": {"-0.5": 0.011, "+0.0": 0.0217},
        "settings": {"items": 168},
    }
    return content


@pytest.fixture(scope="module")
def page(results):
    return render_report(results)


class Balance(HTMLParser):
    """Checks that every element is closed in the right order."""

    def __init__(self):
        super().__init__()
        self.open, self.wrong = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in NEVER_CLOSED:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append((tag, self.getpos()))


def test_it_is_whole_and_needs_nothing_else(page):
    balance = Balance()
    balance.feed(page)
    assert (balance.wrong, balance.open) == ([], [])
    assert "<script" not in page
    addresses = set(re.findall(r"(?:href|src|url)[=(]\s*[\"']?([^\"')\s>]+)", page))
    assert {address for address in addresses if not address.startswith("#")} == set()
    assert set(re.findall(r"https?://[^\"\s<]+", page)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert "nan" not in re.sub(r"[a-z]nan|nan[a-z]", "", page.lower())
    assert "None" not in page


def test_every_section_has_its_plot(page):
    plots = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    # Bars of two splits and slices for each of three tasks, calibration, variants, curves.
    assert len(plots) == 3 * 3 + 3
    for plot in plots:
        root = ElementTree.fromstring(plot)
        assert root.attrib["aria-label"]
        assert root.findall(".//{http://www.w3.org/2000/svg}text")  # labels are text, not outlines
    for words in ("In short", "Queries", "New items", "What the parts bring", "Ten users", "predicted probability"):
        assert words in page


def test_every_metric_has_its_unit_at_its_axis(results, page):
    shown = {metric for task in results["test"]["metrics"].values() for metric in task}
    assert {metric for metric in shown if metric not in units()} == set()
    plots = "".join(re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL))
    written = set(re.findall(r"<text [^>]*>([^<]*)</text>", plots))
    assert {units()[metric] for metric in shown} <= written
    assert {text for text in written if "_" in text} == set()  # names as in the tables


def test_ids_of_clip_paths_are_not_shared_between_plots(page):
    found = [
        set(re.findall(r'<clipPath id="(\w+)"', plot)) for plot in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    ]
    everything = [name for names in found for name in names]
    assert everything
    assert len(everything) == len(set(everything))


def test_dark_pages_have_dark_plots(page):
    assert "prefers-color-scheme: dark" in page
    assert "var(--model)" in page
    assert not re.search(r"#0[1-6]0[1-6]0[1-6]", page)  # the stand-ins that matplotlib drew with
    plots = "".join(re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL))
    assert all("fill: var(--ink)" in text for text in re.findall(r"<text [^>]*>", plots))


def test_numbers_are_those_of_the_metrics(results, page):
    mean = results["test"]["metrics"]["item"]["ndcg@10"]["mean"]
    assert f"{mean:.3f}" in page
    for shown in ("0.123", "0.022", "<td>-0.5</td><td>0.091</td><td>0.011</td>", "items: 168"):
        assert shown in page


def test_the_verdict_is_against_the_baseline_that_validation_chose(results):
    found = verdict(results, {"name": "item", **results["settings"]["tasks"]["item"]})
    tuned = results["settings"]["baselines"]["item"]
    assert found["best"] == max(tuned, key=lambda name: tuned[name]["validation"])
    assert found["difference"] == results["differences"]["test"]["item"][found["best"]]["ndcg@10"]


def test_what_users_wrote_is_escaped(results):
    hostile = copy.deepcopy(results)
    hostile["title"] = "<script>alert(1)</script>"
    hostile["examples"][0]["target"] = "<img src=x>"
    hostile["settings"]["tasks"]["item"]["title"] = 'A <b> & "c"'
    page = render_report(hostile)
    assert "<script>" not in page
    assert "<img" not in page
    assert "&lt;script&gt;" in page


def test_a_task_without_labels_says_so(results):
    empty = copy.deepcopy(results)
    for split in ("validation", "test"):
        empty[split]["metrics"]["scene"] = {}
    assert "No request of the test split has a label" in render_report(empty)
