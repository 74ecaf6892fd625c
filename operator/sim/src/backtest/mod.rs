//! What a rollout policy would have done on recorded windows, before anybody applies it; and whether what was recorded
//! follows from what it was decided by.
//!
//! [`Record`] takes the recorded windows in and becomes [`Traffic`]. [`play`] drives `core::endpoint::decide` through one
//! rollout on it, of a candidate that is stable plus a [`Harm`]; [`compare`] plays many, of several policies, and
//! [`html`] draws the [`Report`]. [`decide_again`] and [`first_difference`] check a plan of the record.
//!
//! Pure: no IO and no clock; chance comes from a seed, and the same seed gives the same report.
//!
//! # What is assumed
//! A record holds what users did with the version that served them, not what they would have done with another. So:
//! - The candidate is stable plus the injected harm. Nothing else can be known.
//! - Stable is what the record's stable arms were: error and slow rates by period and segment, and matured rewards by
//!   period, segment and cell of users. Requests count whichever arm they had, canary or stable; rates and rewards of
//!   recorded canaries, of the baseline and of the holdback are left out.
//! - Bad answers fall on cells of users as they did in the record, where it tells them apart; those that a harm adds fall on
//!   anybody. One router reports all of it: windows are added up before they are looked at, so that more would prove the same.
//! - Users are known by cell only. Within a cell users are alike, and a cell holds as many of them as [`Traffic::users`]
//!   says; each has a place in the canary's order for the length of a rollout, so that nobody leaves as weights grow.
//! - A request that fails costs no reward of its own: the fallback answers.
//! - With `shadow`, half of what the candidate earns comes from requests on which stable earns nothing.
//! - Each reward that was recorded is one of the record's usual size; a harm of reward takes whole ones away.

mod clumps;
mod compare;
mod harm;
mod html;
mod play;
mod plot;
mod record;
mod router;
mod traffic;
mod users;
mod verify;

pub use compare::{Case, Named, PolicyReport, Report, Spread, compare, compare_telling};
pub use harm::{Harm, HarmError};
pub use html::html;
pub use play::{Outcome, Played, StepAt, needed, play};
pub use record::{Record, RecordError};
pub use traffic::{Summary, Traffic};
pub use verify::{Difference, decide_again, first_difference};
