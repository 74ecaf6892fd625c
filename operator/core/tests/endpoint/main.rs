//! The endpoint's decision, driven as a runtime drives it: windows in, plans out, effects carried out at once.

mod evidence;
mod experiments;
mod loading;
mod people;
mod promises;
mod steps;
mod world;
