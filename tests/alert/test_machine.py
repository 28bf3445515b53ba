"""The alarm state machine: properties that hold after any sequence of inputs, and each ISA-18.2 path."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from services.alert.machine import Machine, Raise, Transition, worse
from services.bus.messages import SEVERITIES, Severity

IDENTITY = ("pi", "pack-1", "hot", "temperature_max")


def cause(seq: int, severity: Severity = "high") -> Raise:
    return Raise(1e9 + seq, "9f3c0a517be2d4c8", seq, severity, f"hot {seq}", {"sample": {"boot": "9f", "seq": seq}})


def machine(**changes: Any) -> Machine:
    return Machine(IDENTITY, "high", **({"shelf_s": 3600.0} | changes))


def types(transitions: list[Transition]) -> list[str]:
    return [t.type for t in transitions]


class Life(RuleBasedStateMachine):
    """Drives a machine at random; a second one is saved and restored at every step and must agree."""

    @initialize(latch=st.booleans())
    def begin(self, latch: bool) -> None:
        self.shelf_s = 0.0 if latch else 3600.0
        self.m = machine(latch=latch, shelf_s=self.shelf_s)
        self.condition, self.now, self.seq = False, 2e9, 0
        self.occurrences: list[str] = []
        self.acknowledged_severity: Severity | None = None

    def note(self, found: list[Transition]) -> None:
        for transition in found:
            if transition.type == "raised":
                assert self.m.occurrence is not None
                assert self.m.occurrence not in self.occurrences
                self.occurrences.append(self.m.occurrence)
        assert len(self.occurrences) == self.m.count
        self.m = Machine.from_dict(json.loads(json.dumps(self.m.to_dict())), IDENTITY, self.m.latch, self.m.shelf_s)

    @rule(severity=st.sampled_from(SEVERITIES))
    def condition_holds(self, severity: Severity) -> None:
        self.condition, self.seq = True, self.seq + 1
        found = self.m.condition_true(cause(self.seq, severity))
        if "raised" in types(found) or "escalated" in types(found):
            assert not self.m.acknowledged
            assert not worse(severity, self.m.severity)
        self.note(found)

    @rule()
    def condition_is_over(self) -> None:
        self.condition = False
        self.note(self.m.condition_false(self.now))
        assert not self.m.active

    @rule()
    def acknowledge(self) -> None:
        was = self.m.acknowledged
        found = self.m.acknowledge("anna")
        assert types(found) == ([] if was else ["acknowledged"])
        self.note(found)

    @rule()
    def reset(self) -> None:
        allowed = not self.m.latched or (not self.m.active and self.m.acknowledged)
        try:
            found = self.m.reset("anna")
        except ValueError:
            assert not allowed
        else:
            assert allowed
            assert not self.m.latched
            self.note(found)

    @rule(length=st.integers(-10, 5000), reason=st.sampled_from(["", "probe is loose"]))
    def shelve(self, length: int, reason: str) -> None:
        allowed = self.shelf_s > 0 and 0 < length <= self.shelf_s and bool(reason)
        try:
            found = self.m.shelve(self.now + length, self.now, "anna", reason)
        except ValueError:
            assert not allowed
        else:
            assert allowed
            self.note(found)

    @rule()
    def unshelve(self) -> None:
        self.note(self.m.unshelve("anna"))
        assert self.m.shelved_until is None

    @rule(elapsed=st.integers(0, 2000), jump=st.integers(-1_000_000, 1_000_000))
    def time_passes(self, elapsed: int, jump: int) -> None:
        left = self.m.shelf_left_s - elapsed
        self.now += elapsed + jump  # the wall clock may be set at any time
        found = self.m.tick(self.now, elapsed)
        if left <= 0:
            assert self.m.shelved_until is None
        self.note(found)

    @rule()
    def suppress(self) -> None:
        self.note(self.m.suppress("the recording has ended"))

    @rule()
    def unsuppress(self) -> None:
        self.note(self.m.unsuppress())

    @rule()
    def out_of_service(self) -> None:
        latched = self.m.latch and (self.m.active or self.m.latched)
        try:
            self.note(self.m.remove_from_service("anna", "maintenance"))
        except ValueError:
            assert latched

    @rule()
    def in_service(self) -> None:
        self.note(self.m.return_to_service("anna"))

    @invariant()
    def unmasked_machine_follows_the_condition(self) -> None:
        if not self.m.suppressed and not self.m.out_of_service:
            assert self.m.active == self.condition
            assert self.m.waiting is None
        else:
            assert not self.m.active
            assert (self.m.waiting is not None) == self.condition

    @invariant()
    def state_agrees_with_what_is_true(self) -> None:
        m = self.m
        hidden = {"shelved", "suppressed", "out_of_service"}
        assert m.annunciated == (m.state not in hidden and (m.active or m.latched or not m.acknowledged))
        if m.state == "normal":
            assert (m.active, m.latched, m.acknowledged) == (False, False, True)
        if m.latch:
            assert m.shelved_until is None

    @invariant()
    def an_active_alarm_of_a_latching_rule_is_latched(self) -> None:
        if self.m.latch and self.m.active:
            assert self.m.latched


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def state(m: Machine) -> str:
    return m.state


def test_the_usual_life() -> None:
    m = machine()
    assert types(m.condition_true(cause(1))) == ["raised"]
    assert state(m) == "unacknowledged_active"
    assert types(m.acknowledge("anna")) == ["acknowledged"]
    assert state(m) == "acknowledged_active"
    assert types(m.condition_false(5.0)) == ["cleared"]
    assert state(m) == "normal"


def test_cleared_before_it_was_acknowledged() -> None:
    m = machine()
    m.condition_true(cause(1))
    m.condition_false(5.0)
    assert state(m) == "rtn_unacknowledged"
    m.acknowledge("anna")
    assert state(m) == "normal"


def test_a_latched_alarm_needs_acknowledge_then_reset() -> None:
    m = machine(latch=True, shelf_s=0.0)
    m.condition_true(cause(1))
    with pytest.raises(ValueError, match="still true"):
        m.reset("anna")
    m.condition_false(5.0)
    assert state(m) == "latched_unacknowledged"
    with pytest.raises(ValueError, match="not acknowledged"):
        m.reset("anna")
    m.acknowledge("anna")
    assert state(m) == "latched_acknowledged"
    assert types(m.reset("anna")) == ["reset"]
    assert state(m) == "normal"
    with pytest.raises(ValueError, match="cannot be shelved"):
        m.shelve(3e9, 2e9, "anna", "noisy")


def test_an_escalation_ends_the_shelf_and_wants_a_new_acknowledge() -> None:
    m = machine()
    m.condition_true(cause(1))
    m.acknowledge("anna")
    m.shelve(2e9 + 60, 2e9, "anna", "known")
    assert state(m) == "shelved"
    assert types(m.condition_true(cause(2, "critical"))) == ["unshelved", "escalated"]
    assert (m.state, m.severity, m.count) == ("unacknowledged_active", "critical", 1)


def test_each_raise_is_another_occurrence_and_the_same_samples_give_the_same_ones() -> None:
    def occurrences() -> list[str | None]:
        m, found = machine(), []
        for seq in (1, 2, 3):
            m.condition_true(cause(seq))
            found.append(m.occurrence)
            m.condition_false(float(seq))
        return found

    assert occurrences() == occurrences()
    assert len(set(occurrences())) == 3


def test_what_is_true_when_suppression_ends_is_raised_then() -> None:
    m = machine()
    m.suppress("the recording has ended")
    assert m.condition_true(cause(1)) == []
    assert state(m) == "suppressed"
    assert types(m.unsuppress()) == ["unsuppressed", "raised"]


def test_a_wall_clock_set_back_does_not_prolong_a_shelf() -> None:
    m = machine()
    m.condition_true(cause(1))
    m.shelve(2e9 + 60, 2e9, "anna", "known")
    assert m.tick(1e9, 59.0) == []
    assert types(m.tick(1e9, 1.5)) == ["unshelved"]
    assert state(m) == "unacknowledged_active"
