//! Each part of the cluster in a process of its own: `fairway train`, `fairway serve`, `fairway router`,
//! `fairway storage-initializer`, as somebody who knows the command line, the bucket and HTTP meets them.

mod plane;
mod s3;
mod shop;
mod storage;
mod traces;
mod train;
