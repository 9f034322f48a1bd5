"""The first stage that is wrong, as a finding: its pass, node, layer, line and provider."""

from __future__ import annotations

from dataclasses import replace

from cutaway.explain.bisect.finding import Finding, listed
from cutaway.explain.bisect.stages import Stage
from cutaway.replay.result import Spot


def at_stage(finding: Finding, stage: Stage) -> Finding:
    """The first stage that is wrong, as a finding."""
    snapshot, spot = stage.snapshot, stage.spot
    finding = replace(finding, stage=snapshot.selector, pass_name=snapshot.pass_name).with_evidence(
        f"{snapshot.selector} computes something else than {stage.before.selector}"
    )
    if spot is None or (spot.after is None and spot.before is None):
        return finding.without("at which node the two graphs part")
    finding = _with_provider(finding, stage, spot).at_node(spot.after)
    if finding.provider is not None:  # the pass did what it was told to
        finding = replace(finding, pass_name=None)
    if finding.layer is None and spot.before is not None:
        finding = replace(finding, layer=spot.before.layer)
    if spot.before is not None and spot.before.source is not None and finding.source is None:
        finding = replace(finding, source=finding.at_node(spot.before).source)
    if spot.between[1]:
        names = [node.name for node in spot.between[1]][:8]
        finding = finding.with_evidence(f"between the last value that is right and this one stand {listed(names)}")
    return finding


def _with_provider(finding: Finding, stage: Stage, spot: Spot) -> Finding:
    """Which implementation the lowering put in where the graphs part; nothing when that was no lowering."""
    left = {node.name for node in stage.snapshot.nodes}
    names = [node.name for node in (spot.before, *spot.between[0]) if node is not None and node.name not in left]
    taken = {name: stage.snapshot.providers[name] for name in names if name in stage.snapshot.providers}
    if len(set(taken.values())) != 1:
        return finding
    (name, provider), *_ = taken.items()
    targets = {node.name: str(node.target) for node in stage.before.nodes}
    op = targets.get(name, "").replace("::", ".").removesuffix(".default").rpartition(".")[2] or None
    return replace(finding, op=op, provider=provider).with_evidence(f"{name} was lowered to the provider {provider}")
