//! Access tokens: JWT signed with Ed25519, checked as RFC 8725 asks.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use event_schemas::ids::{ActorId, StoreId};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Permission;

/// Clocks of two machines may differ by this.
const LEEWAY: TimeDelta = TimeDelta::seconds(30);
/// Refused unread beyond this many bytes; ours have about 600.
const MAX_BYTES: usize = 4096;
/// Tokens whose signature is not checked again while they are in use. About 1 kB each.
const VERIFIED_MAX: usize = 4_096;
const ISSUER: &str = "conche";
const AUDIENCE: &str = "conche-api";
/// Keeps other signed documents of the same key from being taken for access tokens (RFC 9068).
const TYPE: &str = "at+jwt";

/// The key pair that signs and verifies access tokens. Cheap to clone.
#[derive(Clone)]
pub struct TokenKeys(Arc<Keys>);

struct Keys {
    encoding: EncodingKey,
    decoding: DecodingKey,
    /// Start of the public key's SHA-256; the only `kid` we accept.
    key_id: String,
    validation: Validation,
    /// By SHA-256. Checking a signature takes longer than answering most queries.
    verified: Cache<[u8; 32], Arc<Verified>>,
}

/// What a token says whose form and signature are right; its times are checked each time.
struct Verified {
    claims: Claims,
    begins: DateTime<Utc>,
}

/// What a token shall say.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    pub actor_id: ActorId,
    pub store_id: StoreId,
    pub store_slug: String,
    pub permissions: Vec<Permission>,
    pub lifetime: TimeDelta,
}

/// What a verified token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    pub actor_id: ActorId,
    pub store_id: StoreId,
    pub store_slug: String,
    /// Those of the scope that we know. Unknown ones allow nothing.
    pub permissions: Vec<Permission>,
    pub expires_at: DateTime<Utc>,
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token of ours: its form, signature, issuer, audience or a claim is wrong.
    #[error("token is not one of ours")]
    Invalid,
    /// It was one of ours.
    #[error("token has expired")]
    Expired,
    /// Its time has not come; the clocks differ by more than the leeway.
    #[error("token is not valid yet")]
    NotYetValid,
}

/// The bytes are no Ed25519 key in PKCS #8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("token key is not an Ed25519 key in PKCS #8")]
pub struct BadKey;

#[derive(Deserialize, Serialize)]
struct Payload {
    iss: String,
    aud: String,
    sub: ActorId,
    store: StoreId,
    store_slug: String,
    scope: String,
    iat: i64,
    nbf: i64,
    exp: i64,
}

impl TokenKeys {
    /// Makes a key pair from the operating system's randomness.
    ///
    /// Returns it with its PKCS #8 bytes, which are secret: keep them readable by the owner only.
    pub fn generate() -> Result<(TokenKeys, Vec<u8>), BadKey> {
        let pair = Ed25519KeyPair::generate().map_err(|_| BadKey)?;
        let der = pair.to_pkcs8().map_err(|_| BadKey)?.as_ref().to_vec();
        Ok((TokenKeys::from_pkcs8_der(&der)?, der))
    }

    /// Reads what [`TokenKeys::generate`] gave.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<TokenKeys, BadKey> {
        let pair = Ed25519KeyPair::from_pkcs8(der).map_err(|_| BadKey)?;
        let public = pair.public_key().as_ref();
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "nbf", "exp"]);
        // Against the caller's clock instead of the system's, in `verify`.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Ok(TokenKeys(Arc::new(Keys {
            encoding: EncodingKey::from_ed_der(der),
            decoding: DecodingKey::from_ed_der(public),
            key_id: URL_SAFE_NO_PAD.encode(&Sha256::digest(public)[..12]),
            validation,
            verified: Cache::new(VERIFIED_MAX),
        })))
    }

    /// Signs a token valid from `now` for `request.lifetime`.
    pub fn issue(&self, request: &TokenRequest, now: DateTime<Utc>) -> String {
        let scope: Vec<&str> = request.permissions.iter().map(|p| p.as_str()).collect();
        let payload = Payload {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: request.actor_id,
            store: request.store_id,
            store_slug: request.store_slug.clone(),
            scope: scope.join(" "),
            iat: now.timestamp(),
            nbf: now.timestamp(),
            exp: (now + request.lifetime).timestamp(),
        };
        self.sign(&self.header(), &payload)
    }

    /// Checks form, type, key, algorithm, signature, issuer, audience and times.
    pub fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Claims, TokenError> {
        if token.len() > MAX_BYTES {
            return Err(TokenError::Invalid);
        }
        let digest: [u8; 32] = Sha256::digest(token).into();
        if let Some(verified) = self.0.verified.get(&digest) {
            return verified.at(now);
        }
        let Keys { decoding, validation, .. } = &*self.0;
        let token = jsonwebtoken::decode::<Payload>(token, decoding, validation);
        let token = token.map_err(|_| TokenError::Invalid)?;
        // Nothing but type, algorithm and our own key's id: no key of the sender's choice.
        if token.header != self.header() {
            return Err(TokenError::Invalid);
        }
        let verified = Arc::new(Verified::of(token.claims)?);
        self.0.verified.insert(digest, Arc::clone(&verified));
        verified.at(now)
    }

    fn header(&self) -> Header {
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(self.0.key_id.clone());
        header
    }

    fn sign(&self, header: &Header, payload: &Payload) -> String {
        jsonwebtoken::encode(header, payload, &self.0.encoding)
            .expect("a key that was read signs any text")
    }
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKeys").field("key_id", &self.0.key_id).finish_non_exhaustive()
    }
}

impl Verified {
    fn of(payload: Payload) -> Result<Verified, TokenError> {
        let instant = |seconds| DateTime::from_timestamp(seconds, 0).ok_or(TokenError::Invalid);
        let (issued, begins) = (instant(payload.iat)?, instant(payload.nbf)?);
        let claims = Claims {
            actor_id: payload.sub,
            store_id: payload.store,
            store_slug: payload.store_slug,
            permissions: payload.scope.split(' ').filter_map(|text| text.parse().ok()).collect(),
            expires_at: instant(payload.exp)?,
        };
        Ok(Verified { claims, begins: issued.max(begins) })
    }

    fn at(&self, now: DateTime<Utc>) -> Result<Claims, TokenError> {
        if now + LEEWAY < self.begins {
            return Err(TokenError::NotYetValid);
        }
        if self.claims.expires_at <= now - LEEWAY {
            return Err(TokenError::Expired);
        }
        Ok(self.claims.clone())
    }
}

#[cfg(test)]
mod tests;
