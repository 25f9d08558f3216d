//! Ids and secrets made by Nuncio.

use rand::RngExt;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// An id for an event or request that came without one: a UUID of version 7, which sorts by time.
#[expect(clippy::disallowed_methods, reason = "this is the one place that makes ids")]
pub fn unique_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// Random letters and digits, about 5.95 bits each, from the thread's cryptographic generator.
pub fn random_text(length: usize) -> String {
    let mut rng = rand::rng();
    (0..length).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect()
}
