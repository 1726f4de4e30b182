from streams.health import Health, Verdict


def ready_health() -> Health:
    health = Health(stall_seconds=60)
    health.assigned(True)
    health.recovered(True)
    return health


def test_waiting_input_and_no_movement_is_a_stall_after_stall_seconds():
    health = ready_health()
    health.lag("detect", 12, now=100.0)

    assert health.alive(now=159.9) == Verdict(True, "alive")
    assert health.alive(now=160.0) == Verdict(False, "detect stalled: 12 records wait and none was handled for 60 s")


def test_movement_ends_a_stall():
    health = ready_health()
    health.lag("detect", 12, now=100.0)
    health.moved("detect", now=170.0)

    assert health.alive(now=171.0).ok


def test_stage_that_stops_moving_with_input_left_stalls_from_its_last_movement():
    health = ready_health()
    health.lag("detect", 500, now=100.0)
    health.moved("detect", now=150.0)
    health.lag("detect", 300, now=155.0)

    assert health.alive(now=209.0).ok
    assert not health.alive(now=210.0).ok


def test_idle_stage_is_alive_for_ever():
    health = ready_health()
    health.moved("detect", now=100.0)
    health.lag("detect", 0, now=101.0)

    assert health.alive(now=1_000_000.0).ok


def test_first_record_after_an_idle_hour_does_not_stall_at_once():
    health = ready_health()
    health.moved("detect", now=100.0)
    health.lag("detect", 0, now=101.0)
    health.lag("detect", 1, now=3_700.0)

    assert health.alive(now=3_701.0).ok
    assert not health.alive(now=3_760.0).ok


def test_emptied_input_ends_a_stall():
    health = ready_health()
    health.lag("judge", 3, now=100.0)
    health.lag("judge", 0, now=170.0)

    assert health.alive(now=171.0).ok


def test_one_stalled_stage_among_moving_ones_is_named():
    health = ready_health()
    health.lag("ingest", 1_000, now=100.0)
    health.lag("judge", 3, now=100.0)
    health.moved("ingest", now=165.0)

    assert health.alive(now=170.0) == Verdict(False, "judge stalled: 3 records wait and none was handled for 70 s")


def test_long_recovery_is_no_stall():
    health = Health(stall_seconds=60)
    health.assigned(True)
    health.lag("detect", 12, now=100.0)

    assert health.alive(now=900.0).ok

    health.recovered(True)
    health.lag("detect", 12, now=901.0)

    assert health.alive(now=902.0).ok
    assert not health.alive(now=961.0).ok


def test_rebalance_forgets_how_long_input_waited():
    health = ready_health()
    health.lag("detect", 12, now=100.0)
    health.assigned(False)
    health.assigned(True)
    health.lag("detect", 12, now=161.0)

    assert health.alive(now=162.0).ok


def test_stage_never_heard_of_is_alive():
    assert Health().alive(now=0.0).ok


def test_ready_needs_partitions_and_their_state():
    health = Health()
    assert health.ready() == Verdict(False, "no partitions assigned yet")

    health.assigned(True)
    assert health.ready() == Verdict(False, "the state of the assigned partitions is being recovered")

    health.recovered(True)
    assert health.ready() == Verdict(True, "ready")

    health.assigned(False)
    assert not health.ready().ok
