//! Signatures of webhooks: who sent a body, and when.
//!
//! `Stripe-Signature: t=1492774577,v1=5257a8…,v1=…` carries the time and, for each secret of the
//! endpoint, HMAC-SHA256 over the time's digits, a full stop and the body as it came over the wire.
//! While a secret is being replaced there are two of them on either side.

use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Longest time between signing and arriving, either way: clocks differ, and a body that somebody
/// has kept must not be good for ever. The vendor's own libraries allow as much.
pub const TOLERANCE: TimeDelta = TimeDelta::seconds(300);

/// Longest header that is read, in bytes: a time and [`CANDIDATES_MAX`] signatures fit.
const HEADER_BYTES_MAX: usize = 2_048;

/// Signatures of one header that are compared. The vendor sends one per secret, of which an
/// endpoint has two at most.
const CANDIDATES_MAX: usize = 16;

/// Digits of a time in seconds; enough for 30,000 years.
const TIME_DIGITS_MAX: usize = 12;

/// Bytes of HMAC-SHA256.
const MAC_BYTES: usize = 32;

/// Why a body is not taken for the vendor's. Says nothing of secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The header is no list of a time and signatures.
    #[error("the signature header is malformed")]
    Malformed,
    /// No signature is of any of the secrets, or the body was changed.
    #[error("no signature of the header is ours")]
    Mismatch,
    /// Signed more than [`TOLERANCE`] before or after now.
    #[error("signed more than 300 seconds from now")]
    Stale,
}

/// Checks the header of a webhook against the body as it arrived. Returns when it was signed.
///
/// Which of several secrets fits is not told, and comparing takes as long whatever the bytes are.
///
/// # Errors
/// See [`SignatureError`]. A time out of tolerance is only told to whoever signed it.
pub fn verify<S: AsRef<[u8]>>(
    header: &str,
    body: &[u8],
    secrets: &[S],
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>, SignatureError> {
    let Parts { time, candidates } = Parts::parse(header).ok_or(SignatureError::Malformed)?;
    let ours = secrets.iter().any(|secret| {
        let mac = mac(secret.as_ref(), time, body);
        candidates.iter().any(|candidate| mac.clone().verify_slice(candidate).is_ok())
    });
    if !ours {
        return Err(SignatureError::Mismatch);
    }
    let seconds = time.parse().map_err(|_| SignatureError::Malformed)?;
    let signed = DateTime::from_timestamp(seconds, 0).ok_or(SignatureError::Malformed)?;
    if TOLERANCE < (now - signed).abs() {
        return Err(SignatureError::Stale);
    }
    Ok(signed)
}

/// The header that the vendor sends with a body at a time.
pub fn sign(secret: &[u8], at: DateTime<Utc>, body: &[u8]) -> String {
    let time = at.timestamp().to_string();
    let mac = mac(secret, &time, body).finalize().into_bytes();
    let hex: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={time},v1={}", hex.concat())
}

fn mac(secret: &[u8], time: &str, body: &[u8]) -> Hmac<Sha256> {
    let mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.chain_update(time).chain_update(b".").chain_update(body)
}

/// What a header says.
struct Parts<'a> {
    /// Its digits, as they were signed.
    time: &'a str,
    candidates: Vec<[u8; MAC_BYTES]>,
}

impl Parts<'_> {
    /// Other schemes than `v1` are skipped: accepting an older one would weaken the newest.
    fn parse(header: &str) -> Option<Parts<'_>> {
        if HEADER_BYTES_MAX < header.len() {
            return None;
        }
        let (mut time, mut candidates) = (None, vec![]);
        for part in header.split(',') {
            match part.trim().split_once('=')? {
                ("t", _) if time.is_some() => return None,
                ("t", digits) => time = Some(digits),
                ("v1", hex) if candidates.len() < CANDIDATES_MAX => candidates.push(bytes(hex)?),
                ("v1", _) => return None,
                _ => {}
            }
        }
        let time = time.filter(|digits| {
            (1..=TIME_DIGITS_MAX).contains(&digits.len())
                && digits.bytes().all(|digit| digit.is_ascii_digit())
        })?;
        Some(Parts { time, candidates })
    }
}

/// 64 digits in base 16.
fn bytes(hex: &str) -> Option<[u8; MAC_BYTES]> {
    let hex = hex.as_bytes();
    if hex.len() != 2 * MAC_BYTES {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = [0; MAC_BYTES];
    for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "whsec_of_a_test";
    const BODY: &[u8] = br#"{"id":"evt_1","object":"event"}"#;

    fn noon() -> DateTime<Utc> {
        "2026-03-14T12:00:00Z".parse().unwrap()
    }

    fn check(header: &str, body: &[u8]) -> Result<DateTime<Utc>, SignatureError> {
        verify(header, body, &[SECRET], noon())
    }

    #[test]
    fn a_signature_made_elsewhere_is_recognised() {
        // printf '1773489600.%s' "$body" | openssl dgst -sha256 -hmac whsec_of_a_test
        let known =
            "t=1773489600,v1=793def60c9f57200880b061ea8ee251f130652afe41bfc4bd48bbf156edba1b1";
        assert_eq!(sign(SECRET.as_bytes(), noon(), BODY), known);
        assert_eq!(check(known, BODY), Ok(noon()));
    }

    #[test]
    fn a_change_of_any_bit_of_the_body_is_noticed() {
        let header = sign(SECRET.as_bytes(), noon(), BODY);
        for at in 0..BODY.len() {
            for bit in 0..8 {
                let mut forged = BODY.to_vec();
                forged[at] ^= 1 << bit;
                assert_eq!(check(&header, &forged), Err(SignatureError::Mismatch));
            }
            assert_eq!(check(&header, &BODY[..at]), Err(SignatureError::Mismatch));
        }
    }

    #[test]
    fn a_change_of_any_byte_of_the_header_is_noticed() {
        let header = sign(SECRET.as_bytes(), noon(), BODY);
        for at in 0..header.len() {
            for other in 1..=127_u8 {
                let mut forged = header.clone().into_bytes();
                forged[at] ^= other;
                let forged = String::from_utf8(forged).unwrap();
                // Digits in base 16 may be of either case: the same signature.
                if !forged.eq_ignore_ascii_case(&header) || forged[..2] != header[..2] {
                    assert!(check(&forged, BODY).is_err(), "{forged}");
                }
            }
        }
    }

    #[test]
    fn it_holds_for_300_seconds_either_way() {
        let at = |seconds| sign(SECRET.as_bytes(), noon() + TimeDelta::seconds(seconds), BODY);
        for seconds in [-300, 0, 300] {
            assert!(check(&at(seconds), BODY).is_ok(), "{seconds}");
        }
        for seconds in [-301, 301, -86_400] {
            assert_eq!(check(&at(seconds), BODY), Err(SignatureError::Stale), "{seconds}");
        }
        // Whoever cannot sign is not told that they are late.
        let (time, _) =
            at(-301).split_once(',').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let forged = format!("{time},v1={}", "0".repeat(64));
        assert_eq!(check(&forged, BODY), Err(SignatureError::Mismatch));
    }

    #[test]
    fn while_a_secret_is_replaced_either_is_good() {
        let (old, new) = (sign(b"whsec_old", noon(), BODY), sign(b"whsec_new", noon(), BODY));
        let both = ["whsec_new", "whsec_old"];
        let check = |header: &str| verify(header, BODY, &both, noon());
        assert!(check(&old).is_ok() && check(&new).is_ok());
        let (_, v1) = new.split_once(',').unwrap();
        assert!(check(&format!("{old},{v1},v0=whatever")).is_ok());
        assert!(verify(&old, BODY, &["whsec_new"], noon()).is_err());
        assert!(verify::<&str>(&old, BODY, &[], noon()).is_err());
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let good = sign(SECRET.as_bytes(), noon(), BODY);
        let (time, v1) = good.split_once(',').unwrap();
        let old_scheme = v1.replace("v1", "v0");
        for header in [
            "",
            ",",
            "=",
            "t",
            "t=",
            "v1=",
            "t=,v1=",
            "t=-1,v1=00",
            "t=1e3",
            v1,
            time,
            &format!("{time},{time},{v1}"),
            &format!("{time}0000000000,{v1}"),
            &format!("{time},{old_scheme}"),
            &format!("{time},{v1}0"),
            &format!("{good},{}", format!("{v1},").repeat(16)),
            &format!("{good},{}", "x=y,".repeat(1_000)),
        ] {
            assert!(check(header, BODY).is_err(), "{header}");
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(header in ".{0,200}", body: Vec<u8>) {
            prop_assert!(check(&header, &body).is_err());
        }

        #[test]
        fn headers_that_look_right_are_not(header in "(t=[0-9é]{0,12},?|v1=[0-9a-fé=]{0,66},?){0,4}") {
            prop_assert!(check(&header, BODY).is_err());
        }

        #[test]
        fn what_was_signed_is_recognised(secret: Vec<u8>, body: Vec<u8>) {
            let header = sign(&secret, noon(), &body);
            prop_assert_eq!(verify(&header, &body, &[&secret], noon()), Ok(noon()));
        }
    }
}
