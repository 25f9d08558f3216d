//! Filters that were compiled before.

use std::num::NonZeroUsize;

use lru::LruCache;
use parking_lot::Mutex;

use super::Filter;
use crate::error::ApiError;

/// How many filters are remembered.
const FILTERS: NonZeroUsize = NonZeroUsize::new(1_024).expect("it is not zero");

/// The filters that were asked for last: a thousand subscribers that come back with the same one compile it once.
#[derive(Debug)]
pub struct Filters(Mutex<LruCache<Box<str>, Filter>>);

impl Default for Filters {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(FILTERS)))
    }
}

impl Filters {
    /// The filter of this text.
    ///
    /// # Errors
    /// As [`Filter::compile`].
    pub fn get(&self, text: &str) -> Result<Filter, ApiError> {
        self.parse(text).map_err(Filter::refused)
    }

    /// The same, for whoever gathers all that is wrong with a request.
    ///
    /// # Errors
    /// As [`Filter::parse`].
    pub(crate) fn parse(&self, text: &str) -> Result<Filter, String> {
        let text = text.trim();
        if let Some(filter) = self.0.lock().get(text) {
            return Ok(filter.clone());
        }
        let filter = Filter::parse(text)?;
        metrics::counter!("nuncio_filters_compiled_total").increment(1);
        self.0.lock().put(text.into(), filter.clone());
        Ok(filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_compiled_once_and_a_bad_one_is_refused_each_time() {
        let filters = Filters::default();
        let first = filters.get("type == 'a'").expect("a good filter");
        assert_eq!(filters.get("type == 'a'").expect("a good filter"), first);
        assert!(filters.get("type ==").is_err() && filters.get("type ==").is_err());
        assert_eq!(filters.0.lock().len(), 1);
    }
}
