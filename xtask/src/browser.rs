//! The browser of the tests: a Chromium or Chrome that is there already, or Debian's package.

use std::path::PathBuf;

use crate::install;
use crate::step::{self, Failure};

/// Names it instead of a search.
const VARIABLE: &str = "NUNCIO_TEST_CHROMIUM";

const NAMES: [&str; 5] =
    ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "google-chrome-for-testing"];

/// Beside PATH.
const PLACES: [&str; 7] = [
    "/usr/bin",
    "/usr/lib/chromium",
    "/usr/lib64/chromium-browser",
    "/opt/google/chrome",
    "/snap/bin",
    "/Applications/Google Chrome.app/Contents/MacOS",
    "/Applications/Chromium.app/Contents/MacOS",
];

/// Within a macOS application the program is named as the application is.
const MAC_NAMES: [&str; 2] = ["Google Chrome", "Chromium"];

/// Where it is, after it has been installed where that may be done.
pub(crate) fn prepare() -> Result<PathBuf, Failure> {
    if let Some(named) = std::env::var_os(VARIABLE) {
        let named = PathBuf::from(named);
        return if runs(&named) {
            Ok(named)
        } else {
            Err(format!("{VARIABLE}={} cannot be run", named.display()))
        };
    }
    if let Some(found) = find() {
        return Ok(found);
    }
    if install::may_install() {
        install::apt(&["chromium"])?;
        if let Some(installed) = find() {
            return Ok(installed);
        }
    }
    Err(format!(
        "the tests need Chromium or Chrome: `sudo apt-get install chromium` (Debian), `sudo dnf install chromium` \
         (Fedora), `brew install --cask google-chrome` (macOS); one that is elsewhere is named by {VARIABLE}"
    ))
}

/// The first that runs. A file alone says nothing: Ubuntu's `chromium-browser` only tells how to get the real one.
fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(PLACES.map(PathBuf::from));
    let names = || NAMES.iter().chain(&MAC_NAMES);
    let mut places = folders.flat_map(|folder| names().map(move |name| folder.join(name)));
    places.find(|place| place.is_file() && runs(place))
}

fn runs(program: &std::path::Path) -> bool {
    step::works(&program.to_string_lossy(), &["--version"])
}
