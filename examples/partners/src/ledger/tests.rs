use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use super::*;
use crate::Error;

/// A partner that has some pieces of one thing.
#[derive(Debug)]
struct Shelf(u32);

#[derive(Debug, Serialize, Deserialize)]
struct Pieces(u32);

impl Books for Shelf {
    type Hold = Pieces;
    type Answer = String;

    fn take(&mut self, hold: &Pieces) {
        self.0 -= hold.0;
    }

    fn give_back(&mut self, hold: Pieces) {
        self.0 += hold.0;
    }
}

struct Fixture {
    dir: tempfile::TempDir,
    ledger: Ledger<Shelf>,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path(), "shelf", Shelf(100)).unwrap();
        Self { dir, ledger }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("shelf.ledger")
    }

    fn reopen(self) -> Result<Self, Error> {
        let Self { dir, ledger } = self;
        drop(ledger);
        let ledger = Ledger::open(dir.path(), "shelf", Shelf(100))?;
        Ok(Self { dir, ledger })
    }

    async fn take(&self, order: &str, pieces: u32) -> Result<Done<String>, Refused<&'static str>> {
        let call = Call {
            op: "take",
            key: "",
            order_id: order,
            body: Fingerprint::of(&pieces),
        };
        let result = self.ledger.forward(call, |shelf, stamp| {
            if shelf.0 < pieces {
                return Err("too few");
            }
            Ok((Pieces(pieces), format!("{order} is number {}", stamp.n)))
        });
        result.await
    }

    async fn put_back(&self, order: &str, key: &str) -> Result<Undone, Refused<()>> {
        let call = Call {
            op: "put_back",
            key,
            order_id: order,
            body: Fingerprint::of(&()),
        };
        self.ledger.cancel(call).await
    }

    fn left(&self) -> u32 {
        self.ledger.books(|shelf| shelf.0)
    }
}

#[tokio::test]
async fn what_was_answered_is_known_after_a_restart() {
    let shelf = Fixture::new();
    shelf.take("A", 3).await.unwrap();
    shelf.take("B", 4).await.unwrap();
    assert_eq!(shelf.put_back("B", "").await, Ok(Undone::Cancelled));
    assert_eq!(shelf.put_back("C", "").await, Ok(Undone::Tombstoned));
    assert_eq!(shelf.put_back("C", "again").await, Ok(Undone::Already));
    let before = shelf.ledger.page(0, 10).await.unwrap();

    let shelf = shelf.reopen().unwrap();
    assert_eq!(shelf.left(), 97);
    assert_eq!(shelf.ledger.page(0, 10).await.unwrap(), before);
    let replay = shelf.take("A", 3).await.unwrap();
    assert_eq!(
        (replay.answer.as_str(), replay.replayed),
        ("A is number 1", true)
    );
    assert_eq!(shelf.take("A", 5).await, Err(Refused::KeyReused));
    assert_eq!(shelf.take("B", 4).await, Err(Refused::Cancelled));
    assert_eq!(shelf.take("C", 1).await, Err(Refused::Cancelled));
    assert_eq!(shelf.put_back("C", "").await, Ok(Undone::Tombstoned));
    assert_eq!(shelf.put_back("C", "again").await, Ok(Undone::Already));
    assert_eq!(shelf.put_back("A", "again").await, Err(Refused::KeyReused));
    assert_eq!(shelf.left(), 97);
}

#[tokio::test]
async fn a_refusal_is_not_remembered() {
    let shelf = Fixture::new();
    assert_eq!(
        shelf.take("A", 101).await,
        Err(Refused::Business("too few"))
    );
    assert!(shelf.ledger.page(0, 10).await.unwrap().is_empty());
    assert!(!shelf.take("A", 100).await.unwrap().replayed);
    assert_eq!(shelf.left(), 0);
}

#[tokio::test]
async fn pages_have_effects_alone_numbered_without_gaps() {
    let shelf = Fixture::new();
    for order in ["A", "B", "C", "D"] {
        shelf.take(order, 1).await.unwrap();
        shelf.put_back(order, "").await.unwrap();
        shelf
            .put_back(order, &format!("{order} again"))
            .await
            .unwrap();
    }
    let mut seen = Vec::new();
    loop {
        let after = seen.last().map_or(0, |last: &Shown| last.n);
        let page = shelf.ledger.page(after, 3).await.unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 3);
        seen.extend(page);
    }
    let numbers: Vec<u64> = seen.iter().map(|effect| effect.n).collect();
    assert_eq!(numbers, (1..=8).collect::<Vec<_>>());
    assert!(seen.iter().all(|effect| effect.effect != Effect::Already));
    assert!(shelf.ledger.page(u64::MAX, 3).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_page_of_large_rows_ends_early_and_never_empty() {
    let shelf = Fixture::new();
    let huge = "x".repeat(row::LINE_BYTES_MAX - 1000);
    for order in 0..10 {
        let call = Call {
            op: "take",
            key: "",
            order_id: &order.to_string(),
            body: Fingerprint::of(&order),
        };
        let effect = |_: &Shelf, _| Ok::<_, ()>((Pieces(0), huge.clone()));
        shelf.ledger.forward(call, effect).await.unwrap();
    }
    let first = shelf.ledger.page(0, 1000).await.unwrap();
    assert_eq!(first.len(), 8);
    let last = shelf.ledger.page(8, 1000).await.unwrap();
    assert_eq!(last.len(), 2);
}

#[tokio::test]
async fn a_torn_last_line_is_cut_off_wherever_it_was_torn() {
    let shelf = Fixture::new();
    shelf.take("A", 3).await.unwrap();
    let whole = std::fs::metadata(shelf.path()).unwrap().len();
    shelf.take("B", 4).await.unwrap();
    let (dir, all) = (
        shelf.dir.path().to_owned(),
        std::fs::read(shelf.path()).unwrap(),
    );
    let mut shelf = Some(shelf);
    for cut in whole..all.len() as u64 {
        std::fs::write(dir.join("shelf.ledger"), &all[..cut as usize]).unwrap();
        let reopened = shelf.take().unwrap().reopen().unwrap();
        assert_eq!(reopened.left(), 97);
        assert!(!reopened.take("B", 5).await.unwrap().replayed);
        assert_eq!(reopened.left(), 92);
        shelf = Some(reopened);
    }
}

#[tokio::test]
async fn a_damaged_middle_is_an_error_that_names_the_line() {
    let shelf = Fixture::new();
    shelf.take("A", 3).await.unwrap();
    shelf.take("B", 4).await.unwrap();
    let mut all = std::fs::read(shelf.path()).unwrap();
    let second = all.iter().position(|byte| *byte == b'\n').unwrap() + 20;
    all[second] ^= 1;
    std::fs::write(shelf.path(), all).unwrap();
    let error = shelf.reopen().map(|_| ()).unwrap_err();
    assert!(error.is_ledger());
    assert!(error.to_string().contains("damaged at line 2"), "{error}");
}

#[tokio::test]
async fn a_row_that_contradicts_the_rows_before_it_is_an_error() {
    let shelf = Fixture::new();
    shelf.take("A", 3).await.unwrap();
    let path = shelf.path();
    let all = std::fs::read(&path).unwrap();
    let second = all.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .unwrap();
    file.write_all(&all[second..]).unwrap();
    let error = shelf.reopen().map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("line 3"), "{error}");
}

#[tokio::test]
async fn one_process_at_a_time_has_the_file() {
    let shelf = Fixture::new();
    let second = Ledger::open(shelf.dir.path(), "shelf", Shelf(1)).unwrap_err();
    assert!(
        second.to_string().contains("in use by another process"),
        "{second}"
    );
}

#[tokio::test]
async fn another_partners_file_is_not_taken() {
    let shelf = Fixture::new();
    std::fs::copy(shelf.path(), shelf.dir.path().join("other.ledger")).unwrap();
    let error = Ledger::open(shelf.dir.path(), "other", Shelf(1)).unwrap_err();
    assert!(error.to_string().contains("another partner"), "{error}");
}

#[tokio::test]
async fn a_closed_ledger_does_nothing_more() {
    let shelf = Fixture::new();
    shelf.take("A", 1).await.unwrap();
    shelf.ledger.close();
    assert_eq!(shelf.take("B", 1).await, Err(Refused::Lost));
    assert_eq!(shelf.left(), 99);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rivals_for_the_last_piece_are_one_winner() {
    let shelf = Arc::new(Fixture::new());
    let tasks: Vec<_> = (0..150)
        .map(|i| {
            let shelf = Arc::clone(&shelf);
            tokio::spawn(async move { shelf.take(&format!("O{i}"), 1).await.is_ok() })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        won += usize::from(task.await.unwrap());
    }
    assert_eq!(won, 100);
    assert_eq!(shelf.ledger.page(0, 1000).await.unwrap().len(), 100);
}
