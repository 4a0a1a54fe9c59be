//! A partner as a program: flags, one line when it is ready, an end by signal.

use std::future::Future;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

use crate::{Config, Error, Running};

/// What sets one program apart from the others.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// Where it listens when no flag says so.
    pub listen: &'static str,
    /// The variables with the user's name and password, if it asks for them.
    pub user: Option<(&'static str, &'static str)>,
    /// The variable with the token, if it asks for one.
    pub token: Option<&'static str>,
    /// Whether it has a fleet.
    pub fleet: bool,
}

/// Runs a partner until SIGTERM, SIGINT or ctrl-c.
///
/// Prints `ready …` on stdout once both ports take connections. Whatever stops
/// the start is one sentence on stderr and exit code 2.
pub fn run<S, F>(program: Program, spawn: S) -> ExitCode
where
    S: FnOnce(Config) -> F,
    F: Future<Output = Result<Running, Error>>,
{
    let refuse = |what: &str| {
        let _ = writeln!(std::io::stderr(), "{}: {what}", program.name);
        ExitCode::from(2)
    };
    let config = match parse(program, std::env::args().skip(1), |name| {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }) {
        Ok(Some(config)) => config,
        Ok(None) => {
            let _ = writeln!(std::io::stdout(), "{}", usage(program));
            return ExitCode::SUCCESS;
        }
        Err(what) => return refuse(&what),
    };
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()))
        .with_writer(std::io::stderr)
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&format!("cannot start: {error}")),
    };
    runtime.block_on(async {
        // Before `ready`, so that a signal after it is never the default's.
        let end = match end() {
            Ok(end) => end,
            Err(error) => return refuse(&format!("cannot listen for signals: {error}")),
        };
        let running = match spawn(config).await {
            Ok(running) => running,
            Err(error) => return refuse(&error.to_string()),
        };
        let ready = format!(
            "ready {} listen={} control={}\n",
            program.name,
            running.local_addr(),
            running.control_addr()
        );
        // Nobody may be reading: then nobody waits for it.
        let mut stdout = std::io::stdout();
        let _ = stdout
            .write_all(ready.as_bytes())
            .and_then(|()| stdout.flush());
        end.await;
        running.shutdown().await;
        ExitCode::SUCCESS
    })
}

#[cfg(unix)]
fn end() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn end() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}

fn usage(program: Program) -> String {
    let mut usage = format!(
        "{} [--listen {}] [--control ADDR, default the port + 1000] \
         [--data DIR, default ./swifttrack-data] [--seed N]",
        program.name, program.listen
    );
    if program.user.is_some() {
        usage.push_str(" [--username NAME --password WORD]");
    }
    if program.token.is_some() {
        usage.push_str(" [--token TOKEN]");
    }
    if program.fleet {
        usage.push_str(" [--fleet VEHICLES]");
    }
    usage
}

/// `None` is a call for help.
fn parse(
    program: Program,
    mut args: impl Iterator<Item = String>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Config>, String> {
    let mut listen = program.listen.to_owned();
    let mut data = PathBuf::from("./swifttrack-data");
    let (mut control, mut seed, mut fleet) = (None, None, None);
    let mut token = program.token.and_then(&variable);
    let (mut name, mut password) = match program.user {
        Some((name, password)) => (variable(name), variable(password)),
        None => (None, None),
    };
    while let Some(arg) = args.next() {
        let (flag, inline) = match arg.split_once('=') {
            Some((flag, value)) => (flag.to_owned(), Some(value.to_owned())),
            None => (arg, None),
        };
        if matches!(flag.as_str(), "--help" | "-h") {
            return Ok(None);
        }
        let known = match flag.as_str() {
            "--listen" | "--control" | "--data" | "--seed" => true,
            "--username" | "--password" => program.user.is_some(),
            "--token" => program.token.is_some(),
            "--fleet" => program.fleet,
            _ => false,
        };
        if !known {
            return Err(format!("there is no {flag}; {}", usage(program)));
        }
        let value = inline
            .or_else(|| args.next())
            .filter(|value| !value.is_empty())
            .ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--listen" => listen = value,
            "--control" => control = Some(value),
            "--data" => data = value.into(),
            "--seed" => seed = Some(number(&flag, &value)?),
            "--username" => name = Some(value),
            "--password" => password = Some(value),
            "--token" => token = Some(value),
            _ => fleet = Some(number(&flag, &value)?),
        }
    }
    let mut config = Config::new(listen, data);
    if let Some(address) = control {
        config = config.control(address);
    }
    if let Some(seed) = seed {
        config = config.seed(seed);
    }
    if let Some(token) = token {
        config = config.token(token);
    }
    if let Some(vehicles) = fleet {
        config = config.fleet(vehicles);
    }
    match (name, password) {
        (Some(name), Some(password)) => config = config.user(name, password),
        (None, None) => {}
        _ => return Err("a user's name and password come together or not at all".to_owned()),
    }
    Ok(Some(config))
}

fn number<T: std::str::FromStr>(flag: &str, value: &str) -> Result<T, String> {
    value
        .parse()
        .map_err(|_| format!("{flag} is a whole number, not {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CMS: Program = Program {
        name: "partner-cms",
        listen: "127.0.0.1:5001",
        user: Some(("CMS_USERNAME", "CMS_PASSWORD")),
        token: None,
        fleet: false,
    };

    fn parsed(args: &str, variables: &[(&str, &str)]) -> Result<Option<Config>, String> {
        let args = args.split_whitespace().map(str::to_owned);
        parse(CMS, args, |name| {
            let found = variables.iter().find(|(known, _)| *known == name)?;
            Some(found.1.to_owned())
        })
    }

    #[test]
    fn flags_go_before_variables_and_variables_before_defaults() {
        let variables = [("CMS_USERNAME", "a"), ("CMS_PASSWORD", "b")];
        let config = parsed("--listen=127.0.0.1:0 --seed 7 --username c", &variables);
        let config = config.unwrap().unwrap();
        assert_eq!(config.listen_at(), "127.0.0.1:0");
        assert_eq!(config.control_at(), None);
        assert_eq!(config.seed_of(), 7);
        assert_eq!(config.user_wanted(), Some(("c", "b")));
        let bare = parsed("", &[]).unwrap().unwrap();
        assert_eq!(bare.listen_at(), "127.0.0.1:5001");
        assert_eq!(bare.user_wanted(), None);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (args, what) in [
            ("--port 5", "--port"),
            ("--seed x", "--seed is a whole number"),
            ("--seed", "--seed needs a value"),
            ("--fleet 3", "--fleet"),
            ("--username me", "together"),
            ("stray", "stray"),
        ] {
            let error = parsed(args, &[]).unwrap_err();
            assert!(error.contains(what), "{args}: {error}");
        }
        assert!(parsed("--help", &[]).unwrap().is_none());
    }
}
