"""A power cut while the edge writes. Runs last: afterwards the machine has begun anew."""

import pytest

from tests.hardware.edge import PERIOD_S, START_S, Edge, log

pytestmark = pytest.mark.rig
GROUP_S = 30  # journal_group_s
SLACK_S = 4.0  # what was published while the power was cut


def test_a_power_cut_in_mid_write_loses_at_most_one_group(edge: Edge) -> None:
    """The last test: afterwards the machine has begun anew. Readings before the cut are announced by the new start."""
    bench = edge.bench
    edge.wait(edge.healthy, 60, "healthy rows before")
    journal = "emberwatch/v1/pi/pack-1/journal/telemetry.battery"
    boot = edge.topics["emberwatch/v1/pi/pack-1/telemetry/battery"]["boot"]
    edge.wait(lambda: journal in edge.topics, 60, "an announcement")
    published = max(edge.seqs(boot))
    bench.pi.cut_power()
    log(f"power cut after row {published}")
    edge.restart(["sensor"])
    with edge.listening():
        edge.wait(edge.healthy, START_S, "good rows")
        both = {boot, edge.rows[-1].boot}  # the broker may have kept an announcement of before
        edge.wait(
            lambda: both <= {r["boot"] for r in edge.topics.get(journal, {"ranges": []})["ranges"]},
            60,
            "the new start announces rows of before and its own",
        )
    kept = max(r["last"] for r in edge.topics[journal]["ranges"] if r["boot"] == boot)
    log(f"the journal has rows up to {kept}")
    assert (published - kept) * PERIOD_S <= GROUP_S + SLACK_S
    assert "malformed" not in edge.logs()
