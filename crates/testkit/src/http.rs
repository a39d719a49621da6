//! An HTTP server that can do everything wrong.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What a client sent.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// `GET` and the like.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// By lower-case name.
    pub headers: BTreeMap<String, String>,
    /// What came behind the head.
    pub body: String,
}

impl Request {
    /// The header of that lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// First and last byte of each range, all of them closed; none in a request for all.
    ///
    /// # Panics
    ///
    /// If a range is open or none at all: the client that is tested sends no such thing.
    pub fn ranges(&self) -> Vec<(usize, usize)> {
        let Some(header) = self.header("range") else { return Vec::new() };
        let ranges = header.strip_prefix("bytes=").expect("a range of bytes").split(',');
        let closed = |range: &str| {
            let (first, last) = range.split_once('-').expect("a range");
            (first.parse().expect("a number"), last.parse().expect("a closed range"))
        };
        ranges.map(closed).collect()
    }

    /// The only range.
    ///
    /// # Panics
    ///
    /// As [`Self::ranges`].
    pub fn range(&self) -> Option<(usize, usize)> {
        match self.ranges()[..] {
            [range] => Some(range),
            _ => None,
        }
    }
}

/// What happens behind the body that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The connection stays open for the next request.
    Go,
    /// The connection is closed.
    Close,
    /// Not even the answer is sent: the connection is closed before it.
    Nothing,
    /// Nothing, until the client closes the connection.
    Hang,
    /// Bytes without end.
    Endless,
}

/// What the server sends.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// In their order; `Content-Length` is added.
    pub headers: Vec<(String, String)>,
    /// What follows the head, unless that was asked for alone.
    pub body: Vec<u8>,
    /// What follows the body.
    pub then: Then,
    /// The `Content-Length`; the length of the body unless it lies.
    pub length: Option<usize>,
    /// In the place of the whole head.
    pub raw_head: Option<Vec<u8>>,
}

impl Answer {
    /// An honest answer.
    #[must_use]
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let length = Some(body.len());
        Self { status, headers: Vec::new(), body, then: Then::Go, length, raw_head: None }
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sends only the first bytes of what was promised.
    #[must_use]
    pub fn cut(mut self, at: usize, then: Then) -> Self {
        if self.body.len() > at {
            self.body.truncate(at);
            self.then = then;
        }
        self
    }
}

/// A server on a port of its own, until the process ends; each connection has a thread.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    log: Arc<Mutex<Vec<Request>>>,
    /// Gets a message whenever a connection with an endless body was closed.
    pub closed: Mutex<std::sync::mpsc::Receiver<()>>,
}

impl Server {
    /// Starts one that answers by this function.
    ///
    /// # Panics
    ///
    /// If there is no port to be had.
    pub fn start(handler: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_on(Ok, handler)
    }

    /// Starts one that speaks by what `open` makes of a connection.
    pub(crate) fn start_on<S: Read + Write>(
        open: impl Fn(TcpStream) -> io::Result<S> + Send + Sync + 'static,
        handler: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (sender, closed) = std::sync::mpsc::channel();
        let (shared, requests) = (Arc::new((open, handler)), log.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, log, sender) = (shared.clone(), requests.clone(), sender.clone());
                thread::spawn(move || {
                    let (open, handler) = &*shared;
                    // Or else each body waits for its head to be confirmed.
                    if stream.set_nodelay(true).is_ok()
                        && let Ok(mut stream) = open(stream)
                    {
                        serve(&mut stream, handler, &log, &sender);
                    }
                });
            }
        });
        Self { address, log, closed: Mutex::new(closed) }
    }

    /// `127.0.0.1:port`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The requests so far whose target contains `part`.
    ///
    /// # Panics
    ///
    /// If a handler did so while it held the log, which none can.
    pub fn requests(&self, part: &str) -> Vec<Request> {
        let log = self.log.lock().expect("nobody panics with the log");
        log.iter().filter(|request| request.target.contains(part)).cloned().collect()
    }
}

fn serve(
    stream: &mut (impl Read + Write),
    handler: &dyn Fn(&Request) -> Answer,
    log: &Mutex<Vec<Request>>,
    closed: &std::sync::mpsc::Sender<()>,
) {
    while let Some(request) = read_request(stream) {
        log.lock().expect("nobody panics with the log").push(request.clone());
        let answer = handler(&request);
        if answer.then == Then::Nothing {
            return;
        }
        let body: &[u8] = if request.method == "HEAD" { &[] } else { &answer.body };
        if stream.write_all(&head(&answer)).is_err() || stream.write_all(body).is_err() {
            return;
        }
        match answer.then {
            Then::Go => {}
            Then::Close | Then::Nothing => return,
            Then::Hang => {
                let _: usize = stream.read(&mut [0]).unwrap_or(0);
                return;
            }
            Then::Endless => {
                while stream.write_all(&[7; 4096]).is_ok() {}
                let _: Result<(), _> = closed.send(());
                return;
            }
        }
    }
}

fn head(answer: &Answer) -> Vec<u8> {
    if let Some(raw) = &answer.raw_head {
        return raw.clone();
    }
    let mut head = format!("HTTP/1.1 {} Status\r\n", answer.status);
    for (name, value) in &answer.headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    match answer.length {
        Some(length) => head.extend(["Content-Length: ", &length.to_string(), "\r\n\r\n"]),
        None => head.push_str("Connection: close\r\n\r\n"),
    }
    head.into()
}

/// None at the end of the connection, and for what is not HTTP: a greeting of TLS.
fn read_request(stream: &mut impl Read) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).ok()? == 0 || (head.is_empty() && !byte[0].is_ascii_uppercase()) {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ').map(str::to_owned);
    let mut request =
        Request { method: first.next()?, target: first.next()?, ..Request::default() };
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        request.headers.insert(name.to_ascii_lowercase(), value.trim().into());
    }
    let length = request.header("content-length").map_or(0, |length| length.parse().unwrap_or(0));
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    request.body = String::from_utf8_lossy(&body).into_owned();
    Some(request)
}
