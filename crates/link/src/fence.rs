//! The check that makes a paused leader harmless. Who mints tokens: the leader's hub, from its view.
//! Who stores the highest one: the agent.

use paceline_types::FenceToken;

/// Whether an order under `token` may be followed by an agent that has stored `highest`.
/// Equal tokens pass: a full set travels in several parts under one token.
#[must_use]
pub fn fence_accepts(highest: FenceToken, token: FenceToken) -> bool {
    token >= highest
}

#[cfg(test)]
mod tests {
    use super::*;
    use paceline_types::{Generation, Revision, Term};

    fn token(generation: u32, term: u64, revision: u64) -> FenceToken {
        FenceToken { generation: Generation(generation), term: Term(term), revision: Revision(revision) }
    }

    #[test]
    fn a_paused_leaders_orders_are_dropped_whatever_their_revision() {
        let successor = token(1, 8, 100);
        assert!(!fence_accepts(successor, token(1, 7, 100)));
        assert!(!fence_accepts(successor, token(1, 7, 5_000)));
        assert!(!fence_accepts(successor, token(1, 8, 99)));
    }

    #[test]
    fn the_same_token_passes_again_and_a_restore_outranks_everything() {
        let stored = token(1, 8, 100);
        assert!(fence_accepts(stored, stored));
        assert!(fence_accepts(stored, token(1, 8, 101)));
        assert!(fence_accepts(stored, token(2, 1, 1)));
        assert!(fence_accepts(FenceToken::default(), stored));
    }
}
