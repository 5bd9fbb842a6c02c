use jsonwebtoken::jwk::Jwk;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::tests::{KEYS, noon, store, token_of};

fn good() -> String {
    token_of("demo", &[Permission::OrdersRead, Permission::StockWrite])
}

fn verify(token: &str) -> Result<Claims, TokenError> {
    KEYS.verify(token, noon())
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// Header and payload of a good token.
fn parts() -> (Value, Value) {
    let token = good();
    let mut parts = token.split('.').map(|part| {
        let bytes = URL_SAFE_NO_PAD.decode(part).unwrap();
        serde_json::from_slice::<Value>(&bytes).unwrap_or_default()
    });
    (parts.next().unwrap(), parts.next().unwrap())
}

/// Signs anything at all with our key.
fn signed(header: &Value, payload: &Value) -> String {
    let message = format!("{}.{}", part(header), part(payload));
    let key = &KEYS.0.encoding;
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, Algorithm::EdDSA).unwrap();
    format!("{message}.{signature}")
}

fn with_header(name: &str, value: Value) -> String {
    let (mut header, payload) = parts();
    header[name] = value;
    signed(&header, &payload)
}

fn with_claim(name: &str, value: Value) -> String {
    let (header, mut payload) = parts();
    payload[name] = value;
    signed(&header, &payload)
}

#[test]
fn a_token_says_what_was_asked_for() {
    let claims = verify(&good()).unwrap();
    assert_eq!(claims.store_id, store());
    assert_eq!(claims.store_slug, "demo");
    assert_eq!(claims.actor_id, ActorId(Uuid::from_u128(2)));
    assert_eq!(claims.permissions, [Permission::OrdersRead, Permission::StockWrite]);
    assert_eq!(claims.expires_at, noon() + TimeDelta::hours(1));
}

#[test]
fn the_helper_that_forges_makes_good_tokens_when_nothing_is_forged() {
    let (header, payload) = parts();
    assert!(verify(&signed(&header, &payload)).is_ok());
}

#[test]
fn a_key_is_read_back_and_nothing_else_is_a_key() {
    let (keys, der) = TokenKeys::generate().unwrap();
    let again = TokenKeys::from_pkcs8_der(&der).unwrap();
    let request = TokenRequest {
        actor_id: ActorId(Uuid::nil()),
        store_id: store(),
        store_slug: "demo".into(),
        permissions: vec![],
        lifetime: TimeDelta::hours(1),
    };
    assert!(again.verify(&keys.issue(&request, noon()), noon()).is_ok());
    assert!(TokenKeys::from_pkcs8_der(b"no key").is_err());
    assert!(!format!("{keys:?}").contains("encoding"));
}

#[test]
fn tokens_without_or_with_another_algorithm_are_refused() {
    let (mut header, payload) = parts();
    header["alg"] = "none".into();
    let naked = format!("{}.{}.", part(&header), part(&payload));
    assert_eq!(verify(&naked), Err(TokenError::Invalid));
    for alg in ["HS256", "HS512", "RS256", "ES256", "nonsense"] {
        assert_eq!(verify(&with_header("alg", alg.into())), Err(TokenError::Invalid), "{alg}");
    }
}

#[test]
fn the_public_key_is_no_shared_secret() {
    let public = KEYS.0.decoding.try_get_as_bytes().unwrap();
    let mut header = KEYS.header();
    header.alg = Algorithm::HS256;
    let (_, payload) = parts();
    for secret in [public.to_vec(), URL_SAFE_NO_PAD.encode(public).into_bytes()] {
        let key = EncodingKey::from_secret(&secret);
        let token = jsonwebtoken::encode(&header, &payload, &key).unwrap();
        assert_eq!(verify(&token), Err(TokenError::Invalid));
    }
}

#[test]
fn headers_that_bring_their_own_key_or_type_are_refused() {
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": "AAAA", "alg": "EdDSA" });
    assert!(serde_json::from_value::<Jwk>(jwk.clone()).is_ok());
    for (name, value) in [
        ("jku", json!("https://evil.example/keys")),
        ("x5u", json!("https://evil.example/cert")),
        ("jwk", jwk),
        ("kid", json!("../../dev/null")),
        ("kid", Value::Null),
        ("crit", json!(["exp"])),
        ("cty", json!("JWT")),
        ("typ", json!("JWT")),
        ("typ", json!("rt+jwt")),
        ("typ", Value::Null),
        ("new", json!("member")),
    ] {
        let token = with_header(name, value.clone());
        assert_eq!(verify(&token), Err(TokenError::Invalid), "{name} {value}");
    }
}

#[test]
fn claims_of_others_or_none_are_refused() {
    for (name, value) in [
        ("iss", json!("someone")),
        ("iss", json!(["conche", "someone"])),
        ("aud", json!("another-api")),
        ("aud", json!(["conche-api", "another-api"])),
        ("sub", json!("ord_00000000000000000000000002")),
        ("sub", json!("admin")),
        ("store", json!("demo")),
        ("scope", json!(["orders:read"])),
        ("exp", json!("tomorrow")),
        ("exp", json!(-1)),
        ("exp", json!(i64::MAX)),
        ("exp", json!(1e300)),
        ("nbf", json!("now")),
        ("iat", json!(null)),
    ] {
        let token = with_claim(name, value.clone());
        assert_eq!(verify(&token), Err(TokenError::Invalid), "{name} {value}");
    }
    let names: Vec<String> = parts().1.as_object().unwrap().keys().cloned().collect();
    assert_eq!(names.len(), 9);
    for name in names {
        let (header, mut payload) = parts();
        payload.as_object_mut().unwrap().remove(&name);
        assert_eq!(verify(&signed(&header, &payload)), Err(TokenError::Invalid), "without {name}");
    }
}

#[test]
fn a_token_lives_from_its_begin_to_its_end_and_half_a_minute() {
    let token = good();
    let at = |seconds| KEYS.verify(&token, noon() + TimeDelta::seconds(seconds)).map(|_| ());
    assert_eq!(at(-31), Err(TokenError::NotYetValid));
    assert_eq!(at(-30), Ok(()));
    assert_eq!(at(3600), Ok(()));
    assert_eq!(at(3629), Ok(()));
    assert_eq!(at(3630), Err(TokenError::Expired));
    let later = (noon() + TimeDelta::days(1)).timestamp();
    assert_eq!(verify(&with_claim("nbf", later.into())), Err(TokenError::NotYetValid));
    assert_eq!(verify(&with_claim("iat", later.into())), Err(TokenError::NotYetValid));
    assert_eq!(verify(&with_claim("exp", 0.into())), Err(TokenError::Expired));
}

#[test]
fn unknown_permissions_allow_nothing() {
    let token = with_claim("scope", "orders:read payouts:write  *".into());
    assert_eq!(verify(&token).unwrap().permissions, [Permission::OrdersRead]);
    assert_eq!(verify(&with_claim("scope", "".into())).unwrap().permissions, []);
}

#[test]
fn a_token_of_another_key_is_refused() {
    let (other, _) = TokenKeys::generate().unwrap();
    assert_eq!(other.verify(&good(), noon()), Err(TokenError::Invalid));
}

#[test]
fn no_character_of_a_token_may_change() {
    let token = good();
    for index in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert_eq!(verify(&changed), Err(TokenError::Invalid), "character {index}");
    }
}

#[test]
fn what_is_no_token_at_all_is_refused() {
    let long = "a".repeat(100_000);
    for text in ["", ".", "..", "...", "a.b.c", "\u{0}", "ü.ü.ü", &long, &format!("{}.x", good())]
    {
        assert_eq!(verify(text), Err(TokenError::Invalid));
    }
}
