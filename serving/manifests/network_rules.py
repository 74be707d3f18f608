"""Which connections the NetworkPolicies of an overlay permit."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from serving.manifests.pods import Pods, selects
from serving.manifests.problems import Document


def may_leave(policies: Iterable[Document], client: Pods, server: Pods | None, port: int) -> bool:
    """Whether `client` may connect to `server`, or to an address outside the overlay where that is None."""
    return _permitted(_rules(policies, client, "Egress"), "to", client, server, port)


def may_enter(policies: Iterable[Document], client: Pods, server: Pods, port: int) -> bool:
    """Whether `server` accepts a connection of `client`."""
    return _permitted(_rules(policies, server, "Ingress"), "from", server, client, port)


def _rules(policies: Iterable[Document], pods: Pods, kind: str) -> list[Mapping[str, Any]] | None:
    """The rules of all policies that select the pods; None where no policy does, and everything is permitted."""
    found = [
        policy["spec"]
        for policy in policies
        if policy["metadata"].get("namespace", "") == pods.namespace
        and kind in policy["spec"].get("policyTypes", ())
        and selects(policy["spec"]["podSelector"], pods.labels)
    ]
    if not found:
        return None
    return [rule for spec in found for rule in spec.get(kind.lower()) or ()]


def _permitted(rules: list[Mapping[str, Any]] | None, side: str, own: Pods, other: Pods | None, port: int) -> bool:
    if rules is None:
        return True
    return any(port in set(_ports(rule, port)) and _peer(rule.get(side), own, other) for rule in rules)


def _ports(rule: Mapping[str, Any], port: int) -> Iterator[int]:
    """The TCP ports of a rule; `port` itself where the rule names none, and so permits all."""
    if not rule.get("ports"):
        yield port
    for entry in rule.get("ports") or ():
        if entry.get("protocol", "TCP") == "TCP":
            yield entry.get("port", port)


def _peer(peers: list[Mapping[str, Any]] | None, own: Pods, other: Pods | None) -> bool:
    if not peers:
        return True
    if other is None:
        # An address outside the overlay: a block of addresses, or another namespace.
        return any("ipBlock" in peer or "namespaceSelector" in peer for peer in peers)
    return own.namespace == other.namespace and any(
        selects(peer["podSelector"], other.labels)
        for peer in peers
        if "podSelector" in peer and "namespaceSelector" not in peer
    )
