//! replaying the bytes of a log yields identical state, replies and events.

use paceline_cell::{Cell, Entry};
use paceline_types::Revision;
use proptest::prelude::*;

use crate::world;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn replaying_the_log_yields_identical_state(history in world::history(40)) {
        let mut live = Cell::genesis("replay");
        let mut log = Vec::new();
        for asked in history {
            let entry = world::entry(&live, &asked);
            let applied = world::apply(&mut live, &entry);
            log.push((entry.encode().expect("small"), applied, live.digest()));
        }
        let mut replayed = Cell::genesis("replay");
        for (revision, (bytes, applied, digest)) in (1..).zip(log) {
            let entry = Entry::decode(&bytes).expect("was encoded");
            prop_assert_eq!(replayed.apply(Revision(revision), &entry), applied);
            prop_assert_eq!(replayed.digest(), digest);
        }
    }

    #[test]
    fn a_published_view_does_not_change(history in world::history(40)) {
        let mut cell = Cell::genesis("views");
        let mut views = Vec::new();
        for asked in history {
            views.push((cell.clone(), cell.digest()));
            let entry = world::entry(&cell, &asked);
            world::apply(&mut cell, &entry);
        }
        for (view, digest) in views {
            prop_assert_eq!(view.digest(), digest);
            prop_assert_eq!(view.check(), Vec::<String>::new());
        }
    }
}
