//! Whole examinations of exported networks.

use tickerml_shared::bundle::{Row, Span};
use tickerml_shared::rand::Rng;

use super::*;
use crate::onnx::{Export, Quantisation, export, invented};
use crate::spec::{Spec, Statistics};
use crate::train::MODEL_FILE;
use crate::weights::Weights;

/// A candidate that nobody trained.
struct Candidate {
    home: TempDir,
    spec: Spec,
    weights: Weights,
    statistics: Statistics,
    cutoff: Time,
    created: Time,
}

impl Candidate {
    fn new() -> Self {
        let spec = Spec {
            d_model: 16,
            heads: 2,
            d_ff: 24,
            ..Spec::reference()
        };
        let cutoff = START.minus(DAYS);
        Self {
            home: tempfile::tempdir().expect("a folder"),
            weights: invented::weights(&spec, 1),
            statistics: invented::statistics(&spec, 2),
            spec,
            cutoff,
            created: cutoff.plus(31 * DAYS),
        }
    }

    fn folder(&self) -> PathBuf {
        self.home.path().join("candidate")
    }

    /// Exports it, with its weights beside it.
    fn exported(self, with_backbone: bool) -> Self {
        let mut rng = Rng::new(3, 3);
        let golden: Vec<Vec<Row>> = [1, 7, self.spec.steps]
            .map(|count| invented::rows(&self.spec, count, &mut rng))
            .into();
        let what = Export {
            spec: &self.spec,
            weights: &self.weights,
            statistics: &self.statistics,
            target_return: 0.004,
            training: Span {
                from: self.cutoff.minus(90 * DAYS),
                to: self.cutoff.minus(SECONDS),
            },
            cutoff: self.cutoff,
            created: self.created,
            metrics: "nothing was trained",
            golden: &golden,
            quantisation: Quantisation::None,
            with_backbone,
        };
        export(&what, &self.folder()).expect("exported");
        let path = self.home.path().join(MODEL_FILE);
        let saved = self.weights.save(&path, &self.spec, &self.statistics);
        saved.expect("saved");
        self
    }

    /// What the gate finds of it.
    fn examined(&self, held_out: Option<HeldOut>, installed: Option<&Path>) -> Findings {
        let terms = Terms {
            parity_windows: 40,
            ..short()
        };
        let examination = Examination {
            candidate: &self.folder(),
            installed,
            incumbent: Some("imbalance"),
            baselines: &[],
            journals: &[planted().0.path().to_path_buf()],
            held_out,
            terms: &terms,
        };
        findings(&examination).expect("findings")
    }
}

#[test]
fn an_exported_network_is_one_in_every_form_and_trades_for_its_verdict() {
    let candidate = Candidate::new().exported(true);
    let half_an_hour = Some(HeldOut {
        from: candidate.cutoff,
        until: START.plus(1_800 * SECONDS),
    });
    let found = candidate.examined(half_an_hour, None);
    let parity = found.parity.expect("it was run");
    assert!(parity.windows == 40 && parity.steps == 400, "{parity:?}");
    for (code, what, figure, limit) in parity.rows(&found.terms) {
        assert!(figure <= limit, "{code} {what}: {figure} {limit}");
    }
    assert_eq!(found.contests.len(), 5);
    assert_eq!(found.contests[0].trials[0].policy, "model");
    assert!(found.contests[0].sum(|trial| trial.decisions) > 1_700);
    // It was never trained: better than the market and the policy that knows it would be a wonder.
    assert!(
        codes(&found).contains(&"G33-incumbent"),
        "{:?}",
        found.reasons
    );
    shown(&found, "gate-invented.html");
    assert_eq!(found, candidate.examined(half_an_hour, None), "and again");
}

#[test]
fn a_head_alone_is_examined_over_the_backbone_that_is_installed() {
    let whole = Candidate::new().exported(true);
    let head = Candidate::new().exported(false);
    let refused = head.examined(None, None);
    assert_eq!(codes(&refused), ["G04-load"], "{:?}", refused.reasons);
    let ten_minutes = Some(HeldOut {
        from: head.cutoff,
        until: START.plus(600 * SECONDS),
    });
    let found = head.examined(ten_minutes, Some(&whole.folder()));
    assert!(found.parity.is_some() && !found.contests.is_empty());
}

#[test]
fn a_file_that_is_not_the_manifest_s_is_refused_before_it_trades() {
    let candidate = Candidate::new().exported(true);
    let path = candidate.folder().join(Graph::Head.file());
    let mut bytes = fs::read(&path).expect("there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).expect("written");
    let found = candidate.examined(None, None);
    assert_eq!(codes(&found), ["G03-hash"]);
    assert!(found.contests.is_empty() && found.parity.is_none());
}

#[test]
fn weights_that_are_not_the_manifest_s_are_refused() {
    let candidate = Candidate::new().exported(true);
    let others = invented::weights(&candidate.spec, 99);
    let path = candidate.home.path().join(MODEL_FILE);
    let saved = others.save(&path, &candidate.spec, &candidate.statistics);
    saved.expect("saved");
    let found = candidate.examined(None, None);
    assert_eq!(codes(&found), ["G04-weights"]);
}

#[test]
fn time_that_it_may_have_learned_from_proves_nothing() {
    let candidate = Candidate::new().exported(true);
    let overlapping = HeldOut {
        from: candidate.cutoff.minus(SECONDS),
        until: Time(u64::MAX),
    };
    let found = candidate.examined(Some(overlapping), None);
    assert_eq!(codes(&found), ["G11-overlap"]);
    assert!(found.contests.is_empty());
}

#[test]
fn a_quarantine_of_less_than_thirty_days_is_refused() {
    let mut candidate = Candidate::new();
    candidate.created = candidate.cutoff.plus(29 * DAYS);
    let found = candidate.exported(true).examined(None, None);
    assert_eq!(codes(&found), ["G10-quarantine"]);
    assert_eq!(found.reasons[0].figure, Some(29.0));
    assert_eq!(found.reasons[0].limit, Some(30.0));
}
