//! Batches: messages taken together, decoded as they come, to be stored by one commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use nuncio_broker::Message;
use nuncio_model::PublisherKind;
use nuncio_model::limits::{MAX_BATCH_BYTES, MAX_BATCH_EVENTS};
use nuncio_store::{Entry, NewDeadLetter, Policy, Project};

use crate::decode::decode;
use crate::reason::Rejection;

/// Messages of one project in the order they came, and the events they hold.
#[derive(Debug)]
pub(crate) struct Batch {
    project: Arc<Project>,
    taken: Vec<Taken>,
    /// The decoded events, until they are handed to the store; a further attempt decodes them again, which costs the
    /// ordinary case no copy.
    entries: Option<Vec<Entry>>,
    bytes: usize,
}

/// One message, and what became of it.
#[derive(Debug)]
struct Taken {
    message: Message,
    made_id: Option<String>,
    rejection: Option<Rejection>,
}

impl Batch {
    /// An empty batch under these settings.
    pub(crate) fn new(project: Arc<Project>) -> Self {
        Self { project, taken: Vec::new(), entries: Some(Vec::new()), bytes: 0 }
    }

    /// Adds a message that is to be stored, if it can be an event.
    pub(crate) fn push(&mut self, message: Message) {
        let mut taken = Taken { message, made_id: None, rejection: None };
        self.bytes += taken.message.body.len();
        let number = self.taken.len();
        taken.decode(&self.project, number, self.entries.get_or_insert_default());
        self.taken.push(taken);
    }

    /// Adds a message that is to become a dead letter, whatever is in it.
    pub(crate) fn push_rejected(&mut self, message: Message, rejection: Rejection) {
        self.bytes += message.body.len();
        self.taken.push(Taken { message, made_id: None, rejection: Some(rejection) });
    }

    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }

    /// How many messages are in it.
    pub(crate) fn len(&self) -> usize {
        self.taken.len()
    }

    /// The namespaces of the events of a message, by its place, and how many there are in each.
    pub(crate) fn namespaces(&self, number: usize) -> BTreeMap<&str, u64> {
        let mut namespaces = BTreeMap::new();
        let entries = self.entries.as_deref().unwrap_or_default();
        // They stand in the order of their messages.
        let first = entries.partition_point(|entry| (entry.batch as usize) < number);
        for entry in entries[first..].iter().take_while(|entry| entry.batch as usize == number) {
            *namespaces.entry(entry.draft.channel.namespace()).or_default() += 1;
        }
        namespaces
    }

    /// Takes so many messages from the front, as a batch of their own.
    pub(crate) fn take_front(&mut self, count: usize) -> Self {
        let rest = self.taken.split_off(count.min(self.taken.len()));
        let taken = std::mem::replace(&mut self.taken, rest);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let entries = self.entries.as_mut().map(|entries| {
            let later = entries.split_off(entries.partition_point(|entry| entry.batch < count));
            let front = std::mem::replace(entries, later);
            entries.iter_mut().for_each(|entry| entry.batch -= count);
            front
        });
        let bytes = taken.iter().map(|taken| taken.message.body.len()).sum();
        self.bytes -= bytes;
        Self { project: self.project.clone(), taken, entries, bytes }
    }

    /// Whether it is as large as one commit should be.
    pub(crate) fn is_full(&self) -> bool {
        let events = self.entries.as_ref().map_or(0, Vec::len);
        self.taken.len().max(events) >= MAX_BATCH_EVENTS || self.bytes >= MAX_BATCH_BYTES
    }

    /// The number of its last message on the connection; acknowledging it acknowledges the whole batch.
    pub(crate) fn last_tag(&self) -> u64 {
        self.taken.last().map_or(0, |taken| taken.message.tag)
    }

    /// The events for the store; an entry's batch number is the place of its message.
    pub(crate) fn take_entries(&mut self) -> Vec<Entry> {
        if let Some(entries) = self.entries.take() {
            return entries;
        }
        let mut entries = Vec::new();
        for (number, taken) in self.taken.iter_mut().enumerate() {
            if taken.rejection.is_none() {
                taken.decode(&self.project, number, &mut entries);
            }
        }
        entries
    }

    /// Makes a message a dead letter; the first reason stays.
    pub(crate) fn reject(&mut self, number: usize, rejection: Rejection) {
        if let Some(taken) = self.taken.get_mut(number) {
            taken.rejection.get_or_insert(rejection);
        }
    }

    /// The dead letters of this batch, in order.
    pub(crate) fn dead_letters(&self) -> Vec<NewDeadLetter> {
        self.taken.iter().filter_map(Taken::dead_letter).collect()
    }

    /// Each message as a batch of its own.
    pub(crate) fn split(self) -> impl Iterator<Item = Self> {
        let project = self.project;
        self.taken.into_iter().map(move |taken| Self {
            project: Arc::clone(&project),
            bytes: taken.message.body.len(),
            taken: vec![taken],
            entries: None,
        })
    }
}

impl Taken {
    fn decode(&mut self, project: &Project, number: usize, entries: &mut Vec<Entry>) {
        let batch = u32::try_from(number).expect("a batch ends at a thousand messages");
        let known = entries.len();
        if let Err(rejection) = self.try_decode(project, batch, entries) {
            entries.truncate(known);
            self.rejection = Some(rejection);
        }
    }

    fn try_decode(
        &mut self,
        project: &Project,
        batch: u32,
        entries: &mut Vec<Entry>,
    ) -> Result<(), Rejection> {
        for draft in decode(&self.message, &mut self.made_id)? {
            let rules = project.rules(&draft.channel);
            draft.check(rules, PublisherKind::Amqp)?;
            entries.push(Entry { policy: Policy::of(&rules.settings), draft, batch });
        }
        Ok(())
    }

    fn dead_letter(&self) -> Option<NewDeadLetter> {
        let Rejection { reason, detail } = self.rejection.clone()?;
        let Message { routing_key, exchange, properties, body, .. } = &self.message;
        Some(NewDeadLetter {
            reason,
            detail,
            routing_key: routing_key.clone(),
            exchange: exchange.clone(),
            properties: properties.to_json(),
            body: body.clone(),
        })
    }
}
