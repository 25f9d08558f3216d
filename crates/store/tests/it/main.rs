//! The log and the settings on a real PostgreSQL, each test in a database of its own.

mod append;
mod channels;
mod closed;
mod concurrent;
mod cost;
mod epoch;
mod kit;
mod limits;
mod random;
mod read;
mod reservations;
mod resumes;
mod retention;
mod settings;
mod usage;
