//! The worker between a real RabbitMQ and a real PostgreSQL, also while they are killed.

mod crash_loop;
mod deleted;
mod faults;
mod first_second;
mod large;
mod poison;
mod slowed;
mod stage;
mod unreadable;
mod usage;
