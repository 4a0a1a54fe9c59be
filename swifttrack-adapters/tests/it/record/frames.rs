//! Calls of a framed protocol: recorded at the socket, played back without one.

use swifttrack_adapters::framed::{Client, Endpoint, Options, ServerOptions};
use swifttrack_adapters::record::{FramePlayer, FrameRecorder, FrameRedaction, Reel};

use crate::framed::sockets::server;
use crate::framed::support::{Echo, Word, within, word};

const SECRET: &str = "hidden";

fn redaction() -> FrameRedaction<Echo> {
    let strike = |word: &mut Word| word.0 = word.0.replace(SECRET, "[redacted]");
    FrameRedaction::new().request(strike).answer(strike)
}

async fn ask(client: &Client<Echo>, text: &str) -> String {
    match client.call(&word(text), &within(60_000)).await {
        Ok(Word(answer)) => answer,
        Err(error) => format!("{:?}: {error}", error.class()),
    }
}

async fn recorded() -> Reel {
    let (port, _shutdown, _serving) = server(ServerOptions::new()).await;
    let recorder = FrameRecorder::new(Endpoint::tcp("127.0.0.1", port), redaction());
    let client = Client::new(recorder.clone(), Options::new().token(SECRET));
    assert_eq!(ask(&client, "a hidden word").await, "a hidden word");
    assert!(ask(&client, "panic").await.starts_with("Unknown"));
    client.ping(&within(60_000)).await.unwrap();
    assert_eq!(ask(&client, &"b".repeat(60_000)).await.len(), 60_000);
    // Not answered, so not kept.
    assert!(ask(&client, "reset").await.starts_with("Unknown"));
    recorder.reel()
}

#[tokio::test]
async fn a_player_answers_as_the_partner_did() {
    let file = tempfile::NamedTempFile::new().unwrap();
    recorded().await.save(file.path()).unwrap();
    let text = std::fs::read_to_string(file.path()).unwrap();
    let hex: String = SECRET.bytes().map(|byte| format!("{byte:02x}")).collect();
    assert!(!text.contains(&hex), "{text}");

    let reel = Reel::load(file.path()).unwrap();
    assert_eq!(reel.calls.len(), 3);
    let player = FramePlayer::new(reel, redaction());
    let client = Client::new(player.clone(), Options::new());
    // In another order, and with another secret.
    assert_eq!(ask(&client, &"b".repeat(60_000)).await.len(), 60_000);
    assert_eq!(ask(&client, "a hidden word").await, "a [redacted] word");
    assert_eq!(player.left().len(), 1);
    assert!(ask(&client, "panic").await.starts_with("Unknown"));
    assert!(player.left().is_empty());
    let again = ask(&client, "a hidden word").await;
    assert!(
        again.starts_with("NotApplied: not on record: 10"),
        "{again}"
    );
}

#[tokio::test]
async fn a_partner_that_is_not_there_is_not_there_through_a_recorder() {
    let recorder = FrameRecorder::new(Endpoint::tcp("127.0.0.1", 1), redaction());
    let client = Client::<Echo>::new(recorder.clone(), Options::new());
    let error = client.call(&word("a"), &within(60_000)).await.unwrap_err();
    assert!(error.is_not_applied() && !error.is_local(), "{error:?}");
    assert!(recorder.reel().calls.is_empty());
}
