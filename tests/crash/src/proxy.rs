//! A wire between a process and PostgreSQL that can be cut at an append.
//!
//! It reads just enough of the protocol: it splits what the client sends into messages, remembers
//! which prepared statements append, and recognises when one of them is executed.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    task::JoinSet,
    time::timeout,
};

/// The one statement that writes to the log.
const APPEND: &[u8] = b"log.append(";

/// Bytes read at a time.
const CHUNK: usize = 64 * 1024;

/// Where an append is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The server never sees it.
    Before,
    /// The server has it, and whether it commits is a race.
    During,
    /// The server has committed it, and nobody hears of it.
    After,
}

impl Cut {
    /// For reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Cut::Before => "before",
            Cut::During => "during",
            Cut::After => "after",
        }
    }
}

/// A wire; it is there as long as the harness is.
pub(crate) struct Proxy {
    port: u16,
    scissors: Arc<Scissors>,
    _serving: JoinSet<()>,
}

struct Scissors {
    next: Mutex<Option<Cut>>,
    used: watch::Sender<u64>,
}

impl Proxy {
    pub(crate) async fn start(socket: PathBuf) -> anyhow::Result<Proxy> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("the proxy cannot listen")?;
        let port = listener.local_addr()?.port();
        let scissors = Arc::new(Scissors { next: Mutex::new(None), used: watch::Sender::new(0) });
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, socket, scissors.clone()));
        Ok(Proxy { port, scissors, _serving: serving })
    }

    /// The database behind the proxy, as a `DATABASE_URL`.
    pub(crate) fn url(&self, database: &str) -> String {
        let port = self.port;
        format!("postgres://postgres@127.0.0.1:{port}/{database}?sslmode=disable")
    }

    /// Cuts the next append. Gives whether there was one within that time; else nothing is cut.
    pub(crate) async fn cut(&self, cut: Cut, patience: Duration) -> bool {
        let mut used = self.scissors.used.subscribe();
        used.mark_unchanged();
        *self.scissors.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(cut);
        let done = timeout(patience, used.changed()).await.is_ok();
        // If it is taken in this moment, it is one that is not counted.
        self.scissors.next.lock().unwrap_or_else(PoisonError::into_inner).take();
        done
    }
}

impl Scissors {
    fn take(&self) -> Option<Cut> {
        let cut = self.next.lock().unwrap_or_else(PoisonError::into_inner).take();
        if cut.is_some() {
            self.used.send_modify(|used| *used += 1);
        }
        cut
    }
}

async fn serve(listener: TcpListener, socket: PathBuf, scissors: Arc<Scissors>) {
    let mut wires = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    wires.spawn(wire(client, socket.clone(), scissors.clone()));
                }
            }
            Some(_) = wires.join_next() => {}
        }
    }
}

/// Carries both ways until one side hangs up or the wire is cut; then both are hung up.
async fn wire(client: TcpStream, socket: PathBuf, scissors: Arc<Scissors>) {
    // An error is an end like any other: both sides find out by themselves.
    let _ = carry(client, &socket, &scissors).await;
}

async fn carry(mut client: TcpStream, socket: &Path, scissors: &Scissors) -> std::io::Result<()> {
    let mut server = UnixStream::connect(socket).await?;
    client.set_nodelay(true)?;
    let (mut asked, mut answered) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut conversation = Conversation::default();
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let bytes = &asked[..read?];
                if bytes.is_empty() {
                    return Ok(());
                }
                let cut = if conversation.appends(bytes) { scissors.take() } else { None };
                if cut == Some(Cut::Before) {
                    return Ok(());
                }
                server.write_all(bytes).await?;
                if cut == Some(Cut::After) {
                    let _ = server.read(&mut answered).await?;
                }
                if cut.is_some() {
                    return Ok(());
                }
            }
            read = server.read(&mut answered) => {
                let bytes = &answered[..read?];
                if bytes.is_empty() {
                    return Ok(());
                }
                client.write_all(bytes).await?;
            }
        }
    }
}

/// What is known of one connection.
#[derive(Debug, Default)]
struct Conversation {
    /// The first message has no kind.
    begun: bool,
    /// What has come of a message that is not complete yet.
    rest: Vec<u8>,
    /// Names of prepared statements that append.
    appending: HashSet<Vec<u8>>,
    /// An appending statement is bound.
    bound: bool,
}

impl Conversation {
    /// Whether these bytes complete a message that executes an append.
    fn appends(&mut self, bytes: &[u8]) -> bool {
        self.rest.extend_from_slice(bytes);
        let mut appends = false;
        while let Some(message) = self.next_message() {
            appends |= self.look_at(&message);
        }
        appends
    }

    /// Kind and content of the next complete message.
    fn next_message(&mut self) -> Option<(u8, Vec<u8>)> {
        let head = usize::from(self.begun);
        let length: [u8; 4] = self.rest.get(head..head + 4)?.try_into().ok()?;
        let end = head + usize::try_from(u32::from_be_bytes(length)).ok()?;
        let kind = if self.begun { self.rest[0] } else { 0 };
        let content = self.rest.get(head + 4..end)?.to_vec();
        self.rest.drain(..end);
        self.begun = true;
        Some((kind, content))
    }

    fn look_at(&mut self, (kind, content): &(u8, Vec<u8>)) -> bool {
        let mut texts = content.split(|&byte| byte == 0);
        match kind {
            // Parse: name of the statement, its text.
            b'P' => {
                let name = texts.next().unwrap_or_default().to_vec();
                let text = texts.next().unwrap_or_default();
                if text.windows(APPEND.len()).any(|part| part == APPEND) {
                    self.appending.insert(name);
                } else {
                    self.appending.remove(&name);
                }
                false
            }
            // Bind: name of the portal, name of the statement.
            b'B' => {
                self.bound = texts.nth(1).is_some_and(|name| self.appending.contains(name));
                false
            }
            b'E' => self.bound,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len() + 4).unwrap();
        [&[kind], &length.to_be_bytes()[..], content].concat()
    }

    #[test]
    fn an_append_is_recognised_when_it_is_executed() {
        let mut conversation = Conversation::default();
        assert!(!conversation.appends(&[0, 0, 0, 9, 0, 3, 0, 0, 0]));
        let parse = message(b'P', b"s1\0SELECT * FROM log.append($1)\0\0\0");
        let other = message(b'P', b"s2\0SELECT 1\0\0\0");
        assert!(!conversation.appends(&[parse, other].concat()));
        let execute = message(b'E', b"\0\0\0\0\0");
        let read = [message(b'B', b"\0s2\0\0\0"), execute.clone()].concat();
        assert!(!conversation.appends(&read));
        let append = [message(b'B', b"\0s1\0\0\0"), execute].concat();
        // In two pieces.
        assert!(!conversation.appends(&append[..append.len() - 3]));
        assert!(conversation.appends(&append[append.len() - 3..]));
    }
}
