//! Requests to Stripe, and what an answer means for money.

use std::time::Duration;

use reqwest::{Response, StatusCode, Url, redirect::Policy};
use serde::Deserialize;
use serde_json::Value;

use super::{account::Account, breaker::Breaker};
use crate::payment::PaymentError;

/// The version of Stripe's API that this code was written for.
const API_VERSION: &str = "2025-04-30.basil";

/// How long a connection may take to come about.
const CONNECT_DEADLINE: Duration = Duration::from_secs(3);

/// How long one request may take; below [`crate::payment::DEADLINE`], so that what was looked up
/// after it may still count.
const REQUEST_DEADLINE: Duration = Duration::from_secs(8);

/// Largest answer that is read, in bytes: a page of a hundred intents has some 300 KiB.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How an account is asked. Shared by everybody who asks it, so that they share the breaker.
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    secret_key: String,
    breaker: Breaker,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

/// What a request came to, once Stripe has said something definite.
#[derive(Debug)]
pub(super) enum Answer {
    /// It did as asked.
    Done(Value),
    /// It did not.
    Refused(Refusal),
    /// It saved an error under this key and will say nothing else. What it did is to be looked up.
    /// `at`: when it said so, in seconds since 1970.
    SavedError { at: i64 },
}

/// `error` of an answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Refusal {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) code: Option<String>,
    pub(super) decline_code: Option<String>,
    /// The intent as it is now.
    pub(super) payment_intent: Option<Value>,
}

#[derive(Deserialize)]
struct ErrorBody {
    error: Refusal,
}

impl Client {
    pub(super) fn new(account: &Account) -> Client {
        let base = account.base_url.as_deref().unwrap_or(super::account::BASE_URL);
        let http = reqwest::Client::builder()
            .redirect(Policy::none())
            // What the environment says is for other programs; the key goes to Stripe alone.
            .no_proxy()
            .connect_timeout(CONNECT_DEADLINE)
            .timeout(REQUEST_DEADLINE)
            .user_agent("conche");
        Client {
            http: http.build().expect("the settings are constant"),
            base: Url::parse(base).expect("an account's base URL was checked"),
            secret_key: account.secret_key.clone(),
            breaker: Breaker::default(),
        }
    }

    /// Reads something. Moves no money.
    pub(super) async fn get(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<Answer, PaymentError> {
        let mut url = self.url(path);
        url.query_pairs_mut().extend_pairs(query);
        self.send(self.http.get(url)).await
    }

    /// Does something, once per key.
    pub(super) async fn post(
        &self,
        path: &str,
        form: &[(&str, String)],
        key: &str,
    ) -> Result<Answer, PaymentError> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self
            .http
            .post(self.url(path))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("idempotency-key", key)
            .body(body);
        self.send(request).await
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(path);
        url
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, PaymentError> {
        if !self.breaker.lets_through() {
            return Err(PaymentError::Unknown);
        }
        let request = request.bearer_auth(&self.secret_key).header("stripe-version", API_VERSION);
        let answer = match request.send().await {
            Ok(response) => read(response).await,
            Err(error) => {
                // Without the address: a query may say more than a log should.
                tracing::warn!("Stripe was not reached: {}", error.without_url());
                None
            }
        };
        self.breaker.note(answer.is_some());
        answer.unwrap_or(Err(PaymentError::Unknown))
    }
}

/// What an answer means; none if Stripe is as good as silent.
async fn read(mut response: Response) -> Option<Result<Answer, PaymentError>> {
    let status = response.status();
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let replayed = header("idempotent-replayed") == Some("true");
    let at = header("date").and_then(|date| chrono::DateTime::parse_from_rfc2822(date).ok());
    if status.is_server_error() {
        // Saved is what it says again. The first time it may not be the end of it.
        return at.filter(|_| replayed).map(|at| Ok(Answer::SavedError { at: at.timestamp() }));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
            tracing::error!("an answer of Stripe has more than {ANSWER_BYTES_MAX} bytes");
            return None;
        }
        bytes.extend_from_slice(&chunk);
    }
    if status.is_success() {
        return serde_json::from_slice(&bytes).ok().map(|body| Ok(Answer::Done(body)));
    }
    let error = serde_json::from_slice::<ErrorBody>(&bytes).ok()?.error;
    Some(match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            tracing::error!(%status, "Stripe does not accept the store's key");
            Err(PaymentError::Unknown)
        }
        StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS => Err(PaymentError::Unknown),
        // Our own mistake, and no refusal of anybody's money.
        _ if error.kind == "idempotency_error" => {
            tracing::error!("a key was used for two different requests");
            Err(PaymentError::Unknown)
        }
        _ if status.is_client_error() => Ok(Answer::Refused(error)),
        _ => Err(PaymentError::Unknown),
    })
}
