//! The leaf hash, computed again. `log.append` computes it first; the two must agree for ever.

use sha2::{Digest as _, Sha256};

use crate::read::Recorded;

/// SHA-256 over 0x00 (the leaf prefix of RFC 9162) and the event's fields; integers big-endian,
/// times as microseconds since 1970, texts and bytes after their length in 4 bytes.
pub fn leaf_hash(event: &Recorded) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix([0]);
    hash.update(event.position.to_be_bytes());
    hash.update(event.recorded_at.timestamp_micros().to_be_bytes());
    hash.update(event.store_id.as_bytes());
    update_with_length(&mut hash, event.category.as_bytes());
    hash.update(event.stream_id.as_bytes());
    hash.update(event.version.to_be_bytes());
    hash.update(event.event_id.as_bytes());
    update_with_length(&mut hash, event.event_type.as_bytes());
    hash.update(event.schema_version.to_be_bytes());
    update_with_length(&mut hash, &event.payload);
    update_with_length(&mut hash, &event.metadata);
    hash.finalize().into()
}

fn update_with_length(hash: &mut Sha256, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("PostgreSQL holds no value above 1 GB");
    hash.update(length.to_be_bytes());
    hash.update(bytes);
}
