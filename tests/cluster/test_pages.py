"""The pages that lead to a served model: all their commands, in the order given, on a cluster with KServe as installed.

A command is run, or it is in LEFT_OUT with the reason. The desk (`pages.py`) has the programs, the demo's bundles and
the files that a reader has; the fixtures replace what is not there.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from polytask.data.tables import Tables
from polytask.scenario import Scenario
from tests.cluster import storage
from tests.cluster.api import Object
from tests.cluster.control_plane import ControlPlane
from tests.cluster.pages import ROOT, Desk, check_table, commands, namespaces
from tests.cluster.rollouts import Live
from tests.pipelines.kfp_server import State, serving
from tests.polytask.client.fake_server import running
from tests.serving.bundle import VERSION, write_bundle
from tests.serving.rollout.object_store import ObjectStore, storing

pytestmark = pytest.mark.cluster
GUIDE, MANIFESTS, EXAMPLES = "docs/deploy.md", "manifests/README.md", "manifests/examples/README.md"
OVERLAYS = namespaces()
README_OF = {name: f"manifests/overlays/{name}/README.md" for name in OVERLAYS}
ENVIRONMENT = "made the environment of the tests"
DEMO = "trains for minutes; tests/e2e/test_demo.py runs it, and the desk has bundles in its place"
WORKSPACE = "needs the workspace of a demo; tests/pipelines/commands/test_run.py runs it"
LEFT_OUT: dict[str, dict[str, str]] = {
    GUIDE: {
        "make setup": ENVIRONMENT,
        "make demo": DEMO,
        "polytask run refresh_features": WORKSPACE,
        "polytask run batch_recommend --param k=5 --param output=build/recommendations.parquet": WORKSPACE,
    },
    MANIFESTS: {
        "make setup": ENVIRONMENT,
        "kubectl apply --server-side -k manifests/overlays/<overlay>": "the first steps are these, in order",
        "kubectl edit": "opens an editor; the conflict is in test_rollout.py",
    },
    README_OF["local"]: {
        "make demo": DEMO,
        "kubectl cp": "runs tar in a container, and no container runs",
    },
    README_OF["gpu"]: {"kubectl -n polytask logs -l component=predictor": "a log is the kubelet's"},
    README_OF["staging"]: {},
    EXAMPLES: {},
}
PAGES = sorted(LEFT_OUT)


@dataclass
class Walk:
    """Runs the commands of pages.

    `replaced` has what a page writes and what it is here: fixed ports of this machine, the number of an older version.
    """

    desk: Desk
    replaced: dict[str, str]

    def page(self, page: str, namespace: str, before: Callable[[str], None] = lambda line: None) -> dict[str, str]:
        """Run every command of a page that is not left out; returns what each of them printed."""
        printed = {}
        for line in commands(page):
            if line not in LEFT_OUT[page]:
                before(line)
                printed[line] = self._run(line, namespace)
        return printed

    def _run(self, line: str, namespace: str) -> str:
        for written, here in {**self.replaced, "<namespace>": namespace}.items():
            line = line.replace(written, here)
        # The doctor looks at this machine too, of which nothing is tested here.
        return self.desk.run(line, check=line != "polytask doctor")


@pytest.fixture
def object_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    with storing(monkeypatch) as store:
        yield store


@pytest.fixture
def pipelines() -> State:
    """Kubeflow Pipelines, which takes the token of the desk."""
    state = State()
    state.token = "of the test"
    return state


@pytest.fixture
def walk(
    plane: ControlPlane,
    address: str,
    ruled_bundle: Path,
    small_scenario: Scenario,
    tables: Tables,
    pipelines: State,
    object_store: ObjectStore,
    tmp_path: Path,
) -> Iterator[Walk]:
    storage.restore(plane)
    newer = tmp_path / "newer"
    newer.mkdir()
    write_bundle(newer, small_scenario, tables, VERSION + 1)
    services = f"{address}/services/{{namespace}}/{{name}}"
    desk = Desk(tmp_path, plane, {VERSION: ruled_bundle, VERSION + 1: newer}, services)
    with ExitStack() as stack:
        transformer = stack.enter_context(running())
        kubeflow = stack.enter_context(serving(pipelines))
        stack.callback(desk.close)
        replaced = {
            "published/1 ": f"published/{VERSION} ",
            "http://localhost:8080": services,
            "localhost:8081": transformer.url,
            "http://localhost:8888": kubeflow,
        }
        yield Walk(desk, replaced)


@pytest.mark.parametrize("page", PAGES)
def test_what_is_left_out_is_on_the_page(page: str):
    check_table(page, LEFT_OUT[page])


def test_the_tables_have_every_page_of_the_manifests():
    pages = {str(path.relative_to(ROOT)) for path in ROOT.glob("manifests/**/README.md")}
    assert {*PAGES} == {*pages, GUIDE}


def test_an_entry_that_the_page_does_not_have_is_refused():
    with pytest.raises(AssertionError, match=r"has no such commands: \['kubectl get nodes'\]"):
        check_table(MANIFESTS, {"kubectl get nodes": "nobody writes it"})


def test_the_deployment_guide_leads_to_served_models(
    walk: Walk, plane: ControlPlane, clean: Callable[[str], str], pipelines: State, object_store: ObjectStore
):
    live = {name: Live(plane, clean(namespace)) for name, namespace in OVERLAYS.items()}
    printed = walk.page(GUIDE, OVERLAYS["local"])
    for one in live.values():
        one.check_serves_alone(str(VERSION + 1))
    assert f"movielens/{VERSION + 1}/contract.json" in " ".join(object_store.objects)
    assert "4.5" in printed["polytask recommend --user 42 --url localhost:8081"]
    assert "admitted in restricted namespaces" in printed["polytask doctor"]
    (started,) = pipelines.runs
    assert started["runtime_config"]["parameters"] == {"storage_uri": "s3://models/movielens", "namespace": "polytask"}
    walk.desk.close()
    calls = walk.desk.calls.read_text(encoding="utf-8").splitlines()
    assert [call.partition(" ")[0] for call in calls] == [
        *["podman"] * 3,
        "kind",
        "minikube",
        *["podman"] * 3,
        "kubectl",
    ]
    assert calls[3].split()[-1] == "ghcr.io/polytask/polytask-transformer:0.2.0" in calls[0]
    assert "--tag registry.example/polytask/polytask-transformer:0.2.0" in calls[5]


def test_the_manifests_readme_leads_to_a_model_and_back(walk: Walk, plane: ControlPlane, clean: Callable[[str], str]):
    live = Live(plane, clean(OVERLAYS["local"]))
    printed = walk.page(MANIFESTS, live.namespace)
    assert "admitted in restricted namespaces" in printed["polytask doctor"]
    live.check_serves_alone(str(VERSION))
    events = printed[f"kubectl -n {live.namespace} get events --field-selector involvedObject.name=recommender"]
    assert events.count("ModelDeployed") == 2


@pytest.mark.parametrize("name", sorted(OVERLAYS))
def test_the_readme_of_an_overlay_leads_to_a_served_model(
    name: str, walk: Walk, plane: ControlPlane, clean: Callable[[str], str]
):
    live = Live(plane, clean(OVERLAYS[name]))
    walk.desk.run("make render")
    if name != "local":  # whose README has it
        storage.restrict(plane)
    rollouts: list[str] = []

    def before(line: str) -> None:
        if line.startswith("polytask rollout") and not rollouts:  # no model, no pods
            assert live.service() is not None
            assert not live.pods("predictor") and not live.pods("transformer")
        rollouts.extend([line] if line.startswith("polytask rollout") else [])

    walk.page(README_OF[name], live.namespace, before)
    assert rollouts
    live.check_serves_alone(str(VERSION + 1))
    if name == "gpu":
        assert live.reasons() == ["ModelDeployed", "CanaryStep", "CanaryStep", "ModelDeployed", "CanaryPromoted"]


def test_the_examples_make_a_secret_of_the_object_storage(walk: Walk, plane: ControlPlane, clean: Callable[[str], str]):
    namespace = clean(OVERLAYS["gpu"])
    document: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    plane.api.apply(document, "tests")
    walk.page(EXAMPLES, namespace)
    secret = plane.api.get("v1", "Secret", "model-storage", namespace)
    assert secret is not None and {*secret["data"]} == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert secret["metadata"]["annotations"]["serving.kserve.io/s3-usehttps"] == "1"
