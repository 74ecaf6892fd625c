//! Manifests as files: parsing with places, checks of every document, loading of folders. It does not fetch anything and
//! does not apply anything.

mod check;
mod header;
mod load;
mod parse;
mod substitute;
mod tree;
mod yaml;

pub(crate) use header::is_dns_label;
pub use load::{Manifests, ObjectKey, load_dir, load_dir_with};
pub use parse::{Located, Manifest, Other, parse_documents};
pub use substitute::substitute;
