//! A slow way to a server: a TCP proxy that passes so many bytes in a second, and counts them.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// A proxy on loopback; it takes no new connections once dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    /// Bytes a second from the server, of all connections together.
    rate: u64,
    passed: AtomicU64,
    stopped: AtomicBool,
    /// When the next byte may pass.
    next: Mutex<Instant>,
}

const PIECE: usize = 8 << 10;

impl Proxy {
    /// Starts a proxy to `server` that passes `rate` bytes a second on to its clients.
    ///
    /// # Errors
    ///
    /// If no port can be had.
    pub fn start(server: SocketAddr, rate: u64) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("bind a proxy")?;
        let address = listener.local_addr().context("ask for the proxy's address")?;
        let (passed, stopped) = (AtomicU64::new(0), AtomicBool::new(false));
        let next = Mutex::new(Instant::now());
        let shared = Arc::new(Shared { server, rate, passed, stopped, next });
        let accept = Arc::clone(&shared);
        thread::spawn(move || accept.serve(&listener));
        Ok(Self { address, shared })
    }

    /// `docker://127.0.0.1:PORT/NAME`.
    pub fn reference(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.address)
    }

    /// Bytes that the server sent so far through this proxy, headers included.
    pub fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts; it may be gone already.
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn serve(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.stopped.load(Ordering::Relaxed) {
                return;
            }
            let Ok(client) = client else { continue };
            let shared = Arc::clone(self);
            // Either side may go at any moment: then so does the other.
            thread::spawn(move || drop(shared.connect(&client)));
        }
    }

    fn connect(self: &Arc<Self>, client: &TcpStream) -> io::Result<()> {
        let server = TcpStream::connect(self.server)?;
        let (mut questions, mut to_server) = (client.try_clone()?, server.try_clone()?);
        thread::spawn(move || {
            drop(io::copy(&mut questions, &mut to_server));
            drop(to_server.shutdown(Shutdown::Write));
        });
        let result = self.answer(&server, client);
        drop(client.shutdown(Shutdown::Both));
        drop(server.shutdown(Shutdown::Both));
        result
    }

    fn answer(&self, mut server: &TcpStream, mut client: &TcpStream) -> io::Result<()> {
        let mut piece = [0; PIECE];
        loop {
            let length = server.read(&mut piece)?;
            if length == 0 {
                return Ok(());
            }
            self.wait(length as u64);
            client.write_all(&piece[..length])?;
            self.passed.fetch_add(length as u64, Ordering::Relaxed);
        }
    }

    fn wait(&self, length: u64) {
        let cost = Duration::from_micros(length * 1_000_000 / self.rate.max(1));
        let start = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let start = (*next).max(Instant::now());
            *next = start + cost;
            start
        };
        thread::sleep(start.saturating_duration_since(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::Proxy;

    #[test]
    fn passes_and_counts() -> anyhow::Result<()> {
        let server = TcpListener::bind("127.0.0.1:0")?;
        let proxy = Proxy::start(server.local_addr()?, 1 << 20)?;
        let mut client = TcpStream::connect(proxy.address)?;
        client.write_all(b"question")?;
        let (mut socket, _) = server.accept()?;
        let mut question = [0; 8];
        socket.read_exact(&mut question)?;
        assert_eq!(&question, b"question");
        socket.write_all(&[7; 10_000])?;
        drop(socket);
        let mut answer = Vec::new();
        client.read_to_end(&mut answer)?;
        assert_eq!(answer, [7; 10_000]);
        assert_eq!(proxy.passed(), 10_000);
        Ok(())
    }
}
