//! `cargo run -p order-service`: see the crate's documentation. `order-service outbox …` asks the
//! outbox of a service that runs: see [`order_service::outbox::commands`].

use std::process::ExitCode;

use order_service::config::Config;
use order_service::outbox::commands::Command;
use order_service::wire::{self, StartError};
use tracing_subscriber::EnvFilter;

/// Faster than glibc's for an engine: see "Allocators" in `benches/README.md`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A start that cannot succeed until somebody changes something; words that make no sense.
const EXIT_CONFIG: u8 = 2;
/// What was asked for did not happen.
const EXIT_FAILED: u8 = 1;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let command = match words.split_first() {
        None => None,
        Some((first, rest)) if first == "outbox" => match Command::parse(rest) {
            Ok(command) => Some(command),
            Err(error) => return refuse(&error),
        },
        Some((first, _)) => {
            let why = format!("{first:?} is not a command; there is `outbox`");
            return refuse(&StartError::new(why));
        }
    };
    let config = match Config::from_env() {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    log(&config);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(async {
            match command {
                Some(command) => ask(command, &config).await,
                None => run(config).await,
            }
        }),
        Err(error) => refuse(&error),
    }
}

async fn run(config: Config) -> ExitCode {
    // Before anything is started, so that no signal finds nobody.
    let mut asked = match wire::Asked::listen() {
        Ok(asked) => asked,
        Err(error) => return refuse(&error),
    };
    let service = match wire::start(config).await {
        Ok(service) => service,
        Err(error) => return refuse(&error),
    };
    println(&service.greeting());
    asked.to_stop().await;
    tokio::select! {
        () = service.stop() => ExitCode::SUCCESS,
        // Whoever asks twice does not want to wait; what is not done is done after the next start.
        () = asked.to_stop() => ExitCode::FAILURE,
    }
}

/// One line of JSON for each thing found.
async fn ask(command: Command, config: &Config) -> ExitCode {
    match command.run(config).await {
        Ok(lines) => {
            for line in lines {
                println(&line.to_string());
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&error);
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn refuse(error: &dyn std::error::Error) -> ExitCode {
    complain(error);
    ExitCode::from(EXIT_CONFIG)
}

/// One sentence on stderr.
fn complain(error: &dyn std::error::Error) {
    let mut sentence = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        sentence.push_str(": ");
        sentence.push_str(&cause.to_string());
        source = cause.source();
    }
    #[expect(
        clippy::print_stderr,
        reason = "this is what the person at the terminal reads"
    )]
    {
        eprintln!("order-service: {sentence}");
    }
}

#[expect(
    clippy::print_stdout,
    reason = "this is what the person at the terminal reads"
)]
fn println(text: &str) {
    println!("{text}");
}

fn log(config: &Config) {
    let layer = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&config.log_filter))
        .with_writer(std::io::stderr);
    if config.log_json {
        layer.json().init();
    } else {
        layer.init();
    }
}
