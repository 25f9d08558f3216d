//! The form of API and admin keys: a kind and eight letters that name the key, then its secret.

use nuncio_model::ids;

/// The letters of a key that name it: `nk_` or `na_` and the eight that follow.
const PREFIX_LENGTH: usize = 11;

/// The letters of a key that are secret; 40 of 62 kinds are some 238 bits.
const SECRET_LENGTH: usize = 40;

/// The letters of a key that name it, where the text can be a key at all.
pub(crate) fn prefix_of(text: &str) -> Option<&str> {
    text.get(..PREFIX_LENGTH).filter(|_| text.len() <= 200)
}

/// A new key of this kind.
pub(crate) fn make_key(kind: &str) -> String {
    format!("{kind}{}_{}", ids::random_text(PREFIX_LENGTH - kind.len()), ids::random_text(SECRET_LENGTH))
}
