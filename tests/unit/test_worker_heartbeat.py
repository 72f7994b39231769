"""How often a lease is renewed."""

from gradclinic_worker.process import heartbeat


def test_a_lease_is_renewed_three_times_before_it_is_over_and_at_least_once_a_second() -> None:
    leases_seconds = (0.3, 1.5, 3.0, 10.0)
    assert [0.1, 0.5, 1.0, 1.0] == [round(heartbeat.interval_seconds(lease), 6) for lease in leases_seconds]
