//! SetConfig: all values of a change or none.

use std::sync::Arc;

use super::{Outcome, Work};
use crate::config::ConfigChange;
use crate::event::Event;
use crate::refusal::Refusal;
use crate::reply::Reply;

impl Work<'_> {
    pub(super) fn set_config(&mut self, change: &ConfigChange) -> Outcome {
        let next = self.cell.config.with(change);
        let next = next.map_err(|found| Refusal::InvalidArgument(Refusal::violations(found)))?;
        if next != *self.cell.config {
            self.cell.config = Arc::new(next);
            self.events.push(Event::ConfigChanged);
        }
        Ok(Reply::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::testing::Bench;
    use crate::command::CommandBody;
    use crate::config::{CellConfig, Setting};

    fn set(bench: &mut Bench, settings: &[(Setting, u64)]) -> Reply {
        let settings = settings.iter().copied().collect();
        bench.one(CommandBody::SetConfig(ConfigChange { settings, failure_domains: None }))
    }

    #[test]
    fn one_bad_value_refuses_the_whole_change() {
        let mut bench = Bench::new();
        let reply = set(&mut bench, &[(Setting::HistoryJobs, 5), (Setting::MaxAttempts, 0)]);
        match reply {
            Reply::Refused(Refusal::InvalidArgument(found)) => {
                assert_eq!(found[0].to_string(), "max_attempts: `0`: expected 1 to 65535");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(*bench.cell.config(), CellConfig::default());
    }

    #[test]
    fn what_is_not_named_stays() {
        let mut bench = Bench::new();
        assert_eq!(set(&mut bench, &[(Setting::HistoryJobs, 5)]), Reply::Done);
        let expected = CellConfig { history_jobs: 5, ..CellConfig::default() };
        assert_eq!(*bench.cell.config(), expected);
        assert_eq!(bench.events, [Event::ConfigChanged]);
        bench.events.clear();
        set(&mut bench, &[(Setting::HistoryJobs, 5)]);
        assert!(bench.events.is_empty(), "nothing changed");
    }
}
