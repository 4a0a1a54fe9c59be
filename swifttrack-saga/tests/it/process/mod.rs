//! Processes that are killed, frozen and replaced, over one Postgres.
//!
//! Each worker is this test binary again, told by its environment to be [`child`]. What it does
//! to the world is in the table `effect`, by key, as at a partner that is idempotent. One saga of
//! three is rejected at its last step and undone.

mod cluster;
mod replica;
mod worker;
mod world;

use std::time::{Duration, Instant};

use testkit::pg::TestDb;
use testkit::wait_until;

use self::cluster::Cluster;
use self::worker::LEASE;
use self::world::{Head, World};
use crate::store::proxy::{Cut, Proxy};

/// What ends a broken test.
const LIMIT: Duration = Duration::from_secs(120);
/// Workers with a fair share of the shards: 64 in three are 22, 22 and 20.
const FAIR: &str = "SELECT count(*) FROM (SELECT FROM saga_shard s JOIN saga_name n ON n.n = s.grp
    WHERE n.name = 'work@1' AND owner IS NOT NULL
    GROUP BY owner HAVING count(*) >= 20) x";
/// A step that takes so long is under way at a chosen moment.
const SLOW: Duration = Duration::from_secs(1);

/// Started by the tests of this module with its environment; by itself it does nothing.
#[test]
fn child() {
    worker::main_if_told();
}

#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn a_killed_process_is_taken_over() {
    let db = TestDb::create().await;
    let world = World::at(db.url()).await;
    // The heir comes before, so that both have their share when the first saga starts.
    let _heir = world.replica().steps_take(SLOW).spawn();
    world.until_workers(1).await;
    let victim = world.replica().steps_take(SLOW).starts(1, 0..150);
    let mut victim = victim.spawn();
    world.until_workers(2).await;
    let worker = world.worker(1).await;
    world.until("two share", FAIR, |n| n == 2).await;
    world.until_one_turns_back().await;
    let killed = Instant::now();
    victim.signal("KILL");
    let left = world.sagas_of(worker).await;
    let started = world.acknowledged(&(0..150)).len();
    assert!(started < 150, "it had started all");
    assert!(left.iter().any(Head::turns_back), "{left:?}");
    assert!(!left.iter().all(Head::turns_back), "{left:?}");
    wait_until("all went on", LIMIT, async || world.still(&left).await == 0).await;
    let took = killed.elapsed();
    // The last heartbeat was before the kill, so the lease ends within LEASE of it. A saga then
    // moves without waiting for a step: the first thing noted is that its attempt was cut off.
    assert!(took <= LEASE + Duration::from_secs(1), "{took:?}");
    world.until_all_ended().await;
    world.judge(0..150, 1).await;
}

async fn frozen(inside_a_flush: bool) {
    let db = TestDb::create().await;
    let world = World::at(db.url()).await;
    let mut replica = world.replica().starts(1, 0..100).steps_take(SLOW);
    if inside_a_flush {
        replica = replica.freezes_itself();
    }
    let first = replica.spawn();
    if inside_a_flush {
        wait_until("it stands still", LIMIT, async || first.is_stopped()).await;
    } else {
        world.until_one_turns_back().await;
        first.signal_shared("STOP");
    }
    assert!(world.turning_back().await > 0, "it froze in no undo");
    let second = world.replica().spawn();
    // The other does it all, also what the frozen one's open transaction held on to.
    world.until_all_ended().await;
    let last = world.youngest().await;
    let before = world.digest(last).await;
    let sessions = "SELECT count(*) FROM saga_worker";
    world
        .until("one worker is left", sessions, |n| n == 1)
        .await;

    first.signal_shared("CONT");
    world
        .until("it is back as another", sessions, |n| n == 2)
        .await;
    world.until_shared_by(2).await;
    assert_eq!(
        world.digest(last).await,
        before,
        "it wrote what was no longer its own"
    );
    drop((first, second));
    world.judge(0..100, 1).await;
}

#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn a_process_frozen_outside_a_flush_writes_nothing_stale() {
    frozen(false).await;
}

#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn a_process_frozen_inside_a_flush_writes_nothing_stale() {
    frozen(true).await;
}

#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn versions_roll_while_both_are_alive() {
    let db = TestDb::create().await;
    let world = World::at(db.url()).await;
    let mut old = world.replica().steps_take(SLOW).starts(1, 0..60).spawn();
    world.until_effects(10).await;
    let old_worker = world.worker(0).await;
    let new = world.replica().versions("1,2").starts(2, 100..160);
    let _new = new.spawn();
    world.until_workers(2).await;
    let second = "SELECT count(*) FROM effect WHERE key LIKE '1__:%'";
    world
        .until("version 2 takes effect", second, |n| n >= 10)
        .await;
    // All that the old one has is of version 1, since it knows no other.
    let running = world.sagas_of(old_worker).await;
    assert!(!running.is_empty(), "version 1 had ended before");
    old.leave();
    world.until_all_ended().await;
    world.judge(0..60, 1).await;
    world.judge(100..160, 2).await;
}

#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn a_third_replica_gets_its_share() {
    let db = TestDb::create().await;
    let world = World::at(db.url()).await;
    let _first = world.replica().starts(1, 0..100).spawn();
    let _second = world.replica().spawn();
    world.until("two share", FAIR, |n| n == 2).await;
    let _third = world.replica().spawn();
    world.until("three share", FAIR, |n| n == 3).await;
    world.until_all_ended().await;
    world.judge(0..100, 1).await;
}

/// The server dies with everything in flight, and comes back.
#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn a_server_that_crashes_loses_nothing() {
    let cluster = Cluster::create();
    let world = World::at(&cluster.url()).await;
    // One that comes while its sessions end does not come up.
    let _first = world.replica().spawn();
    world.until_shared_by(1).await;
    let _second = world.replica().starts(1, 0..150).spawn();
    world.until_effects(60).await;
    cluster.crash();
    cluster.start();
    let runs = "SELECT count(*) FROM saga";
    world.until("no saga runs", runs, |n| n == 0).await;
    world.judge(0..150, 1).await;
}

/// All sessions of all processes end, again and again, wherever they stand.
#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn sessions_that_are_ended_lose_nothing() {
    let db = TestDb::create().await;
    let world = World::at(db.url()).await;
    // One that comes while its sessions end does not come up.
    let _first = world.replica().spawn();
    world.until_shared_by(1).await;
    let _second = world.replica().starts(1, 0..150).spawn();
    let mut ended = 0;
    for effects in [30, 80, 130, 180, 230] {
        world.until_effects(effects).await;
        ended += world
            .count(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            .await;
    }
    assert!(ended >= 10, "there were sessions to end: {ended}");
    world.until_all_ended().await;
    world.judge(0..150, 1).await;
}

/// The answer to a COMMIT is lost, or the COMMIT, and the worker has to find out which.
#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn commits_whose_connection_is_cut_are_read_back() {
    let db = TestDb::create().await;
    let world = World::at(db.url()).await;
    let proxy = Proxy::to(&world.url, b"COMMIT").await;
    let replica = world.replica_at(&proxy.url(&world.url)).hooked();
    let _only = replica.starts(1, 0..150).spawn();
    for (effects, cut) in (20..).step_by(40).zip([
        Cut::After,
        Cut::Before,
        Cut::After,
        Cut::Before,
        Cut::After,
        Cut::Before,
    ]) {
        world.until_effects(effects).await;
        proxy.arm(cut);
        wait_until("a commit is cut", LIMIT, async || proxy.is_done()).await;
    }
    world.until_all_ended().await;
    world.judge(0..150, 1).await;
}
