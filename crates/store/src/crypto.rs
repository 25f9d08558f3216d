//! Hashing of keys, and encryption of the secrets that must be read back.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{constant_time, digest};
use nuncio_model::Secret;

use crate::{Error, Result};

/// The key that secrets are encrypted under (AES-256-GCM): derived from `NUNCIO_SECRET_KEY`.
#[derive(Clone)]
pub struct SecretKey([u8; 32]);

impl SecretKey {
    /// Derives the key from the configured text, which should hold at least 32 random characters.
    pub fn derive(text: &Secret) -> Self {
        Self::derive_for("nuncio 2026-11 secrets at rest", text)
    }

    /// Derives a key for one purpose, whose name no other purpose has.
    pub(crate) fn derive_for(purpose: &str, text: &Secret) -> Self {
        Self(blake3::derive_key(purpose, text.expose().as_bytes()))
    }

    /// Encrypts; the result begins with the nonce. `owner` ties it to its row: it cannot be read back for another.
    pub(crate) fn seal(&self, owner: &str, text: &Secret) -> Result<Vec<u8>> {
        let mut sealed = text.expose().as_bytes().to_vec();
        let nonce =
            self.key().seal_in_place_append_tag(Aad::from(owner), &mut sealed).map_err(|_| broken())?;
        Ok([nonce.as_ref().as_slice(), &sealed].concat())
    }

    /// Decrypts what `seal` made for the same owner.
    pub(crate) fn open(&self, owner: &str, sealed: &[u8]) -> Result<Secret> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>().ok_or_else(broken)?;
        let mut text = text.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let open = self.key().open_in_place(nonce, Aad::from(owner), &mut text).map_err(|_| broken())?;
        String::from_utf8(open.to_vec()).map(Secret::new).map_err(|_| broken())
    }

    fn key(&self) -> RandomizedNonceKey {
        RandomizedNonceKey::new(&AES_256_GCM, &self.0).expect("AES-256 takes any 32 bytes")
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey(***)")
    }
}

fn broken() -> Error {
    Error::Unreadable(
        "a stored secret cannot be decrypted: is NUNCIO_SECRET_KEY the one it was stored with?".to_owned(),
    )
}

/// SHA-256. The keys hashed with it are random and long, so that no slow hash is needed.
pub(crate) fn hash(text: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, text.as_bytes()).as_ref().to_vec()
}

/// Compares without telling by its duration where the difference is.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_back_by_its_owner_with_the_right_key() {
        let (key, other) = (SecretKey::derive(&Secret::new("a")), SecretKey::derive(&Secret::new("b")));
        let sealed = key.seal("1/main", &Secret::new("hush")).expect("sealing works");
        assert_eq!(key.open("1/main", &sealed).expect("the same key opens").expose(), "hush");
        assert!(key.open("2/main", &sealed).is_err() && other.open("1/main", &sealed).is_err());
        assert!(key.open("1/main", &sealed[..5]).is_err());
        assert_ne!(sealed, key.seal("1/main", &Secret::new("hush")).expect("sealing works"));
    }
}
