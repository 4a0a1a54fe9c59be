//! The laws of [`Store`](crate::store::Store) as tests, for every store, ours or yours.
//!
//! ```text
//!   your make() ──► store ──► store_conformance!  one #[tokio::test] a law
//!   your make(probe) ───────► hook_conformance!   for a store that runs hooks
//! ```
//!
//! A store that passes is one that the engine can be trusted with. Use it so, in a test of a
//! crate that has `tokio` (features `macros`, `rt`) among its dev-dependencies:
//!
//! ```ignore
//! /// A fresh, empty store, and what must live as long as it.
//! async fn make() -> (MyStore, TempDatabase) {
//!     let database = TempDatabase::create().await;
//!     (MyStore::connect(database.url()).await, database)
//! }
//! swifttrack_saga::store_conformance!(make);
//! ```
//!
//! Attributes in front of the path are put on every test, such as `#[ignore = "needs Oracle"]`.
//! Workers share one store value here, and so would two processes.
//!
//! | module | laws |
//! |---|---|
//! | [`commits`] | a batch is one transaction, and each change has its own outcome |
//! | [`starts`] | one id is one saga, and one version one definition |
//! | [`leases`] | who may write, and who no longer |
//! | [`inbox`] | requests and signals are found |
//! | [`reading`] | loading, listing, history, erasure, retention |
//! | [`hooks`] | what the application sees of a commit |

// A law says what it found by panicking; that is what it is for.
#![allow(clippy::missing_panics_doc)]

pub mod commits;
mod fixture;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub mod hooks;
pub mod inbox;
pub mod leases;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod probe;
pub mod reading;
pub mod starts;

#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use self::probe::Probe;

/// One test a law of [`Store`](crate::store::Store), on the store that `$make` makes.
///
/// `$make` is an `async fn() -> (impl Store, impl Sized)`; the second is dropped after the test.
#[macro_export]
macro_rules! store_conformance {
    ($(#[$attr:meta])* $make:path) => {
        $crate::store_conformance! { @laws ($(#[$attr])*) $make;
            commits: a_start_is_durable_with_all_its_rows
                each_change_has_its_own_outcome
                a_changed_ctl_conflicts
                a_stale_seq_changes_nothing
                chained_rows_are_one_change
                a_change_without_rows_moves_only_the_head
                the_end_takes_the_head_and_leaves_the_journal
                a_commit_can_be_read_back
                empty_payloads_are_not_absent_ones
                a_full_batch_is_one_commit
                a_batch_of_any_size_is_written_whole;
            starts: a_shape_is_kept_as_it_was_first_seen
                the_same_start_twice_is_one_saga
                another_input_is_told
                an_id_is_taken_after_the_end_too
                an_id_is_taken_in_another_version_too
                ids_of_two_definitions_are_two_sagas
                the_same_id_twice_in_a_batch_is_one_saga
                of_many_concurrent_starts_one_wins;
            leases: a_claim_takes_free_shards_only
                a_live_owner_keeps_its_shards
                an_expired_owner_loses_its_shards
                an_expired_worker_does_not_come_back
                a_stale_owner_changes_nothing
                a_lease_is_of_its_own_shard
                a_released_shard_is_taken_cleanly
                a_deregistered_worker_leaves_cleanly
                a_reclaim_raises_the_epoch
                a_stale_epoch_is_fenced_and_holds_up_nobody
                a_reclaim_leaves_out_what_is_lost
                no_shard_is_claimed_twice
                a_survey_counts_who_holds_what
                a_worker_that_is_gone_claims_nothing;
            inbox: an_accepted_request_is_a_promise
                an_applied_request_is_forgotten
                a_request_past_the_pivot_is_refused
                a_request_at_another_seq_is_refused
                a_request_to_nobody_is_told
                a_signal_is_one_however_often_it_is_sent
                signals_of_two_names_are_two
                a_consumed_signal_stays_known
                a_signal_to_nobody_is_told
                a_signal_beside_a_commit_is_found
                a_request_beside_a_commit_is_found;
            reading: active_sagas_come_by_id
                due_sagas_come_oldest_first
                a_saga_that_only_a_signal_wakes_is_not_due
                lists_go_by_keyset
                history_goes_by_seq
                unknown_names_are_empty
                only_old_ended_sagas_are_pruned
                a_pruned_id_is_free_again
                an_erased_saga_keeps_its_facts
                a_running_saga_is_not_erased;
        }
    };
    (@laws $attrs:tt $make:path; $($module:ident: $($law:ident)*;)*) => {
        $($(
            $crate::store_conformance! { @one $attrs $make, $module, $law }
        )*)*
    };
    (@one ($(#[$attr:meta])*) $make:path, $module:ident, $law:ident) => {
        $(#[$attr])*
        #[tokio::test]
        async fn $law() {
            let (store, _guard) = $make().await;
            $crate::conformance::$module::$law(&store).await;
        }
    };
}

/// One test a law of hooks, on the store that `$make` makes with the given probe as its hook.
///
/// `$make` is an `async fn(Arc<Probe>) -> (impl Store, impl Sized)`.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
#[macro_export]
macro_rules! hook_conformance {
    ($(#[$attr:meta])* $make:path) => {
        $crate::hook_conformance! { @laws ($(#[$attr])*) $make;
            a_hook_sees_the_accepted_in_order
            a_hook_sees_no_losers
            a_failing_hook_undoes_the_batch
            a_refused_start_takes_nothing_with_it
            a_refusal_of_everything_is_told_to_each
            a_refusal_of_a_stranger_fails
            a_refused_id_is_free;
        }
    };
    (@laws $attrs:tt $make:path; $($law:ident)*;) => {
        $($crate::hook_conformance! { @one $attrs $make, $law })*
    };
    (@one ($(#[$attr:meta])*) $make:path, $law:ident) => {
        $(#[$attr])*
        #[tokio::test]
        async fn $law() {
            let probe = std::sync::Arc::new($crate::conformance::Probe::default());
            let (store, _guard) = $make(std::sync::Arc::clone(&probe)).await;
            $crate::conformance::hooks::$law(&store, &probe).await;
        }
    };
}
