//! The data plane in processes of its own: a model server of one version, and a router that asks such servers. What they
//! answer is in `fairway-server`; here is where they get what they need, and where the router's records go.

mod bucket;
mod fetched;
mod foreign;
pub mod history;
mod orders_file;
mod placed;

pub use bucket::{Bucket, Keeper, Restored};
pub use fetched::fetched;
pub use foreign::Behind;
pub use orders_file::OrdersFile;
pub use placed::{Placed, placed};
