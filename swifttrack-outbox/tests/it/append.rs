//! An event exists exactly if the caller's transaction commits.

use swifttrack_outbox::Event;

use crate::support::{Db, numbered};

macro_rules! on_both {
    ($($law:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $law() {
                super::$law(crate::support::Db::sqlite().await).await;
            })+
        }
        mod postgres {
            $(#[tokio::test]
            #[ignore = "needs Postgres: cargo xtask test"]
            async fn $law() {
                super::$law(crate::support::Db::postgres().await).await;
            })+
        }
    };
}

on_both!(
    a_rolled_back_event_does_not_exist,
    a_batch_of_any_size_is_written_whole_and_in_its_order,
    a_refused_event_refuses_its_batch,
    an_idempotency_key_writes_once,
    migrating_again_and_at_once_is_harmless,
);

async fn a_rolled_back_event_does_not_exist(db: Db) {
    db.append_and_roll_back(&numbered("t", 1, 1, 3)).await;
    assert_eq!(db.rows().await, 0);
    assert_eq!(db.append(&numbered("t", 1, 1, 3)).await.unwrap(), 3);
    assert_eq!(db.rows().await, 3);
}

async fn a_batch_of_any_size_is_written_whole_and_in_its_order(db: Db) {
    let mut all = Vec::new();
    for size in [1, 2, 3, 511, 512, 513, 2_500] {
        let plain = numbered("t", 7, 1, size);
        let once = numbered("t", 7, 1, size).into_iter().enumerate();
        let once = once.map(|(n, event)| event.idempotency_key(format!("{size} {n}")));
        for events in [plain, once.collect()] {
            assert_eq!(db.append(&events).await.unwrap(), size);
            all.extend(events.iter().map(Event::id));
        }
    }
    assert!(db.ids().await == all, "by seq, as they were appended");
}

async fn a_refused_event_refuses_its_batch(db: Db) {
    let mut events = numbered("t", 1, 1, 3);
    events.push(Event::new("no such topic", "k", "T", b"".to_vec()));
    let refused = db.append(&events).await.unwrap_err();
    assert!(refused.refusal().is_some());
    assert_eq!(db.rows().await, 0);
}

async fn an_idempotency_key_writes_once(db: Db) {
    let event =
        |key: &str| Event::new("t", "k", "T", b"1".to_vec()).idempotency_key(key.to_owned());
    let plain = Event::new("t", "k", "T", b"2".to_vec());
    assert_eq!(
        db.append(&[event("a"), plain.clone(), event("a")])
            .await
            .unwrap(),
        2
    );
    assert_eq!(
        db.append(&[event("a"), event("b"), plain]).await.unwrap(),
        2
    );
    db.append_and_roll_back(&[event("c")]).await;
    assert_eq!(db.append(&[event("c")]).await.unwrap(), 1);
}

async fn migrating_again_and_at_once_is_harmless(db: Db) {
    let database = db.database();
    let (a, b) = tokio::join!(
        swifttrack_outbox::migrate(&database),
        swifttrack_outbox::migrate(&database)
    );
    a.unwrap();
    b.unwrap();
}

/// Another statement writes it then.
#[tokio::test]
async fn a_key_changes_nothing_of_a_row_on_sqlite() {
    type Row = (
        String,
        String,
        String,
        Option<Vec<u8>>,
        Option<String>,
        Option<String>,
        u8,
    );
    let db = Db::sqlite().await;
    let Db::Sqlite { writer, .. } = &db else {
        unreachable!("it is one");
    };
    let events = [
        Event::new("t", "text", "T", "{\"ü\": 1}".as_bytes().to_vec()),
        Event::new("t", "bytes", "T", vec![0, 255, b'"', 0]),
        Event::new("t", "nothing", "T", Vec::new()),
        Event::tombstone("t", "gone", "T"),
        Event::new("t", "headers", "T", b"{}".to_vec())
            .header("a", "\"1\"")
            .traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ];
    db.append(&events).await.unwrap();
    let keyed: Vec<Event> = (0..)
        .zip(events.clone())
        .map(|(n, event)| event.idempotency_key(format!("key {n}")))
        .collect();
    db.append(&keyed).await.unwrap();
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT aggregatetype, aggregateid, type, payload, headers, tracingspancontext, slot
         FROM outbox ORDER BY seq",
    )
    .fetch_all(writer)
    .await
    .unwrap();
    assert_eq!(rows.len(), 2 * events.len());
    assert_eq!(rows[..events.len()], rows[events.len()..]);
    assert_eq!(rows[1].3.as_deref(), Some([0, 255, b'"', 0].as_slice()));
    assert_eq!((&rows[2].3, &rows[3].3), (&Some(Vec::new()), &None));
}

/// In a batch as it comes the rows happen to be in their order without. This is what promises it.
#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn rows_are_sorted_before_they_are_numbered_on_postgres() {
    use swifttrack_outbox::{POSTGRES_APPEND_SQL, POSTGRES_APPEND_WITH_KEYS_SQL};

    let Db::Postgres { pool, _db } = Db::postgres().await else {
        unreachable!()
    };
    let nothing = Vec::<Option<String>>::new;
    for (sql, keys) in [
        (POSTGRES_APPEND_SQL, false),
        (POSTGRES_APPEND_WITH_KEYS_SQL, true),
    ] {
        let explain = format!("EXPLAIN (COSTS OFF) {sql}");
        let mut query = sqlx::query_scalar(sqlx::AssertSqlSafe(explain))
            .bind(Vec::<uuid::Uuid>::new())
            .bind(nothing())
            .bind(nothing())
            .bind(nothing())
            .bind(Vec::<Option<Vec<u8>>>::new())
            .bind(nothing())
            .bind(nothing())
            .bind(Vec::<i16>::new());
        if keys {
            query = query.bind(nothing());
        }
        let plan: Vec<String> = query.fetch_all(&pool).await.unwrap();
        let insert = plan
            .iter()
            .position(|line| line.contains("Insert on outbox"));
        let sort = plan
            .iter()
            .position(|line| line.contains("Sort Key: e.ord"));
        assert!(insert < sort && sort.is_some(), "{plan:#?}");
    }
}
