"""The project on this machine: Triton, the language model, the published bundle, the feature store, what runs."""

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from polytask.contract.contract import load_contract
from polytask.contract.triton_image import ONNX_RUNTIME, TRITON_IMAGE
from polytask.errors import ContractError, DataError, PolytaskError
from polytask.scenario.schema import Scenario
from polytask.storage.wheels import cache_folder, package_path
from serving.doctor.finding import CheckResult, fault, note, ok
from serving.local.install import PYTRITON, TritonInstallation, install_triton
from serving.triton.onnxruntime_backend import VARIABLE, named_backend

DEMO = "make demo makes it"
PACKAGE = "package:"


def check_triton(
    installed: Callable[[], bool] = lambda: (cache_folder() / "triton" / "server" / ".complete").is_file(),
    install: Callable[[], TritonInstallation] = install_triton,
) -> CheckResult:
    """Triton is installed and finds its libraries. What was never installed is not installed here.

    Which backend runs the models is part of what is found; an ONNX Runtime that is not the supported one is noted.
    """
    if not installed():
        return note("triton", f"not in {cache_folder()} yet", "make demo and make serve install it from its wheel")
    try:
        backend = install().backend  # all is there: this compares checksums and runs the dynamic linker
    except (PolytaskError, OSError, subprocess.SubprocessError) as error:
        remedy = f"remove {cache_folder() / 'triton'}; the next start installs it again"
        if named_backend():
            remedy = f"set {VARIABLE} to another folder, or unset it"
        return fault("triton", str(error), remedy)
    found = f"{PYTRITON.name} {PYTRITON.version} below {cache_folder()}; {backend}"
    if not backend.supported:
        return note(
            "triton", found, f"bundles are checked with ONNX Runtime {ONNX_RUNTIME}, that of Triton {TRITON_IMAGE}"
        )
    return ok("triton", found)


def check_language_model(scenario: Scenario | None) -> CheckResult:
    """The language model's package or folder. Other references are names on a hub, which nothing here fetches."""
    if scenario is None:
        return note("language model", "no bundle that names one", DEMO)
    reference = scenario.encoder.model
    try:
        place = package_path(reference.removeprefix(PACKAGE)) if reference.startswith(PACKAGE) else Path(reference)
    except DataError as error:
        return fault("language model", str(error), "make setup installs it")
    if not place.exists():
        return note("language model", f"{reference} is no folder here", "training needs it; serving does not")
    return ok("language model", reference)


def check_bundle(bundle: Path) -> tuple[CheckResult, Scenario | None]:
    """The published bundle: every file is there and has the contract's checksum."""
    if not bundle.is_dir():
        return note("model", f"{bundle} is not there", DEMO), None
    try:
        contract = load_contract(bundle)
    except ContractError as error:
        return fault("model", str(error), "publish it again: make demo, or point `current` at another version"), None
    tasks = ", ".join(task.name for task in contract.scenario.tasks)
    return ok("model", f"version {contract.model_version} of {contract.scenario.name}: {tasks}"), contract.scenario


def check_features(
    store: Path, scenario: Scenario | None, reader: Callable[[Path, Scenario], Any] | None = None
) -> CheckResult:
    """The feature store opens, has the features of the contract, and returns values."""
    if not (store / "feature_store.yaml").is_file():
        return note("feast", f"{store} holds no feature_store.yaml", DEMO)
    if scenario is None:
        return note("feast", f"{store}, not compared: no bundle defines what it must hold", DEMO)
    if reader is None:
        from serving.transformer.features.reader import FeatureReader

        reader = FeatureReader
    key: int | str = 0 if scenario.entities.users.key_type == "integer" else ""
    try:
        reader(store, scenario).read([key], [0])
    except PolytaskError as error:
        return fault("feast", str(error), "fill it again: make demo; or start its online store")
    return ok("feast", f"{scenario.feature_service} is readable from {store}")


def check_running(state: Mapping[str, Any] | None, send_request: Callable[[str], str] | None = None) -> CheckResult:
    """Where a recommender was started here: whether it is ready."""
    if state is None:
        return note("recommender", "none runs here", "make serve starts it")
    try:
        logged = (send_request or _ready)(state["rest"])
    except OSError as error:
        logged = str(error)
    if logged:
        logs = ", ".join(state.get("logs", []))
        return fault("recommender", f"{state['grpc']} is not ready: {logged}", f"restart it; logs: {logs}")
    served = [f"gRPC {state['grpc']}, REST {state['rest']}", state.get("triton")]
    return ok("recommender", "; ".join(filter(None, served)))


def _ready(rest: str) -> str:
    """Why a transformer is not ready; '' where it is."""
    import httpx

    try:
        response = httpx.get(f"{rest}/v2/health/ready", timeout=5)
    except httpx.HTTPError as error:
        return str(error) or type(error).__name__
    return "" if response.is_success else response.text[:200]
