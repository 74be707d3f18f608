"""The stages of kwok for nodes and pods: its own, except that pods of a broken model never become ready."""

from pathlib import Path
from typing import Any

import yaml

from tests.cluster.programs import HERE, module_folder

STAGES = ("node/fast", "node/heartbeat-with-lease", "pod/fast")
# A model whose address contains this word fails in its containers, as Triton does with a broken repository; and its
# transformer does not get ready, which waits for Triton.
BROKEN = "broken"
_SOURCE = "internal.serving.kserve.io/storage-initializer-sourceuri"
# The predictor's annotation and the addresses that any initializer fetches.
_ADDRESSES = f'[(.metadata.annotations["{_SOURCE}"] // ""), ((.spec.initContainers // []) | .[] | (.args // []) | .[])]'
_IS_BROKEN = f'{_ADDRESSES} | map(test("{BROKEN}")) | any | tostring'


def write_stages(path: Path) -> Path:
    """Write kwok's configuration; returns its path."""
    folder = module_folder("sigs.k8s.io/kwok", HERE / "kwok") / "kustomize" / "stage"
    stages: list[dict[str, Any]] = []
    for name in STAGES:
        for file in sorted((folder / name).glob("*.yaml")):
            stages += [entry for entry in yaml.safe_load_all(file.read_text(encoding="utf-8")) if entry]
    stages = [stage for stage in stages if stage["kind"] == "Stage"]
    (ready,) = [stage for stage in stages if stage["metadata"]["name"] == "pod-ready"]
    ready["spec"]["selector"]["matchExpressions"].append({"key": _IS_BROKEN, "operator": "In", "values": ["false"]})
    path.write_text(yaml.safe_dump_all([*stages, _failing()]), encoding="utf-8")
    return path


def _failing() -> dict[str, Any]:
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": "pod-fails"},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": "Pod"},
            "selector": {
                "matchExpressions": [
                    {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"},
                    {"key": ".status.phase", "operator": "In", "values": ["Pending"]},
                    {"key": _IS_BROKEN, "operator": "In", "values": ["true"]},
                ]
            },
            "next": {"statusTemplate": _FAILING_STATUS},
        },
    }


_FAILING_STATUS = """
{{ $now := Now }}
conditions:
- {lastTransitionTime: {{ $now | Quote }}, status: "True", type: Initialized}
- {lastTransitionTime: {{ $now | Quote }}, status: "False", type: Ready, reason: ContainersNotReady}
- {lastTransitionTime: {{ $now | Quote }}, status: "False", type: ContainersReady, reason: ContainersNotReady}
containerStatuses:
{{ range .spec.containers }}
- image: {{ .image | Quote }}
  name: {{ .name | Quote }}
  ready: false
  restartCount: 3
  state: {waiting: {reason: CrashLoopBackOff}}
  lastState: {terminated: {exitCode: 1, reason: Error, message: "multitask: no such tensor"}}
{{ end }}
phase: Running
startTime: {{ $now | Quote }}
"""
