//! As much of HTTP as a registry in a test needs.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};

use super::answer::{Answer, Then};

/// What a client sent.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) target: String,
    /// By lower-case name.
    pub(super) headers: BTreeMap<String, String>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// First and last byte of each range.
    pub(super) fn ranges(&self) -> Vec<(usize, usize)> {
        let ranges = self.header("range").and_then(|header| header.strip_prefix("bytes="));
        let parse = |range: &str| {
            let (first, last) = range.trim().split_once('-')?;
            Some((first.parse().ok()?, last.parse().unwrap_or(usize::MAX)))
        };
        ranges.map_or_else(Vec::new, |ranges| ranges.split(',').filter_map(parse).collect())
    }
}

/// Serves on a port of its own until the process ends.
pub(super) fn serve(
    handler: impl Fn(&Request) -> Answer + Send + Sync + 'static,
) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen")?;
    let address = listener.local_addr().context("the address")?;
    let handler = Arc::new(handler);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handler = Arc::clone(&handler);
            // A client that goes away ends its connection, and nothing else.
            thread::spawn(move || drop(converse(&stream, &*handler)));
        }
    });
    Ok(address)
}

fn converse(stream: &TcpStream, handler: &dyn Fn(&Request) -> Answer) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    while let Some(request) = read(&mut reader)? {
        let answer = handler(&request);
        if answer.then == Then::Nothing {
            return Ok(());
        }
        writer.write_all(&answer.head())?;
        if request.method != "HEAD" {
            writer.write_all(&answer.body)?;
        }
        match answer.then {
            Then::Go => {}
            Then::Close | Then::Nothing => return Ok(()),
            Then::Hang => {
                reader.read_exact(&mut [0])?;
                return Ok(());
            }
            Then::Endless => loop {
                writer.write_all(&[7; 4096])?;
            },
        }
    }
    Ok(())
}

fn read(reader: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut words = first.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Ok(Some(Request { method: method.into(), target: target.into(), headers }))
}
