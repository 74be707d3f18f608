"""Replaces the model of one InferenceService in place, and rolls back to the previous one when smoke requests fail.

A rolling change has two phases, so that no request is refused whichever pods are replaced first:

    1  transformers that have both bundles replace the old ones; Triton serves the old model throughout
    2  Triton's pods are replaced, and at the same time the transformers, by ones with the new bundle alone

A transformer sends requests to the Triton pods whose contract it has. In phase 2 those of phase 1 have both; a new
one becomes ready with the first new pod of Triton, and only then an old one leaves.
"""

import logging
import time
from dataclasses import replace
from typing import NoReturn

from serving.kubernetes.client import INFERENCE_SERVICE, Object
from serving.rollout.errors import Conflicting, Refused, RolloutError
from serving.rollout.service.deployments import some_available
from serving.rollout.service.readiness import is_ready
from serving.rollout.service.revision import REPLACEMENTS, Revision, has_two_bundles
from serving.rollout.service.stopping import StopRequested, undisturbed
from serving.rollout.strategies.steps import Steps

LOGGER = logging.getLogger(__name__)


class InPlace:
    """Replaces the model of the InferenceService of `steps`."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._name = steps.settings.name
        self._changed = False

    def replace(self, previous: Revision | None, wanted: Revision, in_use: bool = True) -> None:
        """Serve `wanted`, or `previous` again. Raises RolloutError with the reason and with what was done about it.

        `in_use`: whether it receives requests meanwhile; if not, the caller clears the record of the Lease.
        """
        LOGGER.info("%s: model %s from %s", self._name, wanted.model_version, wanted.repository_uri)
        self._changed = False
        try:
            try:
                live = self.bring(previous if in_use else None, wanted, patient=True)
            except RolloutError as error:
                if not self._changed:  # the first change was refused: there is nothing to restore
                    self._steps.lease.note(None)
                    raise
                self._roll_back(previous, wanted, str(error))
        except StopRequested as stop:
            if in_use:
                self._abort(previous, wanted, str(stop))
            raise
        with undisturbed():  # the model is in service: a signal must not undo it
            message = f"serves model {wanted.model_version} from {wanted.repository_uri}"
            self._steps.record(live, "ModelDeployed", message)
            if in_use:
                self._steps.lease.note(None)

    def bring(self, earlier: Revision | None, wanted: Revision, patient: bool = False) -> Object:
        """Apply `wanted` and wait until smoke tests pass; returns the InferenceService. `earlier` is served now.

        `patient`: whether to wait for pods of `earlier` that are missing for a moment, as while a node is drained.
        Raises RolloutError, and changes nothing back then.
        """
        steps = self._steps
        if earlier is not None and self._in_two_phases(earlier, wanted, patient):
            # What phase 2 would be refused for is refused before phase 1.
            steps.apply(wanted.fields(self._name), dry_run=True)
            earlier = replace(earlier, replacement=wanted.replacement, explainer=wanted.explainer)
            document = earlier.fields(self._name, also=wanted)
            LOGGER.info("%s: transformers get the bundles of both models", self._name)
            self._apply(document)
            steps.wait(self._name, document)
        document = wanted.fields(self._name)
        self._apply(document)
        live = steps.wait(self._name, document)
        steps.answers(self._name, wanted)
        return live

    def _apply(self, document: Object) -> None:
        try:
            self._steps.apply(document)
        except (Refused, Conflicting):
            raise
        except RolloutError:
            self._changed = True  # it may have been made, and the response lost
            raise
        self._changed = True

    def _in_two_phases(self, earlier: Revision, wanted: Revision, patient: bool) -> bool:
        """Whether somebody is served by `earlier` now, who would notice."""
        if wanted.replacement != REPLACEMENTS["rolling"] or earlier.contract_sha256 == wanted.contract_sha256:
            return False
        live = self._steps.cluster.get(INFERENCE_SERVICE, self._name)
        there = None if live is None else Revision.of_live(live)
        if live is None or there is None or not there.serves_the_same_as(earlier):
            return False
        return has_two_bundles(live) or self._is_ready(earlier, live, patient)

    def _is_ready(self, earlier: Revision, live: Object, patient: bool) -> bool:
        """Whether all pods are of `earlier` and ready, with `patient` within `response_timeout` while some are."""
        cluster, settings, document = self._steps.cluster, self._steps.settings, earlier.fields(self._name)
        end = time.monotonic() + settings.response_timeout
        while not is_ready(cluster, live, document):
            if not patient or time.monotonic() > end or not some_available(cluster, self._name, document):
                return False
            time.sleep(settings.poll_seconds)
            live = self._steps.live()
        return True

    def _roll_back(self, previous: Revision | None, wanted: Revision, reason: str) -> NoReturn:
        """Serve `previous` again and raise RolloutError with everything that happened."""
        steps = self._steps
        what = f"model {wanted.model_version} was not brought into service: {reason}"
        try:
            live = steps.live()
        except RolloutError as error:
            raise RollbackFailed(f"{what}; going back failed too: {error}") from error
        if previous is None:
            # The Lease keeps that this model was never any good.
            steps.record(live, "ModelFailed", what, warning=True)
            raise RolloutError(f"{what}; there is no earlier model to go back to")
        if previous.is_whole_in(live):  # the only change was not made
            steps.lease.note(None)
            raise RolloutError(f"{what}; nothing was changed")
        there = Revision.of_live(live)
        if there is None or not (there.serves_the_same_as(wanted) or there.serves_the_same_as(previous)):
            steps.lease.note(None)
            raise RolloutError(f"{what}; another field manager has changed {self._name} since; it is not rolled back")
        LOGGER.warning("%s; going back to model %s", what, previous.model_version)
        try:
            self.bring(wanted, previous)
        except RolloutError as error:
            message = f"{what}; going back to model {previous.model_version} failed too: {error}"
            steps.record(live, "RollbackFailed", message, warning=True)
            raise RollbackFailed(message) from error
        message = f"{what}; serves model {previous.model_version} from {previous.repository_uri} again"
        steps.record(live, "RolledBack", message, warning=True)
        steps.lease.note(None)
        raise RolloutError(message)

    def _abort(self, previous: Revision | None, wanted: Revision, signal: str) -> None:
        """Restore the previous model without waiting for its pods, within the grace period."""
        steps = self._steps
        what = f"the rollout of model {wanted.model_version} was stopped by {signal}"
        if previous is None:
            what += "; there is no earlier model to go back to"
            steps.record(steps.live(), "RolloutStopped", what, warning=True)
            return
        live = steps.apply(previous.fields(self._name))
        steps.lease.note(None)
        steps.record(live, "RolloutStopped", f"{what}; back to model {previous.model_version}", warning=True)


class RollbackFailed(RolloutError):
    """Neither the new model nor the one before is served."""
