//! The features of each pulse on their way into their store.
//!
//! It takes the table of every instrument whose book yields a price, at the first pulse of each
//! stretch of `features.every_s` seconds since the epoch. Nothing here decides anything: a run with
//! and without it trades alike.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tickerml_shared::engine::{Engine, Setup};
use tickerml_shared::instrument::{Instrument, InstrumentId};
use tickerml_shared::time::{SECONDS, Time};

use super::RunError;
use crate::config::FeatureKeys;
use crate::store::features::{self, FeatureHandle, FeatureStats};
use crate::store::{OpenReport, Probe, StoreError};
use crate::web::snapshot as web;

/// Takes samples of the features.
pub(super) struct Sampler {
    /// `None` where features are not stored.
    handle: Option<FeatureHandle>,
    /// What its thread did, also after it ended.
    stats: Option<Arc<FeatureStats>>,
    every_ns: u64,
    /// The stretch of the newest sample.
    stretch: u64,
}

impl Sampler {
    /// Opens the store, if there shall be one.
    pub(super) fn open(
        keys: &FeatureKeys,
        setup: &Setup,
        dir: &Path,
        now: Time,
        probe: &Probe,
    ) -> Result<(Self, OpenReport), StoreError> {
        let mut sampler = Self {
            handle: None,
            stats: None,
            every_ns: keys.every_s * SECONDS,
            stretch: 0,
        };
        if !keys.store {
            return Ok((sampler, OpenReport::default()));
        }
        let names = setup.instruments.iter().map(name).collect();
        let max_bytes = u64::from(keys.max_mib) << 20;
        let (handle, report) = features::spawn(dir, now.0, probe, max_bytes, names)?;
        sampler.stats = Some(Arc::clone(handle.stats()));
        sampler.handle = Some(handle);
        Ok((sampler, report))
    }

    /// Takes what is known at a pulse, after the engine took it.
    pub(super) fn pulse(&mut self, engine: &Engine, at: Time) {
        let Some(handle) = &self.handle else { return };
        let stretch = at.0 / self.every_ns;
        if stretch == self.stretch {
            return;
        }
        self.stretch = stretch;
        for (place, id) in (0..engine.cells().len()).zip((0..).map(InstrumentId)) {
            if let Some(table) = engine.table(id) {
                handle.push(place, at.0, table);
            }
        }
    }

    /// Bytes that the device was given.
    pub(super) fn written(&self) -> u64 {
        let stats = self.stats.as_ref();
        stats.map_or(0, |stats| stats.bytes.load(Relaxed))
    }

    /// What the page shows.
    pub(super) fn shown(&self) -> Option<web::FeatureStore> {
        let stats = self.stats.as_ref()?;
        let known = |at: u64| (at > 0).then_some(at);
        Some(web::FeatureStore {
            vectors: stats.vectors.load(Relaxed),
            bytes: stats.bytes.load(Relaxed),
            dropped: stats.dropped.load(Relaxed),
            deleted_blocks: stats.deleted.load(Relaxed),
            oldest_ns: known(stats.oldest_ns.load(Relaxed)),
            newest_ns: known(stats.newest_ns.load(Relaxed)),
            suspended: stats.suspended(),
        })
    }

    /// Makes everything durable; no more samples are taken.
    pub(super) async fn close(&mut self) -> Result<(), RunError> {
        let Some(handle) = self.handle.take() else {
            return Ok(());
        };
        let closed = tokio::task::spawn_blocking(move || handle.close()).await;
        closed.map_err(RunError::new)?.map_err(RunError::new)
    }
}

/// What an instrument is called in the store: `venue:symbol`.
fn name(instrument: &Instrument) -> String {
    format!("{}:{}", instrument.venue, instrument.symbol)
}
