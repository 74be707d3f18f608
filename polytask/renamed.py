"""Old names of options and pipeline parameters, so that an error names the new one. Old names are not accepted."""

# Command ("" for `polytask` itself): old option -> what to write in its place.
OPTIONS: dict[str, dict[str, str]] = {
    "demo": {"--output": "--workspace"},
    "explain": {"--recent": "--recent-item"},
    "forget": {"--published": "--registry-dir"},
    "models": {"--folder": "--registry-dir, or --workspace for the workspace of the demo"},
    "recommend": {
        "--exclude": "--exclude-item",
        "--less-of": "--disliked-item",
        "--recent": "--recent-item",
        "--weight": "--task-weight",
    },
    "rollout": {
        "--answer-seconds": "--response-timeout",
        "--lease-wait-seconds": "--lease-timeout",
        "--ready-seconds": "--ready-timeout",
        "--storage": "--storage-uri",
        "--take-over": "--force-conflicts",
        "--no-take-over": "--no-force-conflicts",
    },
    "run": {"--set": "--param"},
}
# Old parameter of a pipeline -> new one.
PARAMETERS: dict[str, str] = {
    "exchange": "shared_storage",
    "nodes": "num_nodes",
    "processes": "nproc_per_node",
    "storage": "storage_uri",
    "target": "registry_dir",
    "work_folder": "checkpoint_dir",
}


def new_option(command: str, option: str) -> str | None:
    """What replaces an option that a command no longer has.

    Args:
        command: Path of the command without the program's name, such as `rollout` or `models prune`.
        option: The old option, such as `--take-over`.

    Returns:
        The new option, None for an option that never existed.
    """
    return OPTIONS.get(command.partition(" ")[0], {}).get(option)
