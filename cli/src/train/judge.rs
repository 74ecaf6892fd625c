//! Whether a candidate is worth deploying: the trainer's numbers, in the words in which `fairway-core` judges.

use fairway_core::admission::{SegmentScores, Trial, worth};
use fairway_core::evaluation::{Rival, Scores, Spreads};
use fairway_core::policy::AdmissionPolicy;
use fairway_trainer::Evaluation;

/// All gates, on everybody and on each segment where that is asked. The error says what is missing.
pub fn judge(policy: &AdmissionPolicy, evaluation: &Evaluation) -> Result<(), String> {
    let champion = evaluation.champion.as_ref();
    let overall = Scores {
        candidate: &evaluation.candidate.overall,
        champion: champion.map(|it| Rival { metrics: &it.overall, spreads: &evaluation.beside_champion }),
        popularity: Rival { metrics: &evaluation.popularity.overall, spreads: &evaluation.beside_popularity },
    };
    let none = Spreads::new();
    let segments: Vec<SegmentScores<'_>> = evaluation
        .candidate
        .by_segment
        .iter()
        .filter_map(|(name, ours)| {
            let champion = champion.and_then(|it| it.by_segment.get(name)).map(|it| Rival {
                metrics: &it.values,
                spreads: evaluation.beside_champion_by_segment.get(name).unwrap_or(&none),
            });
            let popularity = Rival {
                metrics: &evaluation.popularity.by_segment.get(name)?.values,
                spreads: evaluation.beside_popularity_by_segment.get(name).unwrap_or(&none),
            };
            let scores = Scores { candidate: &ours.values, champion, popularity };
            Some(SegmentScores { name, users: ours.users, scores })
        })
        .collect();
    let found = worth(policy, &Trial { overall, segments: &segments });
    if found.passed() { Ok(()) } else { Err(found.sentence()) }
}
