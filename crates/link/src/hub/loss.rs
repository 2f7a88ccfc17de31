//! Nodes that vanish: who is silent for so long that its tasks run elsewhere, and when the leader is in no position to
//! say so.
//!
//! A write-off is proposed here and decided by the cell, which compares the silence with each job's `replace_after`. None
//! is proposed
//! - in a report round: after the leader took office, was paused, or heard no shard at all, until every node was heard
//!   or two detection periods have passed;
//! - while no majority of the masters answers: it could not be decided, and its node may be back when it is;
//! - for a node whose shard is away while the cell lists it: the node may be there and unheard; and while any is away
//!   for a node that was heard through another one, until its agent would have tried a few;
//! - for more than the brake lets through.
//!
//! The silence of a node counts from when this leader last heard of it; what the leader before it knew is not in the
//! log, so a new leader begins at its own start. Nobody speaks for a node while its write-off is on its way.

use std::collections::BTreeSet;

use paceline_types::plant::{Plant, is_planted};
use paceline_types::{NodeName, ShardName};

use super::Hub;
use super::assigned::{Assigned, Standing};
use super::brake::{self, Brake, MassLoss, Seen};
use super::event::{BrakeEnd, HubAction, WriteOff};
use super::node::Node;

/// A leader whose timer did not come for half a detection period was not there to hear anybody, and what it was told
/// meanwhile waits behind the timer. But no detection period is so short that every hiccup counts.
const PAUSE_MS_MIN: u64 = 2_000;

/// Agents wait 30 s for a welcome before they try another shard, and longer each time: one that left its shard may be
/// behind one that is away, alive and unheard, once and then once more.
const ASTRAY_MS: u64 = 60_000;

/// What the hub knows of loss besides its nodes.
#[derive(Debug, Default)]
pub(super) struct Loss {
    /// The end of the report round; nothing when there is none.
    round_until_ms: Option<u64>,
    last_timer_ms: Option<u64>,
    /// At the last timer no shard was there.
    deaf: bool,
    /// No majority of the masters answers.
    alone: bool,
    pub brake: Option<Brake>,
}

impl Loss {
    /// Nobody is written off now.
    fn waits(&self) -> bool {
        self.round_until_ms.is_some() || self.deaf || self.alone
    }
}

/// What people are told of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LossStatus {
    /// How much longer the report round takes at most.
    pub round_left_ms: Option<u64>,
    /// No shard is there, so nobody can be heard.
    pub deaf: bool,
    /// No majority of the masters answers, so nothing can be decided.
    pub alone: bool,
    /// The brake, while it is on.
    pub brake: Option<BrakeStatus>,
}

/// A brake that is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrakeStatus {
    /// For how long.
    pub for_ms: u64,
    /// What is silent together.
    pub cause: MassLoss,
    /// How many nodes have been silent since.
    pub silent: u64,
    /// How many of them were proposed to be written off.
    pub written_off: u64,
    /// How many may be in a minute.
    pub per_minute: u64,
}

/// A node of the cell that nobody speaks for.
struct Silent {
    name: NodeName,
    since_ms: u64,
    standing: Standing,
}

impl Hub {
    /// What people are told.
    #[must_use]
    pub fn loss(&self, now_ms: u64) -> LossStatus {
        let brake = self.loss.brake.as_ref().map(|brake| BrakeStatus {
            for_ms: now_ms.saturating_sub(brake.since_ms),
            cause: brake.cause.clone(),
            silent: brake.members.len() as u64,
            written_off: brake.written_off,
            per_minute: brake::per_minute(self.nodes.len(), &self.config),
        });
        let round_left_ms = self.loss.round_until_ms.map(|until_ms| until_ms.saturating_sub(now_ms));
        LossStatus { round_left_ms, deaf: self.loss.deaf, alone: self.loss.alone, brake }
    }

    /// Takes every node of the cell for one that was there until now.
    pub(super) fn take_office(&mut self, view: &dyn Assigned, now_ms: u64) {
        for name in view.nodes().into_iter().take(self.config.nodes_max) {
            self.nodes.entry(name).or_default().ended_ms = Some(now_ms);
        }
        // A pause before the first timer is one too.
        self.loss.last_timer_ms = Some(now_ms);
        self.begin_round(now_ms);
    }

    pub(super) fn review_loss(&mut self, view: &dyn Assigned, now_ms: u64) {
        self.note_pauses(now_ms);
        self.end_round(view, now_ms);
        let waits = self.loss.waits();
        // Nobody was heard yet, or can be: that is no mass loss, and a new leader has better things to do than to count.
        if waits && self.loss.brake.is_none() {
            return;
        }
        let silent = self.silent(view);
        self.review_brake(&silent, view, now_ms);
        if !waits {
            self.write_off(&silent, now_ms);
        }
    }

    /// Whether a majority of the masters answers. While none did shards may have turned to another leader, so what is
    /// silent then is asked again.
    pub(super) fn majority(&mut self, answers: bool, now_ms: u64) {
        if std::mem::replace(&mut self.loss.alone, !answers) && answers {
            self.begin_round(now_ms);
        }
    }

    fn begin_round(&mut self, now_ms: u64) {
        if is_planted(Plant::NoReportRound) {
            return;
        }
        self.loss.round_until_ms = Some(now_ms.saturating_add(2 * self.config.silence_ms));
    }

    fn note_pauses(&mut self, now_ms: u64) {
        let limit_ms = (self.config.silence_ms / 2).max(PAUSE_MS_MIN);
        let last_ms = self.loss.last_timer_ms.replace(now_ms).unwrap_or(now_ms);
        let was_deaf = std::mem::replace(&mut self.loss.deaf, !self.links.hears_any());
        if now_ms.saturating_sub(last_ms) > limit_ms || (was_deaf && !self.loss.deaf) {
            self.begin_round(now_ms);
        }
    }

    fn end_round(&mut self, view: &dyn Assigned, now_ms: u64) {
        let Some(until_ms) = self.loss.round_until_ms else { return };
        let lost = |name: &NodeName| view.standing(name).is_none_or(|standing| standing.lost);
        let heard = |(name, node): (&NodeName, &Node)| node.has_reported() || lost(name);
        if now_ms >= until_ms || self.nodes.iter().all(heard) {
            self.loss.round_until_ms = None;
        }
    }

    /// Nodes of the cell that are not up. Those that speak and are not welcomed yet are not silent.
    fn silent(&self, view: &dyn Assigned) -> Vec<Silent> {
        let silent = |(name, node): (&NodeName, &Node)| {
            let since_ms = node.silent_since_ms()?;
            let standing = view.standing(name)?;
            Some(Silent { name: name.clone(), since_ms, standing })
        };
        self.nodes.iter().filter_map(silent).collect()
    }

    fn review_brake(&mut self, silent: &[Silent], view: &dyn Assigned, now_ms: u64) {
        let was_member = |name: &NodeName| self.loss.brake.as_ref().is_some_and(|b| b.members.contains(name));
        let released = |name: &NodeName| self.nodes.get(name).is_some_and(|node| node.released);
        let counts = |node: &&Silent| was_member(&node.name) || !node.standing.lost && !released(&node.name);
        let members: BTreeSet<NodeName> =
            silent.iter().filter(counts).map(|node| node.name.clone()).collect();
        if self.loss.brake.is_none() && (members.len() as u64) < u64::from(self.config.brake_nodes) {
            return;
        }
        let gone: BTreeSet<&NodeName> =
            silent.iter().map(|node| &node.name).filter(|name| !members.contains(*name)).collect();
        let seen: Vec<Seen<'_>> = self
            .nodes
            .iter()
            .filter(|(name, _)| !gone.contains(name))
            .map(|(name, node)| Seen {
                name,
                silent_ms: node.silent_since_ms().filter(|_| members.contains(name)),
                shard: node.shard.as_ref(),
                before: node.shard_before.as_ref().map(|(shard, left_ms)| (shard, *left_ms)),
            })
            .collect();
        let domain = |name: &NodeName| view.domain(name);
        let heard = |name: &NodeName| self.nodes.get(name).is_some_and(Node::speaks);
        let cause = match &mut self.loss.brake {
            None => brake::begins(&seen, domain, &self.config, now_ms),
            Some(brake) => {
                brake.note_returns(&members, heard, now_ms);
                let goes_on = brake::goes_on(&seen, domain, &self.config);
                goes_on.or_else(|| brake.comes_back(members.len(), &self.config, now_ms))
            }
        };
        match (cause, &mut self.loss.brake) {
            (Some(_), Some(brake)) => brake.members = members,
            (Some(cause), none) => {
                let silent = members.len() as u64;
                self.outbox.act(HubAction::BrakeOn { cause: cause.clone(), silent });
                *none = Some(Brake::new(cause, members, now_ms));
            }
            (None, Some(_)) => self.ease(&members, now_ms),
            (None, None) => {}
        }
    }

    /// Few enough are silent; those that are may be on their way as the others were.
    fn ease(&mut self, silent: &BTreeSet<NodeName>, now_ms: u64) {
        let not_before_ms = now_ms.saturating_add(2 * self.config.silence_ms);
        for (_, node) in self.nodes.iter_mut().filter(|(name, _)| silent.contains(*name)) {
            node.not_before_ms = not_before_ms;
        }
        self.end_brake(BrakeEnd::FewSilent);
    }

    fn end_brake(&mut self, end: BrakeEnd) {
        if self.loss.brake.take().is_some() {
            self.outbox.act(HubAction::BrakeOff { end });
        }
    }

    /// An operator knows better: whoever is silent now is written off when its time has come, and does not bring the
    /// brake back by staying silent. Not while live nodes are silent too because they cannot have been heard.
    pub(super) fn release_brake(&mut self) {
        if self.loss.waits() {
            return;
        }
        if self.loss.brake.is_some() {
            for node in self.nodes.values_mut().filter(|node| !node.speaks()) {
                node.released = true;
            }
        }
        self.end_brake(BrakeEnd::Released);
    }

    /// Proposes what is due, longest silence first.
    fn write_off(&mut self, silent: &[Silent], now_ms: u64) {
        let mut due: Vec<(&Silent, u64)> =
            silent.iter().filter_map(|node| Some((node, self.due(node, now_ms)?))).collect();
        due.sort_by_key(|(node, _)| node.since_ms);
        let per_minute = brake::per_minute(self.nodes.len(), &self.config);
        for (Silent { name, standing, .. }, silent_ms) in due {
            if self.loss.brake.as_mut().is_some_and(|brake| !brake.admits(per_minute, now_ms)) {
                return;
            }
            if let Some(node) = self.nodes.get_mut(name) {
                node.writing_off = true;
            }
            let &Standing { id, epoch, .. } = standing;
            self.outbox.act(HubAction::WriteOff(WriteOff { name: name.clone(), id, epoch, silent_ms }));
        }
    }

    /// How long a node has been silent, when that is long enough for something on it.
    fn due(&self, silent: &Silent, now_ms: u64) -> Option<u64> {
        let node = self.nodes.get(&silent.name)?;
        let patience_ms = match &silent.standing {
            Standing { lost: true, .. } => return None,
            Standing { idle: true, .. } => self.config.idle_patience_ms,
            Standing { patience_ms, .. } => (*patience_ms)?,
        };
        // Less than a detection period would be over before a mass loss can be seen.
        let silent_ms = now_ms.saturating_sub(silent.since_ms);
        let long = silent_ms >= patience_ms.max(self.config.silence_ms);
        let astray = silent_ms < ASTRAY_MS && self.links.any_is_away();
        let held = node.registering
            || node.writing_off
            || now_ms < node.not_before_ms
            || astray
            || self.shard_is_away(node);
        (long && !held).then_some(silent_ms)
    }

    /// Whether the node may be there, behind a shard that is listed and does not speak to this leader.
    fn shard_is_away(&self, node: &Node) -> bool {
        match &node.lost_with {
            Some(shard) => self.links.is_away(shard),
            None => node.session.is_none() && self.links.any_is_away(),
        }
    }

    /// A shard that was away is here: what it has to say of its nodes comes within a round.
    pub(super) fn shard_is_back(&mut self, shard: &ShardName, now_ms: u64) {
        let not_before_ms = now_ms.saturating_add(2 * self.config.silence_ms);
        for node in self.nodes.values_mut() {
            let with_it = node.lost_with.as_ref() == Some(shard);
            if with_it || (node.lost_with.is_none() && node.session.is_none()) {
                node.not_before_ms = not_before_ms;
            }
        }
    }

    /// A write-off was applied, or nobody knows whether it will be: whoever came back meanwhile has its turn.
    pub(super) fn write_off_settled(
        &mut self,
        name: &NodeName,
        applied: bool,
        view: &dyn Assigned,
        now_ms: u64,
    ) {
        if let Some(node) = self.nodes.get_mut(name) {
            node.writing_off = false;
            node.unsettled = !applied;
        }
        self.introduce_next(name, view, now_ms);
    }
}

impl Node {
    /// A session of it is connected, whether or not the cell has the node as it says.
    pub(super) fn speaks(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.link.is_some())
    }

    /// Since when nobody has heard of it; nothing while somebody does.
    fn silent_since_ms(&self) -> Option<u64> {
        let ended_ms = self.ended_ms.filter(|_| !self.speaks())?;
        Some(ended_ms.max(self.spoke_ms.unwrap_or(0)))
    }

    /// It is up and its table is in the cell.
    fn has_reported(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.is_up() && session.told.knows_table())
    }
}
