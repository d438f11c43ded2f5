//! Random system calls with nasty arguments.
//!
//! A round has children, a child has threads, and each thread makes calls as its own generator
//! says, which depends on nothing but the seed, the round, the child and the thread. So a seed
//! repeats a sequence, but for what numbers processes have and how threads meet.
//!
//! | module | what it does |
//! |---|---|
//! | [`random`] | the generator |
//! | [`grammar`] | the calls, and of what kind their arguments are |
//! | [`values`] | nasty values of each kind |
//! | [`child`] | what a child finds, and its threads |
//! | [`record`] | what each thread has done, in memory that the parent sees |
//! | [`round`] | starts children, watches them, and clears away what they leave |
//! | [`health`] | what must be after a round as it was before |

pub mod child;
pub mod grammar;
pub mod health;
pub mod random;
pub mod record;
pub mod round;
pub mod values;
