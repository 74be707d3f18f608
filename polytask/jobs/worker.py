"""What each process of a training on several machines runs: `torchrun -m polytask.jobs.worker <place>`.

The place (`polytask.jobs.exchange`) holds the inputs and takes the model. Ranks are in the variables of torchrun, which
Kubeflow Trainer sets.
"""

import os
import sys
import tempfile
from pathlib import Path, PurePosixPath

from polytask.environment import prepare_environment


def main(address: str) -> None:
    """Fetch the inputs once on each machine, train this process's share, and bring the model back from the first."""
    prepare_environment()
    from polytask.jobs.exchange import Exchange
    from polytask.jobs.train import remove_state, state_file, train_model
    from polytask.jobs.updates import calibrate_job
    from polytask.training.distributed import process_state

    together = process_state()
    exchange = Exchange(address)
    # Machines with one file system between them, as in tests, still have a folder each.
    own = f"{PurePosixPath(exchange.address).name}-{os.environ.get('GROUP_RANK', '0')}"
    folder = Path(tempfile.gettempdir()) / own
    with together.local_main_process_first():
        inputs = exchange.fetch_inputs(folder)
        if together.is_local_main_process:
            exchange.fetch_state(state_file(inputs.scenario, folder))

    def log(line: str) -> None:
        print(line, flush=True)  # noqa: T201 - the log of the training

    read = inputs.scenario, inputs.tables, inputs.training_set
    result = train_model(*read, folder / "model", log, folder, exchange.put_state, keep_state=True)
    if together.is_main_process:
        calibrate_job(*read, folder / "model", log)
        exchange.put_model(folder / "model", result)
        remove_state(inputs.scenario, folder)


if __name__ == "__main__":
    main(sys.argv[1])
