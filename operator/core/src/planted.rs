//! Mistakes that tests make on purpose, to see that the explorer and the simulation find them. Without the feature
//! `planted` nothing of this is compiled in.

/// One mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is described where it is planted")]
pub enum Bug {
    EvidenceKeptOnStep,
    HoldIgnored,
    PromotedOnSilence,
    RollbackAfterRegistry,
    StableUnloadedBeforeBake,
    UnloadedBeforeRouted,
    UnreadyPromoted,
    BarForgotten,
    WindowsCountedTwice,
    PauseForever,
    LoadForever,
    HarmIgnoredWhilePaused,
    FrozenIgnored,
    BakeWithoutHarm,
    SupersededKeepsEvidence,
    ChampionMovedOnce,
    UnapprovedServed,
    SilenceIgnored,
    CapacityAfterTraffic,
    StableBelowFloor,
    CooldownFromStart,
    BreakerNeverCloses,
    BreakerNeverHalfOpens,
    TwoRuns,
    RunWhileRolling,
    BaselineNotRenewed,
    BudgetIgnored,
    EndCountedTwice,
    NamesForgotten,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 29] = [
        Self::EvidenceKeptOnStep,
        Self::HoldIgnored,
        Self::PromotedOnSilence,
        Self::RollbackAfterRegistry,
        Self::StableUnloadedBeforeBake,
        Self::UnloadedBeforeRouted,
        Self::UnreadyPromoted,
        Self::BarForgotten,
        Self::WindowsCountedTwice,
        Self::PauseForever,
        Self::LoadForever,
        Self::HarmIgnoredWhilePaused,
        Self::FrozenIgnored,
        Self::BakeWithoutHarm,
        Self::SupersededKeepsEvidence,
        Self::ChampionMovedOnce,
        Self::UnapprovedServed,
        Self::SilenceIgnored,
        Self::CapacityAfterTraffic,
        Self::StableBelowFloor,
        Self::CooldownFromStart,
        Self::BreakerNeverCloses,
        Self::BreakerNeverHalfOpens,
        Self::TwoRuns,
        Self::RunWhileRolling,
        Self::BaselineNotRenewed,
        Self::BudgetIgnored,
        Self::EndCountedTwice,
        Self::NamesForgotten,
    ];
}

#[cfg(feature = "planted")]
mod switch {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Plants a mistake in this thread, or takes it out.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.set(bug);
    }

    /// Whether this mistake is planted in this thread.
    pub fn planted(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }
}

#[cfg(feature = "planted")]
pub use switch::{plant, planted};

/// Nothing is planted.
#[cfg(not(feature = "planted"))]
#[inline]
pub const fn planted(_: Bug) -> bool {
    false
}
