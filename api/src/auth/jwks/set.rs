//! Reading a JSON Web Key Set.

use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::auth::public_key::PublicKey;

/// The most keys of a set: more are no set of one issuer.
const MAX_KEYS: usize = 100;
/// The longest id of a key.
const MAX_KID_BYTES: usize = 256;

/// A key of a set.
#[derive(Clone, Debug)]
pub(crate) struct PublishedKey {
    /// The id that a token's header names.
    pub(crate) kid: Option<String>,
    /// The key.
    pub(crate) key: PublicKey,
    /// The same, as signatures are checked with it.
    pub(crate) decoding: DecodingKey,
}

impl PartialEq for PublishedKey {
    fn eq(&self, other: &Self) -> bool {
        (&self.kid, &self.key) == (&other.kid, &other.key)
    }
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Map<String, Value>>,
}

/// The keys of a set that tokens can be checked with. Others are left out, as RFC 7517 (section 5) asks for.
///
/// # Errors
/// Where it is no set, or holds too many keys.
pub(crate) fn read(body: &[u8]) -> Result<Vec<PublishedKey>, &'static str> {
    let set: Set = serde_json::from_slice(body).map_err(|_| "the answer is no JSON Web Key Set")?;
    if set.keys.len() > MAX_KEYS {
        return Err("the set holds more than 100 keys");
    }
    let usable = set.keys.iter().filter_map(|jwk| {
        let kid = match jwk.get("kid") {
            None => None,
            Some(kid) => Some(kid.as_str().filter(|kid| kid.len() <= MAX_KID_BYTES)?.to_owned()),
        };
        let key = PublicKey::from_jwk(jwk).ok()?;
        let decoding = key.decoding();
        Some(PublishedKey { kid, key, decoding })
    });
    Ok(usable.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_public_keys_for_signatures_are_taken() {
        // RFC 8037, appendix A.2.
        let ed = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        let with = |name: &str, value: Value| {
            let mut key = ed.clone();
            key[name] = value;
            key
        };
        let set = json!({"keys": [
            with("kid", json!("a")),
            with("use", json!("enc")),
            with("key_ops", json!(["sign"])),
            with("alg", json!("ES256")),
            with("d", json!("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")),
            with("x", json!("short")),
            with("kid", json!(7)),
            {"kty": "oct", "k": "c2VjcmV0", "kid": "oct"},
            {"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"},
            {},
        ]});
        let keys = read(set.to_string().as_bytes()).expect("a set");
        assert_eq!(keys.iter().map(|key| key.kid.as_deref()).collect::<Vec<_>>(), [Some("a")]);
        for bad in [json!({}), json!([]), json!({"keys": [1]}), json!({"keys": vec![json!({}); 101]})] {
            assert!(read(bad.to_string().as_bytes()).is_err());
        }
    }
}
