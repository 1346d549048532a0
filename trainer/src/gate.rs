//! The examination that a candidate must pass.

pub mod evidence;

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests {
    use super::testing::{Market, write};
    use tickerml_edge::policy::Policy;
    use tickerml_edge::replay::trial::{Terms, trial};

    #[test]
    fn probe() {
        for market in [Market::PLANTED, Market::BARREN] {
            let folder = tempfile::tempdir().expect("a folder");
            let started = std::time::Instant::now();
            let wrote = write(folder.path(), &market);
            eprintln!(
                "wrote {} {} in {:?}",
                wrote.equity,
                wrote.fills,
                started.elapsed()
            );
            for mut policy in [Policy::Imbalance, Policy::Flat, Policy::Hold] {
                let started = std::time::Instant::now();
                let terms = Terms {
                    decision_ns: Some(1_000_000),
                    ..Terms::all()
                };
                let mut found = trial(folder.path(), &mut policy, &terms, |_| ()).expect("ok");
                found.curve.clear();
                eprintln!("{:?} {found:#?}", started.elapsed());
            }
        }
    }
}
