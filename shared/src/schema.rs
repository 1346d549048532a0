//! The fingerprint of everything on which the two machines must agree.

use core::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::action::CHOICES;
use crate::features;
use crate::reward;
use crate::window::STEPS;

/// The layout version: raised when the meaning of anything below changes without its text changing.
pub const VERSION: u32 = 1;

/// The tokens of a step, in order, and the numbers that each is made of.
const TOKENS: [&str; 3] = [
    "previous_action choice none size",
    "return_to_go value known",
    "state features",
];

/// A SHA-256 over the [`description`] of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SchemaId(pub [u8; 32]);

impl core::fmt::Display for SchemaId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What is fingerprinted, one line each: readable, so that two machines that differ can say where.
#[must_use]
pub fn description() -> alloc::string::String {
    let mut text = alloc::format!("version {VERSION}\nwindow {STEPS}\n");
    for (kind, feature) in features::features()
        .map(|feature| ("feature", feature))
        .chain(features::selected().map(|feature| ("select", feature)))
    {
        let (unit, parameters) = (feature.row.unit.name(), feature.row.parameters);
        let written = writeln!(text, "{kind} {feature} {unit} {parameters}");
        debug_assert!(written.is_ok(), "writing to memory");
    }
    for choice in CHOICES {
        let written = writeln!(text, "action {}", choice.name());
        debug_assert!(written.is_ok(), "writing to memory");
    }
    for (name, weight) in reward::WEIGHTS {
        let written = writeln!(text, "reward {name} {weight}");
        debug_assert!(written.is_ok(), "writing to memory");
    }
    for token in TOKENS {
        let written = writeln!(text, "token {token}");
        debug_assert!(written.is_ok(), "writing to memory");
    }
    text
}

/// The fingerprint of this build.
#[must_use]
pub fn schema_id() -> SchemaId {
    SchemaId(Sha256::digest(description()).into())
}

/// The SHA-256 of any bytes, as this build prints fingerprints.
#[must_use]
pub fn fingerprint(bytes: &[u8]) -> SchemaId {
    SchemaId(Sha256::digest(bytes).into())
}

/// The first lines in which another machine's description differs from ours, as `(ours, theirs)`.
#[must_use]
pub fn difference<'a>(ours: &'a str, theirs: &'a str) -> Option<(&'a str, &'a str)> {
    let (mut left, mut right) = (ours.lines(), theirs.lines());
    loop {
        match (left.next(), right.next()) {
            (None, None) => return None,
            (a, b) if a == b => {}
            (a, b) => return Some((a.unwrap_or("(nothing)"), b.unwrap_or("(nothing)"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_readable() {
        let ours = description();
        let theirs = ours.replace("feature spread bps ", "feature spread ticks ");
        assert_eq!(
            difference(&ours, &theirs),
            Some(("feature spread bps ", "feature spread ticks "))
        );
        assert_eq!(difference(&ours, &ours), None);
    }

    #[test]
    fn the_weights_of_the_reward_are_part_of_it() {
        let ours = description();
        assert!(ours.contains("\nreward drawdown 0.02\nreward risk 0.5\n"));
    }
}
