//! What a role holds of a metric: a counter, a gauge, a histogram, or one of these per label value.
//!
//! The only file besides `table` that names the metrics library.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::exponential_buckets;
use prometheus_client::metrics::{counter, gauge, histogram};
use prometheus_client::registry::Metric;

use super::label::LabelValue;

/// Latencies from 100 µs, doubling, to 13 s: one range for a sync and for a call that waits for an election.
const FIRST_BUCKET_SECONDS: f64 = 0.000_1;
const BUCKETS: u16 = 18;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts of durations by size.
    Histogram,
}

/// Something that can stand in the table.
pub(super) trait Handle: Sized {
    const KIND: Kind;
    const LABEL: Option<&'static str>;
    type Registered: Metric;

    fn create() -> (Self, Self::Registered);
}

/// A number that only rises. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Counter(counter::Counter<u64, AtomicU64>);

impl Counter {
    /// One more.
    pub fn inc(&self) {
        self.0.inc();
    }

    /// `n` more.
    pub fn add(&self, n: u64) {
        self.0.inc_by(n);
    }

    /// Raises the counter to a total that is counted elsewhere; a lower one changes nothing.
    pub fn advance_to(&self, total: u64) {
        // ORDERING: Relaxed, paired with the library's own relaxed loads: a statistic guards nothing.
        self.0.inner().fetch_max(total, Ordering::Relaxed);
    }

    /// The present value.
    pub fn value(&self) -> u64 {
        self.0.get()
    }
}

/// A number that rises and falls. Clones are the same number.
#[derive(Clone, Debug, Default)]
pub struct Gauge(gauge::Gauge);

impl Gauge {
    /// Replaces the value.
    pub fn set(&self, value: i64) {
        self.0.set(value);
    }

    /// Replaces the value by an unsigned one; what does not fit stands at the top.
    pub fn set_u64(&self, value: u64) {
        self.0.set(i64::try_from(value).unwrap_or(i64::MAX));
    }

    /// Adds, or with a negative number takes away.
    pub fn add(&self, n: i64) {
        self.0.inc_by(n);
    }

    /// The present value.
    pub fn value(&self) -> i64 {
        self.0.get()
    }
}

/// Durations, counted by size. Clones count together.
#[derive(Clone, Debug)]
pub struct Histogram(histogram::Histogram);

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        self.0.observe(duration.as_secs_f64());
    }
}

/// One handle per label value, all made at the start: no lock and no search when one is used.
#[derive(Clone, Debug)]
pub struct Labelled<H, L> {
    handles: Vec<H>,
    label: PhantomData<fn(L)>,
}

impl<H, L: LabelValue> Labelled<H, L> {
    /// The handle of one label value.
    pub fn of(&self, value: L) -> &H {
        &self.handles[value.index()]
    }
}

impl Handle for Counter {
    const KIND: Kind = Kind::Counter;
    const LABEL: Option<&'static str> = None;
    type Registered = counter::Counter<u64, AtomicU64>;

    fn create() -> (Self, Self::Registered) {
        let counter = Self::default();
        (counter.clone(), counter.0)
    }
}

impl Handle for Gauge {
    const KIND: Kind = Kind::Gauge;
    const LABEL: Option<&'static str> = None;
    type Registered = gauge::Gauge;

    fn create() -> (Self, Self::Registered) {
        let gauge = Self::default();
        (gauge.clone(), gauge.0)
    }
}

fn seconds() -> histogram::Histogram {
    histogram::Histogram::new(exponential_buckets(FIRST_BUCKET_SECONDS, 2.0, BUCKETS))
}

impl Handle for Histogram {
    const KIND: Kind = Kind::Histogram;
    const LABEL: Option<&'static str> = None;
    type Registered = histogram::Histogram;

    fn create() -> (Self, Self::Registered) {
        let histogram = seconds();
        (Self(histogram.clone()), histogram)
    }
}

type Pair = [(&'static str, &'static str); 1];

/// A family whose handles are all taken out once.
macro_rules! labelled_handle {
    ($handle:ident, $metric:ty, $make:expr) => {
        impl<L: LabelValue> Handle for Labelled<$handle, L> {
            const KIND: Kind = <$handle as Handle>::KIND;
            const LABEL: Option<&'static str> = Some(L::KEY);
            type Registered = Family<Pair, $metric>;

            fn create() -> (Self, Self::Registered) {
                let family = Family::<Pair, $metric>::new_with_constructor($make);
                let handles = L::ALL
                    .iter()
                    .map(|value| $handle(family.get_or_create_owned(&[(L::KEY, value.text())])))
                    .collect();
                (Self { handles, label: PhantomData }, family)
            }
        }
    };
}

labelled_handle!(Counter, counter::Counter<u64, AtomicU64>, counter::Counter::default);
labelled_handle!(Gauge, gauge::Gauge, gauge::Gauge::default);
labelled_handle!(Histogram, histogram::Histogram, seconds);
