//! What a model is: vocabularies, interactions, feature definitions, families, scoring and the bundle on disk.
//!
//! Trainer and server both use this crate, so what a family computes while it is judged is what it computes while it
//! serves. Everything here is pure but for [`Bundle`], which reads and writes a directory. Time is an argument.
//!
//! | question | module |
//! |---|---|
//! | which dense index does an item have | [`vocabulary`] |
//! | who consumed what and when | [`interactions`] |
//! | what goes into a model, how is it computed | [`features`] |
//! | what does a model answer | [`recommender`], [`ranking`] |
//! | which families are there | [`popularity`], [`ease`], [`two_tower`] |
//! | what is published, and is it whole | [`bundle`] |
//! | which bins does drift count on | [`profile`] |
//!
//! What it does not do: it trains nothing, keeps no state of users and never opens a socket.
//!
//! ```
//! use fairway_model::{Ease, Query, Recommender, Seen, Vocabulary, top_k};
//!
//! let items = Vocabulary::from_names(["cup", "saucer", "spoon"]);
//! // Row i says how much having item i speaks for each other item.
//! let weights = vec![0.0, 0.6, 0.1, 0.5, 0.0, 0.2, 0.1, 0.3, 0.0];
//! let model = Ease::new(items, weights)?;
//!
//! let history = [Seen { item: 0, time_ms: 0 }];
//! let query = Query { history: &history, segment: None, now_ms: 1 };
//! let mut scores = vec![0.0; model.items().len()];
//! model.score(&query, &mut scores);
//!
//! let mut best = Vec::new();
//! top_k(&scores, |item| item == 0, 2, &mut best);
//! assert_eq!(model.items().name(best[0].0), "saucer");
//! # Ok::<(), fairway_model::Error>(())
//! ```
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod bundle;
pub mod ease;
pub mod error;
pub mod features;
pub mod interactions;
pub mod popularity;
pub mod profile;
pub mod ranking;
pub mod recommender;
pub mod two_tower;
pub mod vocabulary;

mod canonical;
mod linear;
mod tensors;

pub use bundle::{Bundle, BundleManifest, Described, Finding, GoldenRequest, bundle_schema, check, load_family};
pub use ease::Ease;
pub use error::Error;
pub use features::{FeatureDefinitions, ItemFeature, ItemFeatureKind, UserFeature, UserFeatureKind};
pub use interactions::{Interactions, InteractionsBuilder, ItemTexts};
pub use linear::Linear;
pub use popularity::Popularity;
pub use ranking::top_k;
pub use recommender::{Query, Recommender, Seen};
pub use two_tower::{TwoTower, TwoTowerParts};
pub use vocabulary::{NONE, Vocabulary};
