//! The least an HTTP client can do, so that it takes little of the processors it shares with what
//! is measured: kept connections, one request at a time, answers with `Content-Length`.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Bytes of an answer's head at most.
const HEAD_MAX: usize = 16 * 1024;

/// A server, and connections to it that nobody uses at the moment.
#[derive(Clone)]
pub(super) struct Client {
    host: Arc<str>,
    /// Between the request line and the empty line.
    head: Arc<str>,
    idle: Arc<Mutex<Vec<TcpStream>>>,
}

/// What was answered.
pub(super) struct Answer {
    pub(super) status: u16,
    /// Header names in lower case.
    head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

impl Client {
    /// `address` is `http://host:port`.
    pub(super) fn new(address: &str, token: &str) -> Client {
        let host = address.trim_start_matches("http://");
        let head = format!("Host: {host}\r\nAuthorization: Bearer {token}\r\n");
        Client { host: host.into(), head: head.into(), idle: Arc::default() }
    }

    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(&format!("GET {path} HTTP/1.1\r\n{}\r\n", self.head)).await
    }

    pub(super) async fn get_from(&self, path: &str, position: &str) -> anyhow::Result<Answer> {
        let head = &self.head;
        self.send(&format!("GET {path} HTTP/1.1\r\n{head}X-Min-Position: {position}\r\n\r\n")).await
    }

    pub(super) async fn post(&self, path: &str, key: &str, body: &str) -> anyhow::Result<Answer> {
        let (head, length) = (&self.head, body.len());
        self.send(&format!(
            "POST {path} HTTP/1.1\r\n{head}Idempotency-Key: {key}\r\nContent-Type: \
             application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
        .await
    }

    async fn send(&self, request: &str) -> anyhow::Result<Answer> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut stream = if let Some(stream) = kept {
            stream
        } else {
            let stream = TcpStream::connect(&*self.host).await?;
            stream.set_nodelay(true)?;
            stream
        };
        stream.write_all(request.as_bytes()).await?;
        let answer = read(&mut stream).await?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
        Ok(answer)
    }
}

async fn read(stream: &mut TcpStream) -> anyhow::Result<Answer> {
    let mut bytes = Vec::with_capacity(4096);
    let end = loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            bail!("the server hung up");
        }
        if let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") {
            break end + 4;
        }
        anyhow::ensure!(bytes.len() <= HEAD_MAX, "an answer without an end of its head");
    };
    let head = String::from_utf8(bytes[..end].to_vec())?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    let length: usize = match header(&head, "content-length") {
        Some(length) => length.parse()?,
        None if matches!(status, 204 | 304) => 0,
        None => bail!("an answer without a length"),
    };
    let mut body = bytes.split_off(end);
    while body.len() < length {
        anyhow::ensure!(0 < stream.read_buf(&mut body).await?, "the server hung up");
    }
    Ok(Answer { status, head, body })
}
