//! Documents that were parsed and validated before.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;

use super::super::positions::Positions;
use super::super::schema;
use super::Shape;

/// How many documents are remembered.
const DOCUMENTS: NonZeroUsize = NonZeroUsize::new(1_024).expect("it is not zero");
/// The longest that is remembered, in bytes.
const MAX_BYTES: usize = 8 << 10;

/// A document and the name of one of its operations.
type Key = (Box<str>, Option<Box<str>>);

/// What documents are judged by, and what is known of those that were used before.
#[derive(Debug)]
pub(in crate::graphql) struct Documents {
    /// What the schema wants of variables.
    pub(in crate::graphql) positions: Positions,
    /// The shapes of those that were used last. Only valid ones come here, and only those that can be shared.
    shapes: Mutex<LruCache<Key, Arc<Shape>>>,
}

impl Default for Documents {
    fn default() -> Self {
        let shapes = Mutex::new(LruCache::new(DOCUMENTS));
        Self { positions: Positions::of(&schema::sdl()), shapes }
    }
}

impl Documents {
    /// The shape of an operation that is known to be valid.
    pub(super) fn get(&self, document: &str, operation: Option<&str>) -> Option<Arc<Shape>> {
        if document.len() > MAX_BYTES {
            return None;
        }
        self.shapes.lock().get(&key(document, operation)).cloned()
    }

    /// Remembers an operation that is valid.
    pub(super) fn remember(&self, document: &str, operation: Option<&str>, shape: Arc<Shape>) {
        if document.len() <= MAX_BYTES && operation.is_none_or(|name| name.len() <= MAX_BYTES) {
            self.shapes.lock().put(key(document, operation), shape);
        }
    }
}

fn key(document: &str, operation: Option<&str>) -> Key {
    (document.into(), operation.map(Box::from))
}
