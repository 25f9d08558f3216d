//! What makes two streams the same to a group: their events are written once, for all of them.

use std::sync::Arc;

use nuncio_model::Pattern;

use super::frame;
use crate::filter::Filter;
use crate::hub::{Content, GroupKey, Render};
use crate::live::Framing;

/// How the events of a stream are written.
#[derive(Clone, Debug)]
pub(super) struct Form {
    /// Whether events are named by their type.
    pub(super) typed: bool,
    /// What goes around each event.
    pub(super) framing: Framing,
    /// Which events are wanted; all where there is none.
    pub(super) filter: Option<Filter>,
}

impl Form {
    /// The group of those who are given the events of these patterns in this form.
    pub(super) fn group(&self, patterns: Arc<[Pattern]>) -> GroupKey {
        let typed = if self.typed { " typed" } else { "" };
        let mut form = format!("sse {:?}{typed}", self.framing);
        if let Some(filter) = &self.filter {
            form.push_str(" where ");
            form.push_str(filter.text());
        }
        GroupKey { patterns, form: form.into() }
    }

    /// What the group makes of an event: all that is written to each socket for it.
    pub(super) fn render(self) -> Render {
        let Self { typed, framing, filter } = self;
        Box::new(move |event| {
            if filter.as_ref().is_some_and(|filter| !filter.matches(event)) {
                return None;
            }
            let mut out = Vec::with_capacity(512);
            frame::event(&mut out, event, typed);
            Some(Content::Text(framing.wrap(out)))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use nuncio_model::{Channel, Data, Draft, Event, ProjectId};

    use super::*;
    use crate::hub::{Bounds, Hub, Segment, Tip};

    fn form(typed: bool, framing: Framing, filter: Option<&str>) -> Form {
        let filter = filter.map(|text| Filter::compile(text).expect("a good filter"));
        Form { typed, framing, filter }
    }

    fn event(position: i64) -> Arc<Event> {
        let draft = Draft {
            channel: Channel::parse("orders").expect("a good name"),
            id: position.to_string(),
            source: "/s".to_owned(),
            r#type: "made".to_owned(),
            subject: None,
            time: None,
            content_type: None,
            data: Data::Json(Bytes::from(format!("{{\"n\":{position}}}"))),
            extensions: Default::default(),
        };
        let stored_at = "2026-01-31T12:00:00Z".parse().expect("a time");
        Arc::new(Event { project: ProjectId(1), epoch: 1, position, sequence: position, stored_at, draft })
    }

    /// The forms of three members, the second and third the same, and what each is given of the events 1 to 3.
    fn given(forms: [Form; 3]) -> (Vec<Vec<Bytes>>, usize) {
        let hub = Hub::new(Bounds { ring_bytes: 1 << 20, line_bytes: 1 << 20, lines_bytes: 1 << 20 });
        let ((stream, _), bell, renders) =
            (hub.open(ProjectId(1)), Arc::default(), Arc::new(AtomicUsize::new(0)));
        stream.learn_head(1, 0);
        stream.pump();
        let patterns: Arc<[Pattern]> = Arc::new([Pattern::parse("orders").expect("a good pattern")]);
        let join = |form: Form| {
            let count = renders.clone();
            let key = form.group(patterns.clone());
            let counted = || -> Render {
                let render = form.render();
                Box::new(move |event| {
                    count.fetch_add(1, Ordering::Relaxed);
                    render(event)
                })
            };
            stream.join(&key, counted, &bell, 0)
        };
        let seats = forms.map(join);
        stream.accept(Segment { epoch: 1, after: 0, through: 3, events: (1..=3).map(event).collect() });
        while stream.pump() {}
        let take = |seat: &crate::hub::Seat| {
            let mut frames = Vec::new();
            seat.take(Tip { epoch: 1, position: 0 }, |entry| {
                if let Content::Text(frame) = &entry.content {
                    frames.push(frame.clone());
                }
                true
            });
            frames
        };
        (seats.iter().map(take).collect(), renders.load(Ordering::Relaxed))
    }

    #[test]
    fn an_event_is_written_once_for_all_streams_of_a_form() {
        let typed = form(true, Framing::Chunked, None);
        let (frames, renders) = given([form(false, Framing::Chunked, None), typed.clone(), typed]);
        assert_eq!(renders, 6, "three events for two groups");
        assert!(frames.iter().all(|frames| frames.len() == 3));
        for (frame, same) in frames[1].iter().zip(&frames[2]) {
            assert_eq!(frame.as_ptr(), same.as_ptr(), "they share the bytes");
        }
        assert!(!frames[0].contains(&frames[1][0]));
    }

    #[test]
    fn what_streams_do_not_share_makes_them_different() {
        let patterns: Arc<[Pattern]> = Arc::new([Pattern::parse("a").expect("a good pattern")]);
        let forms = [
            form(false, Framing::Chunked, None),
            form(true, Framing::Chunked, None),
            form(false, Framing::Bare, None),
            form(false, Framing::Chunked, Some("data.n > 1")),
            form(false, Framing::Chunked, Some("data.n > 2")),
        ];
        let keys: std::collections::HashSet<_> = forms.map(|form| form.group(patterns.clone())).into();
        assert_eq!(keys.len(), 5);
    }

    #[test]
    fn only_what_the_filter_wants_is_written() {
        let few = form(false, Framing::Chunked, Some(" data.n > 1 "));
        let (frames, _) = given([form(false, Framing::Bare, None), few.clone(), few]);
        assert_eq!((frames[0].len(), frames[1].len()), (3, 2));
    }
}

#[cfg(test)]
mod hot {
    use super::*;
    use crate::hot::repeat;
    use crate::hub::tests::event;

    #[test]
    fn frame() {
        let (form, event) = (Form { typed: false, framing: Framing::Chunked, filter: None }, event(1, 7));
        let render = form.render();
        repeat(|_| render(&event));
    }
}
