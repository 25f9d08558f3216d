//! What no answer and no log may hold: secrets, and the insides of the program.

use std::sync::Arc;

use reqwest::Url;

use crate::place::{ADMIN_KEY, Place, SECRET_KEY, Tenant};

/// What a program says of itself when it breaks.
const INSIDES: [&str; 4] = ["panicked at", "stack backtrace", "RUST_BACKTRACE", "overflowed its stack"];

/// The secrets of a test.
#[derive(Clone)]
pub(crate) struct Leaks(Arc<[String]>);

impl Leaks {
    pub(super) fn new(place: &Place, tenants: &[&Tenant]) -> Self {
        let fixed = [ADMIN_KEY, SECRET_KEY].map(str::to_owned);
        let passwords = [&place.database.url, &place.vhost.url].map(|url| password(url));
        let keys = tenants.iter().map(|tenant| tenant.key.clone());
        Self(fixed.into_iter().chain(passwords).chain(keys).collect())
    }

    /// Checks what a client was told.
    #[track_caller]
    pub(crate) fn assert_clean(&self, text: &str) {
        let secret = self.0.iter().find(|secret| text.contains(secret.as_str()));
        assert!(secret.is_none(), "a secret was told: {text}");
        let inside = INSIDES.into_iter().chain([".rs:"]).find(|inside| text.contains(inside));
        assert!(inside.is_none(), "the inside of the program was told: {text}");
    }

    /// Checks what was logged. Whatever a client sends is no defect of ours, so nothing is logged as one either.
    #[track_caller]
    pub(super) fn assert_clean_log(&self, lines: &[String], after: &str) {
        for line in lines {
            let secret = self.0.iter().find(|secret| line.contains(secret.as_str()));
            assert!(secret.is_none(), "a secret in the log after {after}: {line}");
            let broken = INSIDES.into_iter().chain([r#""level":"ERROR""#]).find(|word| line.contains(word));
            assert!(broken.is_none(), "after {after}: {line}");
        }
    }
}

fn password(url: &str) -> String {
    let url = Url::parse(url).expect("a URL");
    url.password()
        .filter(|password| !password.is_empty())
        .expect("the servers of tests have passwords")
        .to_owned()
}
