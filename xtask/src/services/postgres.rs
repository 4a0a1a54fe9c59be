//! A throw-away Postgres.

use std::fs::{self, File};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{Place, Service, docker, free_port, wait_for};
use crate::Result;
use crate::shell::{find, is_root, output, remove_line, stop_line, tail};

const VARIABLE: &str = "TEST_DATABASE_URL";
/// The oldest version that the crates promise to work with.
const MAJOR_MIN: u32 = 15;
const READY_LIMIT: Duration = Duration::from_secs(60);
/// How many ports are tried before giving up.
const STARTS_MAX: usize = 5;

pub(super) fn provide(place: &mut Place<'_>) -> Result<Service> {
    if let Ok(address) = std::env::var(VARIABLE) {
        return Ok(service(address, format!("Postgres of {VARIABLE}")));
    }
    let mut reasons = Vec::new();
    match Binaries::find() {
        Ok(binaries) => return start(&binaries, place),
        Err(why) => reasons.push(why),
    }
    match docker::postgres(place) {
        Ok(address) => return Ok(service(address, "Postgres in Docker".to_owned())),
        Err(why) => reasons.push(why),
    }
    match debian_package() {
        Ok(()) => return start(&Binaries::find()?, place),
        Err(why) => reasons.push(why),
    }
    Err(format!(
        "No Postgres: {}; or set {VARIABLE}.",
        reasons.join("; ")
    ))
}

fn service(address: String, origin: String) -> Service {
    Service {
        variable: VARIABLE,
        address,
        origin,
    }
}

/// The programs of one installed version.
#[derive(Debug)]
struct Binaries {
    folder: PathBuf,
    version: String,
}

impl Binaries {
    /// The newest of Debian's folders, else what is on the PATH.
    fn find() -> Result<Self> {
        let mut found: Vec<Self> = fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| Self::of(entry.path().join("bin")))
            .collect();
        found.sort_by_key(Self::major);
        let on_path = || {
            let initdb = fs::canonicalize(find("initdb")?).ok()?;
            Self::of(initdb.parent()?.to_owned())
        };
        let newest = found
            .pop()
            .or_else(on_path)
            .ok_or("no Postgres programs in /usr/lib/postgresql/*/bin or on the PATH".to_owned())?;
        if newest.major() < MAJOR_MIN {
            return Err(format!(
                "Postgres {} is older than {MAJOR_MIN}",
                newest.version
            ));
        }
        Ok(newest)
    }

    fn of(folder: PathBuf) -> Option<Self> {
        // "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"
        let said = output(Command::new(folder.join("postgres")).arg("--version")).ok()?;
        let version = said.split_whitespace().nth(2)?.to_owned();
        folder
            .join("initdb")
            .is_file()
            .then_some(Self { folder, version })
    }

    fn major(&self) -> u32 {
        let digits = self.version.split(|c: char| !c.is_ascii_digit()).next();
        digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
    }
}

/// Postgres refuses to run as root; this is who runs it then.
#[derive(Clone, Copy, Debug)]
struct User {
    uid: u32,
    gid: u32,
}

impl User {
    fn for_postgres() -> Result<Option<Self>> {
        if !is_root() {
            return Ok(None);
        }
        let id = |flag: &str, name: &str| -> Option<u32> {
            output(Command::new("id").args([flag, name]))
                .ok()?
                .parse()
                .ok()
        };
        ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| {
                Some(Self {
                    uid: id("-u", name)?,
                    gid: id("-g", name)?,
                })
            })
            .map(Some)
            .ok_or("Postgres does not run as root, and there is no user postgres or nobody".into())
    }
}

fn command(program: &Path, user: Option<User>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder);
    if let Some(User { uid, gid }) = user {
        command.uid(uid).gid(gid);
    }
    command
}

fn start(binaries: &Binaries, place: &mut Place<'_>) -> Result<Service> {
    let user = User::for_postgres()?;
    let folder = home(user, place)?;
    let data = folder.join("data");
    output(
        command(&binaries.folder.join("initdb"), user, &folder)
            .arg("-D")
            .arg(&data)
            .args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-locale"]),
    )?;
    let mut last = String::new();
    for _ in 0..STARTS_MAX {
        let port = free_port()?;
        match serve(binaries, user, &folder, port, place) {
            Ok(()) => {
                return Ok(service(
                    format!("postgres://postgres@127.0.0.1:{port}/postgres"),
                    format!(
                        "Postgres {} from {}",
                        binaries.version,
                        binaries.folder.display()
                    ),
                ));
            }
            Err(why) if why.contains("Address already in use") => last = why,
            Err(why) => return Err(why),
        }
    }
    Err(last)
}

/// A folder for the cluster that its user can reach.
fn home(user: Option<User>, place: &mut Place<'_>) -> Result<PathBuf> {
    let preferred = place.folder.join("postgres");
    if make(&preferred, user)? {
        return Ok(preferred);
    }
    let elsewhere =
        std::env::temp_dir().join(format!("swifttrack-postgres-{}", std::process::id()));
    eprintln!(
        "Postgres' user cannot reach {}: its cluster lies in {} until the end",
        preferred.display(),
        elsewhere.display()
    );
    place.janitor.at_end(remove_line(&elsewhere))?;
    if make(&elsewhere, user)? {
        return Ok(elsewhere);
    }
    Err(format!(
        "Postgres' user cannot reach {} either",
        elsewhere.display()
    ))
}

/// Makes the folder and says whether the user can write in it.
fn make(folder: &Path, user: Option<User>) -> Result<bool> {
    let failed = |error| format!("{} cannot be made: {error}", folder.display());
    fs::create_dir_all(folder).map_err(failed)?;
    if let Some(User { uid, gid }) = user {
        chown(folder, Some(uid), Some(gid)).map_err(failed)?;
    }
    let mut touch = command(Path::new("sh"), user, Path::new("/"));
    touch
        .args(["-c", "cd \"$0\" && : >reachable && rm reachable"])
        .arg(folder);
    Ok(output(&mut touch).is_ok())
}

fn serve(
    binaries: &Binaries,
    user: Option<User>,
    folder: &Path,
    port: u16,
    place: &mut Place<'_>,
) -> Result<()> {
    let data = folder.join("data");
    let log = folder.join("log");
    let file = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    let errors = file
        .try_clone()
        .map_err(|error| format!("{}: {error}", log.display()))?;
    let mut server = command(&binaries.folder.join("postgres"), user, folder)
        .arg("-D")
        .arg(&data)
        .args(["-p", &port.to_string()])
        // Durability is what the tests are about: fsync and synchronous_commit stay on.
        .args([
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "unix_socket_directories=",
            // The cut-over to change data capture is tested too.
            "-c",
            "wal_level=logical",
        ])
        .args(["-c", "max_connections=300", "-c", "shared_buffers=256MB"])
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors)
        .process_group(0)
        .spawn()
        .map_err(|error| format!("postgres does not start: {error}"))?;
    // At once: nothing that the cluster holds is needed afterwards.
    place
        .janitor
        .at_end(stop_line(server.id(), "QUIT", &data))?;
    let log = || fs::read_to_string(&log).unwrap_or_default();
    wait_for("Postgres", READY_LIMIT, || match server.try_wait() {
        Ok(None) => Ok(fs::read_to_string(data.join("postmaster.pid"))
            .is_ok_and(|status| status.lines().any(|line| line.trim() == "ready"))),
        _ => Err(format!("Postgres ended at once: {}", tail(&log()))),
    })
}

fn debian_package() -> Result<()> {
    if !Path::new("/etc/debian_version").is_file() {
        return Err("this is not Debian, so its package is no way either".to_owned());
    }
    if !is_root() {
        return Err("apt-get install postgresql needs root".to_owned());
    }
    eprintln!("installing Debian's postgresql");
    let apt = |arguments: &[&str]| {
        output(
            Command::new("apt-get")
                .env("DEBIAN_FRONTEND", "noninteractive")
                .args(arguments),
        )
    };
    apt(&["update"])?;
    apt(&["install", "--yes", "--no-install-recommends", "postgresql"])?;
    Ok(())
}
