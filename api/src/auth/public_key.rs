//! Public keys that tokens are checked with: read from PEM (RFC 7468) or JWK (RFC 7517), and kept in one form.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::PublicEncryptingKey;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};

/// RFC 7518, section 3.3: a key for RS256 has at least 2048 bits. More than 8192 would make a check slow.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;
/// What stands before the point of a P-256 key in its `SubjectPublicKeyInfo` (RFC 5480).
const P256_HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// What stands before an Ed25519 key in its `SubjectPublicKeyInfo` (RFC 8410).
const ED25519_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The algorithms of tokens, by their names in the API. Each key has one of them, and takes no other.
pub(crate) const ALGORITHMS: [(&str, Algorithm); 4] = [
    ("HS256", Algorithm::HS256),
    ("RS256", Algorithm::RS256),
    ("ES256", Algorithm::ES256),
    ("EdDSA", Algorithm::EdDSA),
];

/// The algorithm of this name.
pub(crate) fn algorithm(name: &str) -> Option<Algorithm> {
    ALGORITHMS.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
}

/// The algorithm's name in the API.
pub(crate) fn name_of(algorithm: Algorithm) -> &'static str {
    ALGORITHMS.iter().find(|(_, known)| *known == algorithm).map_or("", |(name, _)| name)
}

/// A key that is good for its algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicKey {
    /// RS256, ES256 or EdDSA.
    pub(crate) algorithm: Algorithm,
    /// Its `SubjectPublicKeyInfo` (RFC 5280), in DER.
    pub(crate) der: Vec<u8>,
}

/// What is wrong with a key, as the end of a sentence that begins with it.
pub(crate) type Wrong = &'static str;

const NO_KEY: Wrong = "is no public key that can be read; PEM (SPKI) and JWK can";
const PRIVATE: Wrong =
    "is a private key: give its public half. Make a new pair, as this one has been sent around";
const ALGORITHM: Wrong =
    "is a key for another algorithm: RS256 takes RSA, ES256 takes EC on P-256, EdDSA takes Ed25519";

impl PublicKey {
    /// Reads a key in PEM.
    ///
    /// # Errors
    /// With what is wrong: most often it is a private key or a certificate.
    pub(crate) fn from_pem(text: &str, algorithm: Algorithm) -> Result<Self, Wrong> {
        let block = pem::parse(text.trim()).map_err(|_| NO_KEY)?;
        match block.tag() {
            "PUBLIC KEY" => Self::from_der(block.into_contents(), algorithm),
            "RSA PUBLIC KEY" => {
                Err("is in the form of PKCS#1: change it with `openssl rsa -RSAPublicKey_in -pubout`")
            }
            "CERTIFICATE" => {
                Err("is a certificate: take the key out of it with `openssl x509 -pubkey -noout`")
            }
            tag if tag.ends_with("PRIVATE KEY") => Err(PRIVATE),
            _ => Err(NO_KEY),
        }
    }

    /// Reads a key in its canonical form.
    ///
    /// # Errors
    /// With what is wrong.
    pub(crate) fn from_der(der: Vec<u8>, algorithm: Algorithm) -> Result<Self, Wrong> {
        if !is_of(&der, algorithm) {
            let other = ALGORITHMS.iter().any(|(_, other)| is_of(&der, *other));
            return Err(if other { ALGORITHM } else { NO_KEY });
        }
        if algorithm == Algorithm::RS256 {
            // The library itself takes none that is smaller or larger.
            let bits = PublicEncryptingKey::from_der(&der).map(|key| key.key_size_bits());
            if !bits.is_ok_and(|bits| RSA_BITS.contains(&bits)) {
                return Err("must have 2048 to 8192 bits");
            }
        }
        Ok(Self { algorithm, der })
    }

    /// Reads a key in JWK, whose type says what it is for.
    ///
    /// # Errors
    /// With what is wrong. A symmetric key is never taken: whoever may read it could sign with it.
    pub(crate) fn from_jwk(jwk: &Map<String, Value>) -> Result<Self, Wrong> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        if ["d", "p", "q", "dp", "dq", "qi", "k"].iter().any(|name| jwk.contains_key(*name)) {
            return Err(PRIVATE);
        }
        // RFC 7517, sections 4.2 and 4.3: what is meant for something else is not ours to use.
        let for_us = jwk.get("use").is_none_or(|purpose| purpose == "sig")
            && jwk.get("key_ops").is_none_or(|all| {
                all.as_array().is_some_and(|all| all.iter().any(|operation| operation == "verify"))
            });
        if !for_us {
            return Err("is not meant for checking signatures (`use`, `key_ops`)");
        }
        let (algorithm, der) = match (text("kty"), text("crv")) {
            (Some("RSA"), _) => (Algorithm::RS256, rsa(&bytes(text("n"))?, &bytes(text("e"))?)?),
            (Some("EC"), Some("P-256")) => {
                let (x, y) = (bytes(text("x"))?, bytes(text("y"))?);
                if (x.len(), y.len()) != (32, 32) {
                    return Err(NO_KEY);
                }
                (Algorithm::ES256, [&P256_HEAD, [0x04].as_slice(), &x, &y].concat())
            }
            (Some("OKP"), Some("Ed25519")) => {
                (Algorithm::EdDSA, [ED25519_HEAD.as_slice(), &bytes(text("x"))?].concat())
            }
            _ => return Err("is of a type that is not known here; RSA, EC on P-256 and Ed25519 are"),
        };
        if jwk.get("alg").is_some_and(|named| named != name_of(algorithm)) {
            return Err("names an `alg` that is not RS256, ES256 or EdDSA, or not the one of its type");
        }
        Self::from_der(der, algorithm)
    }

    /// The key as signatures are checked with it.
    pub(crate) fn decoding(&self) -> DecodingKey {
        decoding(self.algorithm, &self.der)
    }
}

/// A public key's canonical form in PEM.
pub(crate) fn to_pem(der: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new("PUBLIC KEY", der), config)
}

/// A public key's canonical form, as signatures are checked with it. Nothing is parsed here.
pub(crate) fn decoding(algorithm: Algorithm, der: &[u8]) -> DecodingKey {
    match algorithm {
        Algorithm::ES256 => DecodingKey::from_ec_der(der),
        Algorithm::EdDSA => DecodingKey::from_ed_der(der),
        _ => DecodingKey::from_rsa_der(der),
    }
}

fn is_of(der: &[u8], algorithm: Algorithm) -> bool {
    let verification: &'static dyn VerificationAlgorithm = match algorithm {
        Algorithm::RS256 => &RSA_PKCS1_2048_8192_SHA256,
        Algorithm::ES256 => &ECDSA_P256_SHA256_FIXED,
        Algorithm::EdDSA => &ED25519,
        _ => return false,
    };
    ParsedPublicKey::new(verification, der).is_ok()
}

fn rsa(n: &[u8], e: &[u8]) -> Result<Vec<u8>, Wrong> {
    let significant =
        |number: &[u8]| number.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<u8>>();
    let components = RsaPublicKeyComponents { n: significant(n), e: significant(e) };
    components.as_der().map(|der| der.as_ref().to_vec()).map_err(|_| NO_KEY)
}

fn bytes(text: Option<&str>) -> Result<Vec<u8>, Wrong> {
    text.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).ok_or(NO_KEY)
}
