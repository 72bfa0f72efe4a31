"""Owns which tests take long: `make test` leaves them to `make long`, which CI runs, so that it ends within ten minutes on two cores.

An entry is a file, or a test of it with all its rows, or a part of the names of its rows behind a `[`. What is here has shorter
siblings that show the same promise in `make test`.
"""

from __future__ import annotations

LONG: tuple[str, ...] = (
    "tests/bench/test_smoke.py",
    "tests/contract/backup/test_restore.py",
    "tests/contract/backup/test_restore_odd.py",
    "tests/contract/database/test_copies.py::test_a_session_that_may_not_be_ended_is_told_and_nothing_is_renamed",
    "tests/contract/test_schedules.py::test_a_clock_that_is_set_back_brings_no_time_again_and_keeps_none_waiting[postgres",
    "tests/crash/test_deaths.py",
    "tests/crash/test_faults.py",
    "tests/crash/test_store_faults.py",
    "tests/crash/test_trust.py",
    "tests/crash/test_undos.py",
    "tests/live/chart/test_doctor.py",
    "tests/live/chart/test_installed.py",
    "tests/scenario/test_database_restore_again.py",
    "tests/scenario/test_escalation_deaths.py",
    "tests/scenario/test_escalation_storms.py",
    "tests/scenario/test_escalation_tells.py",
    "tests/scenario/test_half_way.py",
    "tests/scenario/test_heartbeats.py::test_a_heartbeat_that_is_heard_of_calls_nobody",
    "tests/scenario/test_heartbeats.py::test_only_time_in_which_the_heartbeats_are_heard_of_counts_as_watched",
    "tests/scenario/test_no_secret_leaves.py::test_a_restart_after_a_step_that_did_not_help_lets_no_secret_out",
    "tests/scenario/test_no_secret_leaves.py::test_a_rotation_that_a_person_overruled_tells_no_key",
    "tests/scenario/test_no_secret_leaves.py::test_of_a_rollback_and_its_undo_only_the_pre_image_has_values[a key]",
    "tests/scenario/test_no_secret_leaves.py::test_of_a_rotation_and_its_undo_neither_the_old_nor_the_new_key_leaves[a key]",
    "tests/scenario/test_no_secret_leaves.py::test_on_postgres_only_the_pre_image_has_values_and_with_a_key_not_even_it",
    "tests/scenario/test_ordinary_senders.py::test_five_thousand_alerts_in_a_body_are_taken_and_closed",
    "tests/scenario/test_ordinary_senders.py::test_odd_variants_are_taken_mean_the_same_target_and_are_closed",
    "tests/scenario/test_promise_10_in_any_order.py::test_no_write_of_any_kind_happens_under_a_hold_in_any_order_of_events[1]",
    "tests/scenario/test_promise_10_in_any_order.py::test_no_write_of_any_kind_happens_under_a_hold_in_any_order_of_events[2]",
    "tests/scenario/test_promise_10_in_any_order.py::test_no_write_of_any_kind_happens_under_a_hold_in_any_order_of_events[3]",
    "tests/scenario/test_promise_10_one_rule_for_every_write.py",
    "tests/scenario/test_promise_3_in_a_storm.py::test_a_storm_that_goes_on_is_looked_at_once_it_is_over",
    "tests/scenario/test_promise_3_in_a_storm.py::test_both_members_of_a_pair_deliver_the_storm_and_nothing_doubles",
    "tests/scenario/test_promise_3_in_a_storm.py::test_ten_thousand_targets_break_no_limit_and_are_one_message",
    "tests/scenario/test_promise_5_in_time.py::test_an_order_is_no_approval_of_what_is_begun_long_after_it[4320",
    "tests/scenario/test_right_on_generated_situations.py",
    "tests/scenario/test_slack_deaths.py",
    "tests/scenario/test_vanished_alerts.py",
    "tests/scenario/test_what_history_costs.py",
    "tests/scenario/test_whose_hand.py::test_nobodys_hand_ends_no_verification_and_stops_no_undo",
    "tests/unit/cli/test_serve.py::test_a_port_in_use_is_a_usage_error_that_names_the_setting",
    "tests/unit/cli/test_serve.py::test_a_second_process_on_one_state_folder_is_refused",
    "tests/unit/cli/test_serve.py::test_a_story_is_ordered_approved_by_two_people_and_told_to_its_end",
    "tests/unit/notify/test_deliver_outage.py::test_whichever_call_of_the_store_fails_every_entry_is_there_once_and_in_order",
)


def is_long(test: str) -> bool:
    """Whether this test, by its full name, takes long."""
    return any(
        test == entry
        or test.startswith((f"{entry}::", f"{entry}["))
        or ("[" in entry and test.startswith(entry))
        for entry in LONG
    )
