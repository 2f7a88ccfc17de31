//! Keeps a library that says the same several times a second, for as long as a master is away, from filling the log.
//!
//! A warning of openraft comes at most once in some seconds from one place in its source. Its errors, and whatever our
//! own crates say, always come; and whoever asks for debug lines gets all there is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// Whose warnings are thinned.
const CHATTY: &str = "openraft";
/// At most one warning of one place in this time: an operator sees that it goes on, and what else there is.
const PAUSE: Duration = Duration::from_secs(10);

/// A place in the source: its module and its line.
type Place = (&'static str, Option<u32>);

/// The filter; it remembers one moment for each place, of which there are some dozens.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    spoken: Mutex<BTreeMap<Place, Instant>>,
}

impl Quiet {
    fn may_speak(&self, of: &'static Metadata<'static>, now: Instant) -> bool {
        let is_chatty = of.target().split("::").next() == Some(CHATTY) && *of.level() == Level::WARN;
        if !is_chatty {
            return true;
        }
        let mut spoken = self.spoken.lock();
        let place = (of.target(), of.line());
        if spoken.get(&place).is_some_and(|last| now.duration_since(*last) < PAUSE) {
            return false;
        }
        spoken.insert(place, now);
        true
    }
}

impl<S: Subscriber> Layer<S> for Quiet {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.may_speak(event.metadata(), Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// Counts what passes, by the place it comes from.
    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<BTreeMap<Place, usize>>>);

    impl<S: Subscriber> Layer<S> for Heard {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let metadata = event.metadata();
            *self.0.lock().entry((metadata.target(), metadata.line())).or_default() += 1;
        }
    }

    #[test]
    fn a_warning_that_comes_again_and_again_is_thinned_and_nothing_else_is() {
        let heard = Heard::default();
        let lines = tracing_subscriber::registry().with(heard.clone()).with(Quiet::default());
        tracing::subscriber::with_default(lines, || {
            for _ in 0..50 {
                tracing::warn!(target: "openraft::replication", "cannot reach 2");
                tracing::warn!(target: "openraft::replication", "cannot reach 3");
                tracing::error!(target: "openraft::core", "the disk failed");
                tracing::warn!(target: "openraft_like::core", "another's");
                tracing::warn!("ours");
            }
        });
        let counts: Vec<usize> = heard.0.lock().values().copied().collect();
        let said_once = counts.iter().filter(|count| **count == 1).count();
        let said_always = counts.iter().filter(|count| **count == 50).count();
        assert_eq!((counts.len(), said_once, said_always), (5, 2, 3), "{counts:?}");
    }

    #[test]
    fn after_the_pause_it_is_said_again() {
        let metadata = Arc::new(Mutex::new(None));
        #[derive(Clone)]
        struct Keep(Arc<Mutex<Option<&'static Metadata<'static>>>>);
        impl<S: Subscriber> Layer<S> for Keep {
            fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
                *self.0.lock() = Some(event.metadata());
            }
        }
        let lines = tracing_subscriber::registry().with(Keep(metadata.clone()));
        tracing::subscriber::with_default(lines, || tracing::warn!(target: "openraft::replication", "away"));
        let place = metadata.lock().expect("an event");
        let (quiet, start) = (Quiet::default(), Instant::now());
        let said = [Duration::ZERO, PAUSE / 2, PAUSE, PAUSE + PAUSE / 2, PAUSE * 2];
        let said = said.map(|after| quiet.may_speak(place, start + after));
        assert_eq!(said, [true, false, true, false, true]);
    }
}
