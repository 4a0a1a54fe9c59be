//! Everything that is tested through the public surface.
//!
//! Which test watches over which law of the engine. Those of `simulation`, in `src`, take away
//! what keeps the law, and have to find a world that breaks it:
//!
//! | law | what keeps it | test |
//! |---|---|---|
//! | 1 nothing started is lost | takeover, sweeps | `simulation::the_sweep_is_needed`, `process::a_killed_process_is_taken_over` |
//! | 2 compensated is undone, in reverse | the order of undos, quiet periods | `engine::a_rejected_step_turns_the_saga_back`, `undoing::an_undo_of_maybe_waits_out_the_quiet_period_without_tombstones` |
//! | 3 durable before effects | attempts begin after the commit | `simulation::durability_before_effects_is_needed` |
//! | 4 unknown is remembered | `maybe`, and the question first | `simulation::remembering_maybe_is_needed`, `counting_interrupted_attempts_is_needed` |
//! | 5 who lost a lease changes nothing | owner and epoch in the commit, and its own clock | `simulation::the_epoch_check_is_needed`, `the_owner_check_is_needed`, `operate::lease::who_was_taken_over_unawares_begins_nothing`, `process::a_process_frozen_inside_a_flush_writes_nothing_stale` |
//! | 6 one id is one saga | the key row and its hash | `simulation::the_dedupe_is_needed`, `postgres::a_start_is_one_with_the_transaction_of_its_caller` |
//! | 7 a failed undo goes on, or is parked | no next undo while one is under way | `undoing::a_failing_undo_asks_for_eyes_and_never_goes_on_to_the_next`, `an_undo_that_is_retried_still_comes_before_the_next` |
//! | 8 an accepted cancel is a promise | `ctl` and `past_pivot` in one update | `simulation::the_ctl_check_is_needed`, `the_check_of_the_pivot_is_needed`, `operate::verbs::a_cancel_changes_nothing_in_a_saga_that_turns_back` |
//! | 9 who cannot read leaves it; who kills is found | groups by version, parking, crash counts | `operate::payload::what_cannot_be_read_is_parked_and_blocks_nobody`, `operate::shared::a_saga_that_kills_its_process_is_found_and_parked`, `suspects_run_one_at_a_time`, `process::versions_roll_while_both_are_alive` |
//! | 10 an ambiguous commit is read back | reclaim, then the journal | `simulation::the_takeover_before_reading_back_is_needed`, `process::commits_whose_connection_is_cut_are_read_back` |
//! | 11 waiting costs nothing | eviction, no polling a saga | `engine::sleeps_signals_and_groups`, `operate::shared::an_idle_worker_sends_at_most_one_statement_a_second`, `allocations::a_parked_saga_holds_no_memory` |
//! | 12 one failure is one saga's | halves, then alone | `operate::shared::one_of_500_for_which_the_hook_always_fails_holds_up_nobody`, `a_slow_partner_does_not_slow_sagas_that_do_not_need_it` |
//! | 13 the hook sees all, in order, or nothing happens | it runs inside the commit | `simulation::the_order_of_a_batch_is_needed`, `hook_conformance!` |

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod child;
mod compile_fail;
mod counting;
mod definition;
mod engine;
mod inputs;
#[cfg(feature = "conformance")]
mod memory;
mod operate;
mod parts;
#[cfg(all(feature = "postgres", feature = "conformance"))]
mod postgres;
#[cfg(all(feature = "postgres", feature = "conformance", target_os = "linux"))]
mod process;
#[cfg(feature = "conformance")]
mod store;
mod undoing;
#[cfg(feature = "verify")]
mod verify;
