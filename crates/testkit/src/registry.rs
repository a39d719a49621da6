//! A registry on loopback: Debian's docker-registry, and its access log.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A running registry; stopped when dropped. What was pushed stays in its directory.
#[derive(Debug)]
pub struct Registry {
    process: Child,
    address: SocketAddr,
    log: PathBuf,
}

/// One answered request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET` and the like.
    pub method: String,
    /// Path and query.
    pub uri: String,
    /// HTTP status.
    pub status: u16,
    /// Bytes of the answer's body.
    pub bytes: u64,
}

/// A place in the log; see [`Registry::since`].
#[derive(Debug, Clone, Copy)]
pub struct Mark(usize);

/// Sums over requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How many.
    pub requests: u64,
    /// Bytes of the answers' bodies.
    pub bytes: u64,
}

/// The registry logs a request after its client may have seen the end of the answer.
const LOG_QUIET: Duration = Duration::from_millis(100);
const START: Duration = Duration::from_secs(20);

impl Registry {
    /// Starts a registry that keeps its data, configuration and log in `dir`.
    ///
    /// # Errors
    ///
    /// If `docker-registry` is missing, or does not answer.
    pub fn start(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir.join("root")).context("make the registry's root")?;
        let address = free_address().context("look for a free port")?;
        let configuration = dir.join("config.yml");
        fs::write(&configuration, configuration_text(&dir.join("root"), address))
            .context("write the registry's configuration")?;
        let log = dir.join("access.log");
        let file =
            |path: &Path| File::create(path).with_context(|| format!("create {}", path.display()));
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&configuration)
            .stdin(Stdio::null())
            .stdout(file(&log)?)
            .stderr(file(&dir.join("error.log"))?)
            .spawn()
            .context("start docker-registry")?;
        let registry = Self { process, address, log };
        registry.wait_until_it_answers()?;
        Ok(registry)
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `docker://127.0.0.1:PORT/NAME`.
    pub fn reference(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.address)
    }

    /// The present end of the log.
    ///
    /// # Errors
    ///
    /// If the log cannot be read.
    pub fn mark(&self) -> Result<Mark> {
        Ok(Mark(self.settled_log()?.len()))
    }

    /// The requests that were answered since `mark`.
    ///
    /// # Errors
    ///
    /// If the log cannot be read.
    pub fn since(&self, mark: Mark) -> Result<Vec<Request>> {
        let log = self.settled_log()?;
        Ok(log.get(mark.0..).unwrap_or_default().lines().filter_map(parse).collect())
    }

    fn settled_log(&self) -> Result<String> {
        let mut text = self.read_log()?;
        // Others may keep it busy for long: what counts was logged by then.
        for _ in 0..20 {
            thread::sleep(LOG_QUIET);
            let next = self.read_log()?;
            if next.len() == text.len() {
                break;
            }
            text = next;
        }
        Ok(text)
    }

    fn read_log(&self) -> Result<String> {
        fs::read_to_string(&self.log).context("read the registry's log")
    }

    fn wait_until_it_answers(&self) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < START {
            if self.answers() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        bail!("docker-registry does not answer at {}", self.address)
    }

    fn answers(&self) -> bool {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(self.address)?;
            stream.write_all(b"GET /v2/ HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().is_ok_and(|answer| answer.contains(" 200 "))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // Best effort: it may be gone already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Traffic {
    /// Of the blobs among some requests.
    pub fn of_blobs<'a>(requests: impl IntoIterator<Item = &'a Request>) -> Self {
        let blobs = requests
            .into_iter()
            .filter(|request| request.method == "GET" && request.uri.contains("/blobs/"));
        blobs.fold(Self::default(), |sum, request| Self {
            requests: sum.requests + 1,
            bytes: sum.bytes + request.bytes,
        })
    }
}

fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn configuration_text(root: &Path, address: SocketAddr) -> String {
    format!(
        "version: 0.1\nlog: {{level: warn, accesslog: {{disabled: false}}}}\n\
         storage: {{filesystem: {{rootdirectory: \"{}\"}}, delete: {{enabled: true}}}}\n\
         http: {{addr: \"{address}\"}}\n",
        root.display(),
    )
}

/// `127.0.0.1 - - [24/Nov/2026:04:06:21 +0000] "GET /v2/ HTTP/1.1" 200 2 "" "agent"`
fn parse(line: &str) -> Option<Request> {
    let mut quoted = line.split('"');
    let mut request = quoted.nth(1)?.split(' ');
    let mut result = quoted.next()?.split_whitespace();
    Some(Request {
        method: request.next()?.into(),
        uri: request.next()?.into(),
        status: result.next()?.parse().ok()?,
        bytes: result.next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::{Request, Traffic, parse};

    #[test]
    fn a_line_of_the_log_is_a_request() {
        let line = r#"127.0.0.1 - - [24/Nov/2026:04:06:21 +0000] "GET /v2/a/blobs/sha256:1 HTTP/1.1" 206 157 "" "x/1""#;
        let request = parse(line).expect("a request");
        assert_eq!(
            request,
            Request {
                method: "GET".into(),
                uri: "/v2/a/blobs/sha256:1".into(),
                status: 206,
                bytes: 157
            }
        );
        assert_eq!(Traffic::of_blobs([&request, &request]), Traffic { requests: 2, bytes: 314 });
        assert_eq!(parse("nonsense"), None);
    }
}
