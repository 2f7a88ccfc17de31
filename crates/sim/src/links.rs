//! Which cuts lie on which pair of hosts. Cuts overlap: a pair heals when its last one is lifted.

use std::collections::BTreeMap;

use turmoil::Sim;

/// How a link is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// What is sent is lost, both ways, and connections that lose a byte hang: half-open.
    Drop,
    /// What is sent waits and arrives when the cut is lifted, as TCP would repeat it.
    Hold,
    /// What the first host sends to the second is lost; the other way is fine.
    DropForth,
}

/// A pair of hosts, in the order of [`Way::DropForth`].
type Pair = (String, String);

/// All cuts. Each has an id, by which it is lifted.
#[derive(Debug, Default)]
pub struct Links {
    cuts: BTreeMap<Pair, Vec<(u64, Way)>>,
    ids: u64,
}

impl Links {
    /// Cuts all pairs of `from` and `to`; returns the id.
    pub fn cut(&mut self, sim: &Sim<'_>, from: &[String], to: &[String], way: Way) -> u64 {
        self.ids += 1;
        for (a, b) in pairs(from, to) {
            self.cuts.entry((a.clone(), b.clone())).or_default().push((self.ids, way));
            self.apply(sim, a, b);
        }
        self.ids
    }

    /// Lifts a cut.
    pub fn lift(&mut self, sim: &Sim<'_>, id: u64) {
        let touched: Vec<Pair> = self
            .cuts
            .iter()
            .filter(|(_, cuts)| cuts.iter().any(|cut| cut.0 == id))
            .map(|(pair, _)| pair.clone())
            .collect();
        for (a, b) in touched {
            let cuts = self.cuts.get_mut(&(a.clone(), b.clone())).expect("just found");
            cuts.retain(|cut| cut.0 != id);
            self.apply(sim, &a, &b);
        }
    }

    /// Lifts all.
    pub fn heal(&mut self, sim: &Sim<'_>) {
        let pairs: Vec<Pair> = std::mem::take(&mut self.cuts).into_keys().collect();
        for (a, b) in pairs {
            self.apply(sim, &a, &b);
        }
    }

    /// Brings turmoil's state of a pair to what lies on it, in both of its orders.
    fn apply(&self, sim: &Sim<'_>, a: &str, b: &str) {
        let on = |a: &str, b: &str| self.cuts.get(&(a.to_owned(), b.to_owned())).into_iter().flatten();
        // Held messages first: a repair alone would leave them held for ever.
        sim.release(a, b);
        let (forth, back): (Vec<Way>, Vec<Way>) =
            (on(a, b).map(|cut| cut.1).collect(), on(b, a).map(|cut| cut.1).collect());
        let both = || forth.iter().chain(&back);
        if both().any(|way| *way == Way::Drop) {
            sim.partition(a, b);
        } else if both().any(|way| *way == Way::Hold) {
            sim.hold(a, b);
        } else {
            if forth.contains(&Way::DropForth) {
                sim.partition_oneway(a, b);
            }
            if back.contains(&Way::DropForth) {
                sim.partition_oneway(b, a);
            }
        }
    }
}

fn pairs<'n>(from: &'n [String], to: &'n [String]) -> impl Iterator<Item = (&'n String, &'n String)> {
    from.iter().flat_map(move |a| to.iter().filter(move |b| *b != a).map(move |b| (a, b)))
}
