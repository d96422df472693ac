//! A PostgreSQL server of a test's own: in a temporary folder, on a free port of loopback, ended with its value.
//!
//! It knows nothing of Shipgate, and the library's unit tests use it, too. Without PostgreSQL on the machine a test
//! that needs it says so and passes, except where `CI` is set: there it fails.

#![allow(dead_code, reason = "integration tests use one part of it, unit tests another")]

use rustix::process::{Pid, Signal, kill_process};
use std::fs::Permissions;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// For a server to start or to stop, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// The oldest version that Shipgate works with.
const VERSION_MIN: u32 = 15;
const USER: &str = "shipgate";

pub struct Postgres {
    programs: PathBuf,
    folder: TempDir,
    port: u16,
    child: Option<Child>,
    databases: AtomicU32,
}

impl Postgres {
    /// Starts a server; `None` where none is installed.
    pub fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            let missing = "PostgreSQL 15 or later is not installed: `tests/run test` installs it";
            assert!(std::env::var_os("CI").is_none(), "{missing}");
            // Past the test harness, which shows nothing of a test that passes.
            let _ = writeln!(std::io::stderr(), "{missing}; until then its tests show nothing");
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let (user, group) = owner();
        chown(folder.path(), user, group).expect("the server's user owns its folder");
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
        let mut server = Self { programs, folder, port, child: None, databases: AtomicU32::new(0) };
        let data = server.data();
        let made = server
            .program("initdb")
            .args(["--username", USER, "--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8"])
            .args(["--no-sync", "--no-instructions", "--pgdata"])
            .arg(&data)
            .output()
            .expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\nfsync = off\n\
             full_page_writes = off\nshared_buffers = 16MB\nmax_connections = 400\n",
            server.folder.path().display(),
        );
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(data.join("postgresql.conf"))
            .expect("initdb made it");
        file.write_all(settings.as_bytes()).expect("written");
        server.run();
        Some(server)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Offers TLS from now on, with this certificate and its private key (PEM).
    pub fn offer_tls(&self, certificate: &str, private_key: &str) {
        for (setting, text) in [("ssl_cert_file", certificate), ("ssl_key_file", private_key)] {
            let path = self.folder.path().join(setting);
            std::fs::write(&path, text).expect("written");
            std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("its own");
            let (user, group) = owner();
            chown(&path, user, group).expect("the server's");
            self.sql("postgres", &format!("ALTER SYSTEM SET {setting} = '{}'", path.display()));
        }
        self.sql("postgres", "ALTER SYSTEM SET ssl = on");
        self.sql("postgres", "SELECT pg_reload_conf()");
        let began = Instant::now();
        while self.sql("postgres", "SHOW ssl") != "on" {
            assert!(began.elapsed() < PATIENCE, "PostgreSQL does not offer TLS");
        }
    }

    /// Makes an empty database and returns its address.
    pub fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        format!("postgres://{USER}@127.0.0.1:{}/{name}?sslmode=disable", self.port)
    }

    /// Runs a statement as the server's owner and returns what it says, a row a line.
    pub fn sql(&self, database: &str, statement: &str) -> String {
        psql(&self.programs, &self.address(database), statement)
    }

    /// Stops the server as an operator does who cannot wait: transactions in progress are rolled back.
    pub fn stop(&mut self) {
        self.end(Signal::INT);
    }

    /// Ends the server with its connections as a crash does.
    pub fn crash(&mut self) {
        self.end(Signal::QUIT);
    }

    /// Starts the server again, with what it had, on the same port.
    pub fn run(&mut self) {
        let data = self.data();
        let log = std::fs::File::create(self.folder.path().join("log")).expect("a log");
        let child = self
            .program("postgres")
            .arg("-D")
            .arg(data)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("postgres runs");
        self.child = Some(child);
        let began = Instant::now();
        while !self.is_ready() {
            let ended = self.child.as_mut().expect("started").try_wait().expect("ours");
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(ended.is_none() && began.elapsed() < PATIENCE, "PostgreSQL did not start: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn is_ready(&self) -> bool {
        let asked =
            self.program("pg_isready").arg("--quiet").arg("-d").arg(self.address("postgres")).status();
        asked.expect("pg_isready runs").success()
    }

    fn end(&mut self, signal: Signal) {
        let Some(mut child) = self.child.take() else { return };
        let _ = kill_process(Pid::from_child(&child), signal);
        let began = Instant::now();
        while child.try_wait().is_ok_and(|ended| ended.is_none()) {
            if began.elapsed() > PATIENCE {
                let _ = child.kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn address(&self, database: &str) -> String {
        format!("host={} port={} user={USER} dbname={database}", self.folder.path().display(), self.port)
    }

    /// A program of PostgreSQL's, as a user it runs for: it refuses root.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.current_dir(self.folder.path()).env_remove("PGPASSWORD").env_remove("PGSERVICE");
        if rustix::process::geteuid().is_root() {
            let (user, group) = owner();
            command.uid(user.unwrap_or(0)).gid(group.unwrap_or(0));
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.end(Signal::QUIT);
    }
}

/// The address of this database in the server that `url` names any database of. It is made, empty, unless it is there.
pub fn database_beside(url: &str, name: &str) -> Option<String> {
    let programs = programs()?;
    if psql(&programs, url, &format!("SELECT 1 FROM pg_database WHERE datname = '{name}'")).is_empty() {
        psql(&programs, url, &format!("CREATE DATABASE {name}"));
    }
    let (server, query) = url.split_once('?').unwrap_or((url, ""));
    let (server, _) = server.rsplit_once('/')?;
    Some(format!("{server}/{name}?{query}"))
}

/// Names a database beside which each test makes its own, in the place of a file in its folder.
pub const SERVER: &str = "SHIPGATE_TEST_POSTGRES";

/// The address of the database that goes with a test's folder, if [`SERVER`] is set.
pub fn database_for(folder: &Path) -> Option<String> {
    let server = std::env::var(SERVER).ok()?;
    let letters = |name: &str| name.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    database_beside(&server, &format!("test_{}", letters(folder.file_name()?.to_str()?)))
}

fn psql(programs: &Path, address: &str, statement: &str) -> String {
    let arguments = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"];
    let done = Command::new(programs.join("psql"))
        .args(arguments)
        .arg("--command")
        .arg(statement)
        .arg(address)
        .output()
        .expect("psql runs");
    assert!(done.status.success(), "{statement}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim_end().to_owned()
}

/// The folder of the newest version's programs: Debian keeps them out of the way, others do not.
fn programs() -> Option<PathBuf> {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = debian
        .filter_map(|entry| {
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(version, folder)| *version >= VERSION_MIN && folder.join("initdb").exists())
        .max();
    newest.map(|(_, folder)| folder).or_else(|| {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).find(|folder| folder.join("initdb").exists())
    })
}

/// Whom the server runs as: the user of the tests, or when that is root the one that its package made, or nobody.
fn owner() -> (Option<u32>, Option<u32>) {
    if !rustix::process::geteuid().is_root() {
        return (None, None);
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let packaged = users.lines().find_map(|line| {
        let mut fields = line.strip_prefix("postgres:")?.split(':').skip(1);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    let (user, group) = packaged.unwrap_or((65_534, 65_534));
    (Some(user), Some(group))
}
