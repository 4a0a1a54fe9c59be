//! `cargo run -p order-service`: see the crate's documentation.

use std::process::ExitCode;

use order_service::config::Config;
use order_service::wire;
use tracing_subscriber::EnvFilter;

/// A start that cannot succeed until somebody changes something.
const EXIT_CONFIG: u8 = 2;

fn main() -> ExitCode {
    let config = match Config::from_env() {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    log(&config);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(run(config)),
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

/// One sentence on stderr.
fn refuse(error: &dyn std::error::Error) -> ExitCode {
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
    ExitCode::from(EXIT_CONFIG)
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
