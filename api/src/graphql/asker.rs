//! Whoever an operation is executed for, for as long as it runs.

use std::sync::Arc;

use nuncio_model::{Action, Identity, Pattern};
use parking_lot::Mutex;

use crate::auth::standing::lost;
use crate::error::ApiError;

/// Who is asking now, and what the operation lives by.
///
/// What an operation needs is known only when its fields are executed, which may be a while after it was started. So it
/// asks here who is asking, notes what it was allowed, and is judged by that when rights are taken away.
#[derive(Debug)]
pub(super) struct Asker(Mutex<State>);

#[derive(Debug)]
struct State {
    identity: Arc<Identity>,
    needs: Vec<(Action, Pattern)>,
}

impl Asker {
    pub(super) fn new(identity: Arc<Identity>) -> Self {
        Self(Mutex::new(State { identity, needs: Vec::new() }))
    }

    /// Who is asking.
    pub(super) fn identity(&self) -> Arc<Identity> {
        self.0.lock().identity.clone()
    }

    /// Checks a right that the operation needs for as long as it runs.
    ///
    /// # Errors
    /// Those of `check`.
    pub(super) fn hold(
        &self,
        (action, pattern): (Action, &Pattern),
        check: impl FnOnce(&Identity) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        // Under the lock: rights that are taken away after the check find what is held by it.
        let mut state = self.0.lock();
        check(&state.identity)?;
        state.needs.push((action, pattern.clone()));
        Ok(())
    }

    /// From now on it is asked with other rights. What the operation has lost by that, if anything.
    pub(super) fn change(&self, identity: &Arc<Identity>) -> Option<ApiError> {
        let mut state = self.0.lock();
        state.identity = identity.clone();
        lost(identity, state.needs.iter().map(|(action, pattern)| (*action, pattern)))
    }
}

#[cfg(test)]
mod tests {
    use nuncio_model::rights::{Proof, RightsText};
    use nuncio_model::{ProjectId, ProjectName, Rights};

    use super::*;
    use crate::auth::require_pattern;

    fn identity(subscribe: &str) -> Arc<Identity> {
        let text = RightsText { subscribe: vec![subscribe.to_owned()], ..RightsText::default() };
        Arc::new(Identity {
            project: ProjectId(1),
            project_name: ProjectName::parse("demo").expect("good"),
            subject: None,
            rights: Rights::parse(&text).expect("good"),
            expires_at: None,
            address: None,
            proof: Proof::ApiKey("nk_a".to_owned()),
        })
    }

    #[test]
    fn an_operation_is_judged_by_what_it_was_allowed_and_asks_with_the_rights_of_now() {
        let (asker, pattern) = (Asker::new(identity("#")), Pattern::parse("orders.*").expect("good"));
        let hold = |asker: &Asker| {
            asker.hold((Action::Subscribe, &pattern), |identity| {
                require_pattern(identity, Action::Subscribe, &pattern)
            })
        };
        assert!(asker.change(&identity("stock")).is_none(), "it holds nothing yet");
        assert!(hold(&asker).is_err(), "and asks with the rights of now");
        assert!(asker.change(&identity("orders.#")).is_none());
        hold(&asker).expect("allowed");
        assert!(asker.change(&identity("#")).is_none());
        let error = asker.change(&identity("orders.eu")).expect("lost");
        assert_eq!(error.detail, "the right to read orders.* was taken away");
    }
}
