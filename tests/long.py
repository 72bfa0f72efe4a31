"""Owns which tests take long: `make test` leaves them to `make long`, so that it ends within ten minutes on two cores. CI runs
one part in twelve of `make long`, another one for each state of the tree, so that it ends within the hour on a slow machine too.

Of a table of scenes, or of deaths and faults of the crash harness, that is left to `make long`, it makes each sixteenth row; `make exhaustive`
makes the others, before a release.

An entry is a file, or a test of it with all its rows, or a part of the names of its rows behind a `[`. What is here has shorter
siblings that show the same promise in `make test`; of a table with many rows each eighth one stays there, and of the scenes of a
file, each of which plays a whole run or works on a database of its own, each eighth too. `make live` tells all of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet

LONG: tuple[str, ...] = (
    "tests/bench/test_smoke.py",
    "tests/contract/backup/test_restore.py",
    "tests/contract/backup/test_restore_odd.py",
    "tests/contract/database/test_copies.py::test_a_session_that_may_not_be_ended_is_told_and_nothing_is_renamed",
    "tests/contract/test_openapi.py::test_made_up_requests_get_documented_answers",
    "tests/contract/test_schedules.py::test_a_clock_that_is_set_back_brings_no_time_again_and_keeps_none_waiting",
    "tests/crash/test_deaths.py",
    "tests/crash/test_faults.py",
    "tests/crash/test_repeats.py::test_a_run_whose_steps_are_all_executed_twice_ends_as_if_once",
    "tests/crash/test_store_faults.py",
    "tests/crash/test_trust.py",
    "tests/crash/test_undos.py",
    "tests/live/install/test_doctor.py",
    "tests/live/install/test_installed.py",
    "tests/live/e2e/test_causes_told.py",
    "tests/live/test_bench_backup.py",
    "tests/scenario/test_alerts_that_fire_on.py::test_who_has_taken_an_incident_while_a_step_is_verified_keeps_undo_and_next_step",
    "tests/scenario/test_clock_set_back.py::test_a_persons_order_that_waits_is_good_as_long_as_it_would_have_been",
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
    "tests/scenario/test_one_call_for_one_target.py::test_wherever_it_is_cut_two_runs_that_fail_call_once_and_no_call_is_lost",
    "tests/scenario/test_ordinary_senders.py::test_five_thousand_alerts_in_a_body_are_taken_and_closed",
    "tests/scenario/test_ordinary_senders.py::test_odd_variants_are_taken_mean_the_same_target_and_are_closed",
    "tests/scenario/test_procedures.py::test_a_bad_release_is_taken_back_by_itself_and_says_why",
    "tests/scenario/test_promise_10_in_any_order.py::test_no_write_of_any_kind_happens_under_a_hold_in_any_order_of_events[1]",
    "tests/scenario/test_promise_10_in_any_order.py::test_no_write_of_any_kind_happens_under_a_hold_in_any_order_of_events[2]",
    "tests/scenario/test_promise_10_in_any_order.py::test_no_write_of_any_kind_happens_under_a_hold_in_any_order_of_events[3]",
    "tests/scenario/test_promise_10_one_rule_for_every_write.py",
    "tests/scenario/test_promise_11_a_new_pod_could_start.py::test_an_undo_waits_as_long_as_no_pod_of_what_it_puts_back_could_start",
    "tests/scenario/test_promise_11_a_new_pod_could_start.py::test_no_step_is_taken_into_an_obstacle_and_it_is_named",
    "tests/scenario/test_promise_11_a_new_pod_could_start.py::test_once_the_obstacle_is_gone_the_step_is_taken",
    "tests/scenario/test_promise_2_once.py::test_a_store_that_was_put_back_does_not_act_again_on_what_carries_our_marker",
    "tests/scenario/test_promise_3_in_a_storm.py::test_a_person_gets_through_in_a_storm",
    "tests/scenario/test_promise_3_in_a_storm.py::test_a_storm_that_goes_on_is_looked_at_once_it_is_over",
    "tests/scenario/test_promise_3_in_a_storm.py::test_both_members_of_a_pair_deliver_the_storm_and_nothing_doubles",
    "tests/scenario/test_promise_3_in_a_storm.py::test_ten_thousand_targets_break_no_limit_and_are_one_message",
    "tests/scenario/test_promise_5_in_time.py::test_an_order_is_no_approval_of_what_is_begun_long_after_it[4320",
    "tests/scenario/test_promise_7_undos_that_wait.py::test_a_hand_that_could_not_be_looked_for_is_looked_for_again",
    "tests/scenario/test_promise_7_undos_that_wait.py::test_a_persons_undo_that_waits_ends_with_its_time",
    "tests/scenario/test_right_on_generated_situations.py",
    "tests/scenario/test_several_alerts_for_one_fault.py::test_wherever_it_is_cut_the_run_is_waited_for_and_nothing_waits_for_ever",
    "tests/scenario/test_slack_answers.py::test_a_commit_whose_answer_is_lost_is_never_told_as_nothing_done_and_a_second_press_counts_once",
    "tests/scenario/test_slack_deaths.py",
    "tests/scenario/test_trouble_that_comes_back.py::test_memory_that_was_raised_twice_and_is_short_again_calls_a_person_once",
    "tests/scenario/test_vanished_alerts.py",
    "tests/scenario/test_way_of_an_incident.py::test_an_alert_that_is_gone_without_a_message_ends_its_incident",
    "tests/scenario/test_what_history_costs.py",
    "tests/scenario/test_whose_hand.py::test_nobodys_hand_ends_no_verification_and_stops_no_undo",
    "tests/unit/causes/test_before_the_release.py::test_a_guilty_release_is_rolled_back_by_itself_where_requests_were_measured",
    "tests/unit/causes/test_before_the_release.py::test_no_release_is_rolled_back_by_itself_for_errors_that_are_older",
    "tests/unit/causes/test_more_pods.py::test_what_clients_say_of_something_used_up_is_never_met_with_more_pods",
    "tests/unit/cli/test_serve.py::test_a_port_in_use_is_a_usage_error_that_names_the_setting",
    "tests/unit/cli/test_serve.py::test_a_second_process_on_one_state_folder_is_refused",
    "tests/unit/cli/test_serve.py::test_a_story_is_ordered_approved_by_two_people_and_told_to_its_end",
    "tests/unit/cli/test_serve.py::test_a_story_that_does_not_exist_is_refused_with_those_that_do",
    "tests/unit/cli/test_serve.py::test_an_address_in_brackets_is_the_address",
    "tests/unit/cli/test_serve.py::test_an_address_on_the_command_line_opens_no_api_to_the_world",
    "tests/unit/cli/test_serve.py::test_the_demo_ends_all_four_stories_well_and_cuts_nothing_on_a_narrow_terminal",
    "tests/unit/domain/test_redact_lines.py::test_a_value_apart_from_its_name_is_hidden_behind_what_a_logger_writes_before_each_line",
    "tests/unit/domain/test_redact_lines.py::test_h3_a_value_below_its_name_is_no_last_word",
    "tests/unit/domain/test_redaction.py::test_a_harmless_line_stays_behind_the_prefix_of_a_log",
    "tests/unit/domain/test_redaction.py::test_twice_the_text_takes_some_twice_the_time_as_a_whole",
    "tests/unit/domain/test_secret_refusals.py::test_a_refused_value_behind_its_name_is_hidden_whatever_the_verb",
    "tests/unit/kube/test_quoted.py::test_a_value_that_the_cut_splits_is_not_shown",
    "tests/unit/notify/test_deliver_outage.py::test_whichever_call_of_the_store_fails_every_entry_is_there_once_and_in_order",
    "tests/unit/policy/test_params.py::test_params_that_are_half_written_or_of_a_wrong_type_are_told_at_their_line",
    "tests/unit/test_what_serve_imports.py::test_what_asks_for_them_imports_them",
)


TABLE = 12
"""Rows from which on a table is long."""
_EACH = 8
_SIXTEENTH = 16
SCENES = ("tests/scenario/", "tests/live/e2e/", "tests/contract/backup/", "tests/contract/database/")


_OF: dict[str, list[str]] = {}
for _entry in LONG:
    _OF.setdefault(_entry.partition("::")[0], []).append(_entry)


def is_long(test: str) -> bool:
    """Whether this test, by its full name, takes long."""
    return any(
        test == entry
        or test.startswith((f"{entry}::", f"{entry}["))
        or ("[" in entry and test.startswith(entry))
        for entry in _OF.get(test.partition("::")[0], ())
    )


def long_among(tests: Sequence[str]) -> set[str]:
    """The full names, of these in their order, of those that take long."""
    named = {test for test in tests if is_long(test)}
    rows = _by(lambda test: test.partition("[")[0], tests)
    told = named | _but_each(of for of in rows.values() if len(of) > TABLE)
    scenes = (test for test in tests if test.startswith(SCENES) and test not in told)
    return told | _but_each(_by(lambda test: test.partition("::")[0], scenes).values())


def exhaustive_among(tests: Sequence[str], long: AbstractSet[str]) -> set[str]:
    """Which of the `long` ones `make long` leaves to `make exhaustive`: rows that each play a life of their own, of tables with others."""
    lives = (test for test in tests if test in long and test.startswith(("tests/scenario/", "tests/crash/")))
    rows = _by(lambda test: test.partition("[")[0], lives).values()
    return {test for of in rows for number, test in enumerate(of) if number % _SIXTEENTH}


def outside(part: str, tests: Sequence[str]) -> set[str]:
    """Those of the tests, in their order, that are not in the part: `3/8` is each eighth one from the third on.

    Raises ValueError where the part is no such fraction."""
    number, _, parts = part.partition("/")
    if not (number.isdecimal() and parts.isdecimal() and 1 <= int(number) <= int(parts)):
        raise ValueError(f"a part is K/N with K from 1 to N, and not {part!r}")
    return set(tests) - set(tests[int(number) - 1 :: int(parts)])


def _by(part: Callable[[str], str], tests: Iterable[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for test in tests:
        groups.setdefault(part(test), []).append(test)
    return groups


def _but_each(groups: Iterable[Sequence[str]]) -> set[str]:
    return {test for of in groups for number, test in enumerate(of) if number % _EACH}
