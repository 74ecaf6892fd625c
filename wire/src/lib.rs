//! What travels between Fairway's parts and what is kept in the bucket: requests, events, routes, windows,
//! decisions and profiles. Pure data over the mergeable summaries of `fairway-stats`; no IO, no clock.
#![forbid(unsafe_code)]

mod decision;
mod event;
mod experiment;
mod orders;
mod peers;
mod profile;
mod recommend;
mod route;
mod window;

pub use decision::Decision;
pub use event::{Event, EventKind};
pub use experiment::{Portion, Slice, Span, Treatment, arm_name};
pub use orders::{ORDERS_KEY, Orders, Poll, Polled, RouterSettings, ServedAt};
pub use peers::{PeerEvent, PeerEvents, PeerHeard};
pub use profile::{FeatureProfile, Profile};
pub use recommend::{Context, FALLBACK, Item, Reason, RecommendRequest, RecommendResponse, Rung, Track};
pub use route::{Canary, Route, Target, Weight, WeightError};
pub use window::{Arm, ArmKey, ErrorKind, Pair, PairKey, Rival, Unseen, Window};

/// Most items one answer may hold.
pub const ITEMS_MAX: usize = 200;
/// Longest accepted identifier of a user, an item or a segment, in bytes of UTF-8.
pub const ID_BYTES_MAX: usize = 128;
