//! The program as its users meet it: child processes on real servers, and unmodified clients around them.

mod clients;
mod delivery;
mod event;
mod node;
mod place;
mod poison;
mod program;
mod resume;
