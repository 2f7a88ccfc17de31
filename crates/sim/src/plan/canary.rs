//! The smoke plan on disks that lie, with a power cut of all masters: the job was acknowledged and is gone, and whoever
//! checks must say so.

use super::{Fault, Plan, Target, smoke};
use crate::draw::Draw;

/// Longer than the smoke plan takes to have its job acknowledged.
const CUT_MS: u64 = 5_000;

pub(super) fn plan(draw: &Draw) -> Plan {
    let mut plan = smoke::plan(draw);
    plan.shape.lying_disks = true;
    let dark = |name| (CUT_MS, Fault::PowerCut { who: Target::Host(name), back_ms: 100 });
    plan.faults = plan.shape.master_names().into_iter().map(dark).collect();
    plan.safety_ms = CUT_MS + 2_000;
    plan
}
