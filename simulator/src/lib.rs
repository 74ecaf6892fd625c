//! A shop that behaves like one: users with tastes, a catalogue with seasons, births and deaths, and days on which
//! everything changes. It makes a purchase history, drives a recommender over real HTTP, and buys what fits. It
//! decides nothing about models and knows nothing of how the answers come about.
#![forbid(unsafe_code)]

mod catalogue;
mod client;
mod config;
mod error;
mod export;
mod load;
mod pace;
mod report;
mod sampling;
mod shop;
mod story;
mod transaction;
mod users;

pub use config::{Season, Segment, Shift, ShopConfig};
pub use error::Error;
pub use export::{ROWS_PER_PART, TransactionWriter};
pub use load::{Load, LoadHandle};
pub use report::LoadReport;
pub use shop::{Purchase, Shop, Visit};
pub use story::{Metadata, StoryConfig, StorySpec};
pub use transaction::Transaction;
