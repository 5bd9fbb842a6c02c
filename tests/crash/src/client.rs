//! A client: sends a command until it knows what became of it, and keeps a journal.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use fastrand::Rng;
use reqwest::{Client as Http, Method, StatusCode};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::time::{sleep, timeout};

use crate::{
    fleet::Fleet,
    history::{Answer, Sends},
    journal::{Journal, now},
    points::TWINS,
};

/// How long a client waits for an answer: longer than the program waits for a checkout.
const ANSWER_PATIENCE: Duration = Duration::from_secs(8);

/// How long a client repeats a command before it leaves it at not knowing.
const PATIENCE: Duration = Duration::from_secs(45);

/// Longest pause before a repeat; the shortest is a tenth.
const PAUSE_MAX_MS: u64 = 100;

/// Longest time after which an impatient client hangs up. Most commands take less.
const HANG_UP_MAX_MS: u64 = 40;

/// Of a hundred requests, how many are hung up on.
const HANG_UPS: u8 = 5;

/// Of a hundred commands, how many are sent to both processes at once, are repeated after they
/// were answered, and are repeated with another body.
const TWICE_AT_ONCE: u8 = 4;
const REPEATS: u8 = 5;
const LIES: u8 = 3;

/// A shop of the run.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub(crate) slug: String,
    pub(crate) token: String,
}

/// What a client wants done.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    pub(crate) method: Method,
    /// With `/api/v1`.
    pub(crate) path: String,
    pub(crate) body: Value,
    /// Another body that must be refused under the same key, once the command has succeeded. Only
    /// for commands that change something whenever they succeed: others are not remembered.
    pub(crate) lie: Option<Value>,
}

impl Command {
    pub(crate) fn post(path: String, body: Value) -> Command {
        Command { method: Method::POST, path, body, lie: None }
    }

    /// With one field of the body in another way for the lie.
    pub(crate) fn or_lie(self, field: &str, value: Value) -> Command {
        let mut lie = self.body.clone();
        lie[field] = value;
        Command { lie: Some(lie), ..self }
    }
}

/// An answer and its body.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) answer: Answer,
    pub(crate) body: Value,
}

impl Reply {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.answer.status)
    }

    /// Field `id` of the body.
    pub(crate) fn id(&self) -> anyhow::Result<&str> {
        self.answer.id.as_deref().with_context(|| format!("an answer without id: {}", self.body))
    }
}

/// One client, that does one thing after the other.
pub(crate) struct Client {
    number: u32,
    pub(crate) store: Store,
    pub(crate) rng: Rng,
    fleet: Arc<Fleet>,
    http: Http,
    journal: Journal,
    commands: u64,
}

impl Client {
    pub(crate) fn new(
        number: u32,
        store: Store,
        rng: Rng,
        fleet: Arc<Fleet>,
        journals: &Path,
    ) -> anyhow::Result<Client> {
        let http = Http::builder().timeout(ANSWER_PATIENCE).build()?;
        let journal = Journal::create(journals, number)?;
        Ok(Client { number, store, rng, fleet, http, journal, commands: 0 })
    }

    /// True with that many chances of a hundred.
    pub(crate) fn chance(&mut self, percent: u8) -> bool {
        self.rng.u8(..100) < percent
    }

    /// Sends a command, again and again until it is answered for good. `None` if that took too
    /// long. Some commands are sent more often than they need to be.
    pub(crate) async fn carry_out(&mut self, command: &Command) -> anyhow::Result<Option<Reply>> {
        self.commands += 1;
        let key = format!("{}-{}-{}", self.store.slug, self.number, self.commands);
        let began = Instant::now();
        let reply = loop {
            if let Some(reply) = self.one_try(command, &key).await?
                && !is_passing(&reply)
            {
                break reply;
            }
            if PATIENCE < began.elapsed() {
                return Ok(None);
            }
            sleep(Duration::from_millis(self.rng.u64(PAUSE_MAX_MS / 10..=PAUSE_MAX_MS))).await;
        };
        if self.chance(REPEATS) {
            let process = self.rng.usize(..TWINS);
            self.send(command, &key, process, None).await?;
        }
        if let Some(lie) = &command.lie
            && reply.is_success()
            && self.chance(LIES)
        {
            let lie = Command { body: lie.clone(), ..command.clone() };
            let process = self.rng.usize(..TWINS);
            self.send(&lie, &key, process, None).await?;
        }
        Ok(Some(reply))
    }

    async fn one_try(&mut self, command: &Command, key: &str) -> anyhow::Result<Option<Reply>> {
        if self.chance(TWICE_AT_ONCE) {
            let [one, other] = [0, 1].map(|process| self.send(command, key, process, None));
            let (one, other) = tokio::try_join!(one, other)?;
            let known = [one, other].into_iter().flatten();
            return Ok(known.min_by_key(is_passing));
        }
        let hang_up = self.chance(HANG_UPS);
        let hang_up = hang_up.then(|| Duration::from_millis(self.rng.u64(..HANG_UP_MAX_MS)));
        let process = self.rng.usize(..TWINS);
        self.send(command, key, process, hang_up).await
    }

    /// One request, with its lines in the journal.
    async fn send(
        &self,
        command: &Command,
        key: &str,
        process: usize,
        hang_up: Option<Duration>,
    ) -> anyhow::Result<Option<Reply>> {
        let body = command.body.to_string();
        let number = self.journal.sends(Sends {
            number: 0,
            client: self.number,
            store: self.store.slug.clone(),
            key: key.to_owned(),
            method: command.method.to_string(),
            path: command.path.clone(),
            body_sha256: sha256(body.as_bytes()),
            process: u32::try_from(process)?,
            sent_at: now(),
        })?;
        let answered = self.request(command, key, process, body);
        let reply = match hang_up {
            Some(patience) => timeout(patience, answered).await.unwrap_or(Ok(None))?,
            None => answered.await?,
        };
        self.journal.ended(number, reply.as_ref().map(|reply| &reply.answer))?;
        if reply.as_ref().is_some_and(Reply::is_success) {
            self.fleet.tally.answered();
        }
        Ok(reply)
    }

    /// `None` if there is no answer, or not all of it.
    async fn request(
        &self,
        command: &Command,
        key: &str,
        process: usize,
        body: String,
    ) -> anyhow::Result<Option<Reply>> {
        let address = format!("{}{}", self.fleet.address(process), command.path);
        let request = self.http.request(command.method.clone(), address);
        let request = request.bearer_auth(&self.store.token).header("idempotency-key", key);
        let request = request.header("content-type", "application/json").body(body);
        let Ok(response) = request.send().await else { return Ok(None) };
        let status = response.status();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let position = header("x-position").and_then(|value| value.parse().ok());
        let replayed = header("idempotent-replayed") == Some("true");
        let Ok(bytes) = response.bytes().await else { return Ok(None) };
        let body: Value = serde_json::from_slice(&bytes)
            .with_context(|| format!("{}: an answer {status} that is not JSON", command.path))?;
        let text = |field: &str| body[field].as_str().map(str::to_owned);
        let answer = Answer {
            status: status.as_u16(),
            body_sha256: sha256(&bytes),
            position,
            replayed,
            id: text("id"),
            state: text("status"),
            code: text("code"),
        };
        Ok(Some(Reply { answer, body }))
    }

    /// Asks for a resource, at either process; `None` if there is no answer.
    pub(crate) async fn look(&mut self, path: &str) -> anyhow::Result<Option<Value>> {
        let process = self.rng.usize(..TWINS);
        let address = format!("{}{path}", self.fleet.address(process));
        let request = self.http.get(address).bearer_auth(&self.store.token);
        let Ok(response) = request.send().await else { return Ok(None) };
        if response.status() != StatusCode::OK {
            return Ok(None);
        }
        let Ok(bytes) = response.bytes().await else { return Ok(None) };
        Ok(Some(serde_json::from_slice(&bytes)?))
    }
}

/// Whether the program asks for the same request again.
fn is_passing(reply: &Reply) -> bool {
    reply.body["retryable"].as_bool() == Some(true)
}

fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut hex = String::new();
    for byte in Sha256::digest(bytes) {
        write!(hex, "{byte:02x}").expect("writing to a string cannot fail");
    }
    hex
}
