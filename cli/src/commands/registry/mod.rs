//! `fairway registry`: one file a command. What several of them need is in `find` (what people name), `enter` (how a
//! folder becomes a version), `scratch` (local files that are whole or not there) and `transfer` (bars and Ctrl-C).

pub mod alias;
pub mod copy;
pub mod diff;
mod enter;
pub mod export;
pub(super) mod find;
pub mod gc;
pub mod history;
pub mod import;
pub mod init;
pub mod judge;
pub mod keygen;
pub mod list;
pub mod log;
pub mod probe;
pub mod pull;
pub mod push;
pub mod retention;
mod scratch;
pub mod show;
pub mod sign;
mod transfer;
pub mod verify;
pub mod watch;
mod words;

use anyhow::Result;

use crate::args::Registry;
use crate::exit::Code;

/// Runs a registry command.
///
/// # Errors
/// The registry cannot be read, does not hold what was asked for, or refuses what was to be done.
pub async fn run(command: Registry) -> Result<Code> {
    match command {
        Registry::Init(init) => init::run(init).await,
        Registry::Probe(probe) => probe::run(probe).await,
        Registry::List(list) => list::run(list).await,
        Registry::Show(show) => show::run(show).await,
        Registry::Diff(diff) => diff::run(diff).await,
        Registry::Log(log) => log::run(log).await,
        Registry::Watch(watch) => watch::run(watch).await,
        Registry::Alias(alias) => alias::run(alias).await,
        Registry::Push(push) => push::run(push).await,
        Registry::Pull(pull) => pull::run(pull).await,
        Registry::Copy(copy) => copy::run(copy).await,
        Registry::Approve(judge) => judge::run(judge, judge::Word::Approve).await,
        Registry::Reject(judge) => judge::run(judge, judge::Word::Reject).await,
        Registry::Hold(judge) => judge::run(judge, judge::Word::Hold).await,
        Registry::Release(release) => judge::release(release).await,
        Registry::Sign(sign) => sign::run(sign).await,
        Registry::Verify(verify) => verify::run(verify).await,
        Registry::Keygen(keygen) => keygen::run(&keygen),
        Registry::Retention(retention) => retention::run(retention).await,
        Registry::Gc(gc) => gc::run(gc).await,
        Registry::Export(export) => export::run(export).await,
        Registry::Import(import) => import::run(import).await,
    }
}
