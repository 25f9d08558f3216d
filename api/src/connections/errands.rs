//! Questions to all api nodes. They do not know each other's addresses, so that a question goes by way of the database:
//! every node looks for new ones a few times a second, and whoever asks waits for the answers for a few seconds.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use nuncio_model::{Code, ProjectId};
use nuncio_store::{LIVE_WITHIN, Store};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{Choice, Connections, Listed, Listing};
use crate::error::ApiError;
use crate::feed::Feeds;

/// How often this node looks whether others ask something.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often it looks for answers to what it asks itself.
const LISTEN_EVERY: Duration = Duration::from_millis(50);
/// How long it waits for them.
const PATIENCE: Duration = Duration::from_secs(3);
/// How many questions of this node may be open at a time.
const MOST_OPEN: usize = 16;

/// A question.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Errand {
    /// Which connections are there?
    List(Listing),
    /// End these.
    Disconnect(Choice),
}

/// A node's answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// Its part of the list.
    Listed(Listed),
    /// How many it has ended.
    Disconnected(usize),
}

/// All answers.
#[derive(Debug)]
pub(crate) struct Heard {
    /// By the nodes that gave them, this one among them.
    pub(crate) answers: Vec<(String, Answer)>,
    /// The live nodes that gave none in time, in the order of their names.
    pub(crate) silent: Vec<String>,
}

/// Asks and answers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Errands {
    store: Store,
    connections: Connections,
    feeds: Feeds,
    open: Arc<Semaphore>,
}

impl Errands {
    pub(crate) fn new(store: Store, connections: Connections, feeds: Feeds) -> Self {
        Self { store, connections, feeds, open: Arc::new(Semaphore::new(MOST_OPEN)) }
    }

    /// Answers what other nodes ask, until told to stop.
    pub(crate) async fn keep(self, stop: CancellationToken) {
        let (mut look, mut away) = (interval(LOOK_EVERY), false);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(look.tick()).await.is_some() {
            let failed = self.answer_all().await.err();
            if let (Some(error), false) = (&failed, away) {
                let error = error as &dyn std::error::Error;
                tracing::warn!(error, "what other nodes ask cannot be looked for");
            }
            away = failed.is_some();
        }
    }

    async fn answer_all(&self) -> nuncio_store::Result<()> {
        for errand in self.store.open_errands(self.connections.node()).await? {
            let asked = serde_json::from_str(&errand.request).map_err(|error| error.to_string());
            let answer = asked.and_then(|asked| {
                let answer = self.answer(errand.project, &asked);
                serde_json::to_string(&answer).map_err(|error| error.to_string())
            });
            match answer {
                Ok(answer) => {
                    self.store.answer_errand(errand.id, self.connections.node(), &answer).await?;
                }
                // A node of another version asks in words that this one does not know; it is told of a silent node.
                Err(error) => tracing::debug!(error, "another node asks what is not understood here"),
            }
        }
        Ok(())
    }

    fn answer(&self, project: ProjectId, errand: &Errand) -> Answer {
        match errand {
            Errand::List(listing) => {
                let head = self.feeds.tip(project).map(|tip| tip.position);
                Answer::Listed(self.connections.list(project, listing, head))
            }
            Errand::Disconnect(choice) => Answer::Disconnected(self.connections.disconnect(project, choice)),
        }
    }

    /// Asks all live api nodes, this one among them, and waits for their answers for at most three seconds.
    ///
    /// # Errors
    /// `UNAVAILABLE` without the database; `RATE_LIMITED` where this node waits for too many answers already.
    pub(crate) async fn ask(&self, project: ProjectId, errand: &Errand) -> Result<Heard, ApiError> {
        let Ok(_open) = self.open.try_acquire() else {
            let detail = "this node is asking all others too much at a time; try again in a moment";
            return Err(ApiError::new(Code::RateLimited, detail));
        };
        let own = self.connections.node();
        let concerned = match errand {
            Errand::List(listing) => listing.choice.nodes(),
            Errand::Disconnect(choice) => choice.nodes(),
        };
        let is_concerned = |node: &str| concerned.as_ref().is_none_or(|nodes| nodes.contains(&node));
        let live = self.store.live_nodes("api", LIVE_WITHIN).await?;
        let mut silent: BTreeSet<String> =
            live.into_iter().filter(|node| node != own && is_concerned(node)).collect();
        let mut heard = vec![(own.to_owned(), self.answer(project, errand))];
        if !silent.is_empty() {
            let request = serde_json::to_string(errand).map_err(ApiError::internal)?;
            let id = self.store.ask_nodes(project, own, &request).await?;
            let listened = self.listen(id, &mut heard, &mut silent).await;
            // Whether it is closed now or swept later is nothing to whoever asked.
            let _ = self.store.close_errand(id).await;
            listened?;
        }
        Ok(Heard { answers: heard, silent: silent.into_iter().collect() })
    }

    /// Gathers answers until nobody is silent any more, or the time is over.
    async fn listen(
        &self,
        id: i64,
        heard: &mut Vec<(String, Answer)>,
        silent: &mut BTreeSet<String>,
    ) -> Result<(), ApiError> {
        let until = Instant::now() + PATIENCE;
        while !silent.is_empty() && Instant::now() < until {
            tokio::time::sleep(LISTEN_EVERY).await;
            let known: Vec<String> = heard.iter().map(|(node, _)| node.clone()).collect();
            for (node, text) in self.store.errand_answers(id, &known).await? {
                let answer = serde_json::from_str(&text).map_err(ApiError::internal)?;
                silent.remove(&node);
                heard.push((node, answer));
            }
        }
        Ok(())
    }
}
