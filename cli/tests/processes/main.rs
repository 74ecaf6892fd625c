//! Each part of the cluster in a process of its own: `fairway train`, `fairway serve`, `fairway router`, as somebody who
//! knows the command line, the bucket and HTTP meets them.

mod plane;
mod s3;
mod shop;
mod traces;
mod train;
