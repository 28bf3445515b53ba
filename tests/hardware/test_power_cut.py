"""A power cut while the edge writes. Runs last: afterwards the machine has begun anew."""

import pytest

from tests.hardware.edge import JOURNAL, PERIOD_S, TELEMETRY, Edge, log

pytestmark = pytest.mark.rig
GROUP_S = 30  # journal_group_s
SLACK_S = 4.0  # what was published while the power was cut


def test_a_power_cut_in_mid_write_loses_at_most_one_group(edge: Edge) -> None:
    """The last test: afterwards the machine has begun anew. Readings before the cut are announced by the new start."""
    bench = edge.bench
    edge.wait(edge.healthy, 60, "healthy rows before")
    boot = edge.topics[TELEMETRY]["boot"]
    edge.wait(lambda: JOURNAL in edge.topics, 60, "an announcement")
    published = max(edge.seqs(boot))
    bench.pi.cut_power()
    log(f"power cut after row {published}")
    edge.restart(["sensor"])
    with edge.listening():
        kept = edge.kept(boot)
    assert (published - kept) * PERIOD_S <= GROUP_S + SLACK_S
    assert "malformed" not in edge.logs()
