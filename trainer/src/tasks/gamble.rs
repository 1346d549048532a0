//! Luck that looks like skill: the gambling task of ESPER (Paster et al. 2022), several rounds in a row.
//!
//! A round offers three choices. The first wins 5 or loses 15, the second wins 1 or loses 6, each with a probability
//! of one half; the third wins 1 for certain. The best that can be expected is 1 a round. Who is asked for the
//! highest return that was ever seen gambles, because only lucky gamblers have reached it; who is asked for the best
//! that can be expected takes the second choice as often as its winners did. With returns relabelled by what could be
//! expected ([`crate::relabel`]) the certain choice is the best there is to ask for.

use tickerml_shared::rand::Rng;

use super::rollout::{Aim, Choice, Lesson, Run, World, corpus, play, small, teach};
use super::{Bar, Proof, TaskError, below, mean};
use crate::corpus::{Corpus, Draw};
use crate::relabel::{Relabelling, relabel};

const CHOICES: usize = 3;
/// What a choice earns by luck: lost and won.
const STAKES: [[f32; 2]; CHOICES] = [[-15.0, 5.0], [-6.0, 1.0], [1.0, 1.0]];
/// What the best choice earns in a round.
const BEST: f32 = 1.0;
/// A start, and two outcomes of each choice.
const OUTCOMES: usize = 1 + 2 * CHOICES;
/// One unit of the return token.
const RETURN_SCALE: f32 = 4.0;
/// Games that judge a policy.
const GAMES: usize = 1_000;

/// Some rounds of gambling. The state is the outcome of the round before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Game {
    rounds: usize,
    outcome: usize,
}

impl World for Game {
    fn observe(&self, state: &mut [f32]) {
        state[self.outcome] = 1.0;
    }

    fn act(&mut self, action: usize, rng: &mut Rng) -> f32 {
        let luck = usize::from(rng.below(2) == 1);
        self.rounds -= 1;
        self.outcome = 1 + 2 * action + luck;
        STAKES[action][luck]
    }

    fn over(&self) -> bool {
        self.rounds == 0
    }
}

/// A choice at random.
fn any(_: &Game, rng: &mut Rng) -> usize {
    below(rng, CHOICES)
}

/// Runs the proof: a single round in the short form, three in a row else.
///
/// # Errors
/// When training stops.
pub fn prove(seed: u64, short: bool, report: &mut impl FnMut(&str)) -> Result<Proof, TaskError> {
    let (rounds, games, steps) = if short {
        (1, 3_000, 200)
    } else {
        (3, 10_000, 1_500)
    };
    let game = Game { rounds, outcome: 0 };
    let mut rng = Rng::new(seed, 300);
    let data: Vec<Run> = (0..games)
        .map(|_| Run::recorded(game, OUTCOMES, rounds, &mut rng, any))
        .collect();
    let plain = corpus(&data, OUTCOMES, CHOICES, RETURN_SCALE, 0.25);
    let hidden = Corpus {
        draw: Draw {
            unconditioned: 1.0,
            ..plain.draw
        },
        ..plain.clone()
    };
    let spec = small(&plain, rounds, 32, 2);
    let lesson = |seed| Lesson {
        steps,
        batch: 64,
        rate: 4e-3,
        seed,
    };
    report("taught with the return hidden");
    let expecting = teach(&spec, &hidden, lesson(seed), report)?;
    let how = Relabelling {
        rows: 512,
        stride: rounds,
    };
    let relabelled = relabel(&plain, &expecting.model, &spec, how);
    report("taught with returns as they were");
    let lucky = teach(&spec, &plain, lesson(seed + 1), report)?;
    report("taught with returns as they could be expected");
    let sober = teach(&spec, &relabelled, lesson(seed + 2), report)?;

    #[expect(clippy::cast_precision_loss, reason = "a few rounds")]
    let all = rounds as f32;
    let best = f64::from(BEST * all);
    let highest = data.iter().map(Run::earned).fold(f32::MIN, f32::max);
    let mut earned = |learned, aim, choice| {
        let runs = play(learned, vec![game; GAMES], &[aim; GAMES], choice, &mut rng);
        mean(runs.iter().map(|run| f64::from(run.earned())))
    };
    let slack = if short { 0.1 } else { 0.05 };
    let mut proof = Proof::new("gamble");
    proof.add("the best that can be expected", best, Bar::Shown);
    proof.add(
        "returns as they were, asked for the highest seen, greedy",
        earned(&lucky, Aim::Return(highest), Choice::Greedy),
        Bar::AtMost(best - 2.0 * f64::from(all)),
    );
    proof.add(
        "... asked for the best that can be expected, drawn",
        earned(&lucky, Aim::Return(BEST * all), Choice::Sampled),
        Bar::AtMost(best - 0.5 * f64::from(all)),
    );
    proof.add(
        "... behaviour cloned",
        earned(&lucky, Aim::Hidden, Choice::Sampled),
        Bar::Shown,
    );
    for (name, choice) in [("greedy", Choice::Greedy), ("drawn", Choice::Sampled)] {
        proof.add(
            format!("returns as they could be expected, {name}"),
            earned(&sober, Aim::Expected, choice),
            Bar::AtLeast(best - slack * f64::from(all)),
        );
    }
    Ok(proof)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certain_choice_is_the_best_and_the_first_the_luckiest() {
        let mean = |choice: usize| STAKES[choice].iter().sum::<f32>() / 2.0;
        assert_eq!([mean(0), mean(1), mean(2)], [-5.0, -2.5, BEST]);
        assert_eq!(
            STAKES.concat().into_iter().fold(f32::MIN, f32::max),
            STAKES[0][1]
        );
    }

    #[test]
    fn a_game_shows_the_outcome_of_the_round_before() {
        let mut rng = Rng::new(1, 1);
        let game = Game {
            rounds: 4,
            outcome: 0,
        };
        let run = Run::recorded(game, OUTCOMES, 4, &mut rng, any);
        for step in 1..4 {
            let seen = run.states[step * OUTCOMES..][..OUTCOMES]
                .iter()
                .position(|seen| *seen > 0.0)
                .expect("an outcome");
            let (choice, luck) = ((seen - 1) / 2, (seen - 1) % 2);
            assert_eq!(choice, usize::from(run.actions[step - 1]));
            assert_eq!(run.rewards[step - 1], STAKES[choice][luck]);
        }
    }

    #[test]
    fn luck_misleads_plain_returns_and_not_expected_ones() {
        let proof = prove(1, true, &mut |_: &str| ()).expect("a proof");
        assert!(proof.passed(), "\n{proof}");
    }
}
