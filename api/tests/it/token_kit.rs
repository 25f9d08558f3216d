//! Whoever signs tokens elsewhere: pairs of keys of every algorithm, and a server that publishes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair as RsaPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::routing::get;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::node::Node;

/// A pair of keys.
pub(crate) struct Signer {
    pub(crate) algorithm: Algorithm,
    pub(crate) encoding: EncodingKey,
    /// The private half in PEM.
    pub(crate) private: String,
    /// The public half in DER.
    pub(crate) public: Vec<u8>,
}

impl Signer {
    pub(crate) fn rsa() -> Self {
        let pair = RsaPair::generate(KeySize::Rsa2048).expect("a pair");
        let private = pem(
            "PRIVATE KEY",
            AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair).expect("DER").as_ref(),
        );
        let encoding = EncodingKey::from_rsa_pem(private.as_bytes()).expect("a key");
        let public = pair.public_key().as_der().expect("DER").as_ref().to_vec();
        Self { algorithm: Algorithm::RS256, encoding, private, public }
    }

    pub(crate) fn ec() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a pair");
        let der = pair.to_pkcs8v1().expect("DER");
        let (private, encoding) = (pem("PRIVATE KEY", der.as_ref()), EncodingKey::from_ec_der(der.as_ref()));
        let public = AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(pair.public_key());
        Self {
            algorithm: Algorithm::ES256,
            encoding,
            private,
            public: public.expect("DER").as_ref().to_vec(),
        }
    }

    pub(crate) fn ed() -> Self {
        let pair = Ed25519KeyPair::generate().expect("a pair");
        let der = pair.to_pkcs8v1().expect("DER");
        let (private, encoding) = (pem("PRIVATE KEY", der.as_ref()), EncodingKey::from_ed_der(der.as_ref()));
        let public = AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(pair.public_key());
        Self {
            algorithm: Algorithm::EdDSA,
            encoding,
            private,
            public: public.expect("DER").as_ref().to_vec(),
        }
    }

    pub(crate) fn all() -> [Self; 3] {
        [Self::rsa(), Self::ec(), Self::ed()]
    }

    /// The algorithm as the API calls it.
    pub(crate) fn name(&self) -> &'static str {
        match self.algorithm {
            Algorithm::RS256 => "RS256",
            Algorithm::ES256 => "ES256",
            _ => "EdDSA",
        }
    }

    /// The public half in PEM.
    pub(crate) fn pem(&self) -> String {
        pem("PUBLIC KEY", &self.public)
    }

    /// The public half as a JWK of this id.
    pub(crate) fn jwk(&self, kid: &str) -> Value {
        let jwk = Jwk::from_encoding_key(&self.encoding, self.algorithm).expect("a JWK");
        let mut jwk = serde_json::to_value(jwk).expect("JSON");
        jwk["kid"] = json!(kid);
        jwk["use"] = json!("sig");
        jwk
    }

    /// A token for the project shop for a minute, that may read everything; with some claims changed.
    pub(crate) fn token(&self, node: &Node, kid: &str, changes: Value) -> String {
        self.sign(
            &Header { kid: Some(kid.to_owned()), ..Header::new(self.algorithm) },
            &claims(node, changes),
        )
    }

    pub(crate) fn sign(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.encoding).expect("a token")
    }
}

/// A public key of 1024 bits, which is too weak.
pub(crate) const WEAK_RSA: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDRtUus4YJOSX/V3yPS8UyGBCgC
a15o9HFGR8AKHfG6DnrSFIWDQZOCoHKqpiYiM+9ANkYdwebFb10HX62zIneyWtpU
nIq83wsGEzdrSZgykLMC3zj0aYqc1wpyZaCE76oa7ucA7nM/4mCleyhybgGSo2VU
l1P93MykFnKwwXqVUwIDAQAB
-----END PUBLIC KEY-----";

/// Good claims for the project shop, with some changed; null takes one away.
pub(crate) fn claims(node: &Node, changes: Value) -> Value {
    let now = node.app.clock.now().timestamp();
    let mut claims = json!({
        "sub": "ada", "aud": "nuncio:shop", "exp": now + 60, "nuncio": {"subscribe": ["#"]},
    });
    for (name, value) in changes.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    claims.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
    claims
}

fn pem(tag: &str, der: &[u8]) -> String {
    pem::encode(&pem::Pem::new(tag, der))
}

/// A server that publishes keys, and whatever else it is told to answer.
pub(crate) struct Publisher {
    pub(crate) url: String,
    state: Arc<State>,
}

struct State {
    answer: Mutex<(StatusCode, String)>,
    asked: AtomicUsize,
    /// One is taken by each answer: without any they wait.
    gate: Semaphore,
}

impl Publisher {
    /// Publishes these keys at a free port.
    pub(crate) async fn start(keys: &[Value]) -> Self {
        let answer = Mutex::new((StatusCode::OK, json!({ "keys": keys }).to_string()));
        let gate = Semaphore::new(Semaphore::MAX_PERMITS);
        let state = Arc::new(State { answer, asked: AtomicUsize::new(0), gate });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/keys", listener.local_addr().expect("bound"));
        let served = state.clone();
        let handler = move || {
            let state = served.clone();
            async move {
                state.asked.fetch_add(1, Ordering::SeqCst);
                state.gate.acquire().await.expect("never closed").forget();
                let (status, body) = state.answer.lock().clone();
                let mut headers = HeaderMap::new();
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                if status.is_redirection() {
                    headers.insert(header::LOCATION, HeaderValue::from_static("/other"));
                }
                (status, headers, body)
            }
        };
        let router = axum::Router::new().route("/keys", get(handler.clone())).route("/other", get(handler));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, state }
    }

    /// Publishes these keys from now on.
    pub(crate) fn publish(&self, keys: &[Value]) {
        self.answer(StatusCode::OK, json!({ "keys": keys }).to_string());
    }

    /// Answers so from now on.
    pub(crate) fn answer(&self, status: StatusCode, body: String) {
        *self.state.answer.lock() = (status, body);
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }

    /// Lets answers wait, until [`Self::let_go`].
    pub(crate) fn hold(&self) {
        self.state.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(crate) fn let_go(&self) {
        self.state.gate.add_permits(Semaphore::MAX_PERMITS >> 1);
    }
}
