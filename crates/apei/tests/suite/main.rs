//! Tables, and the protocols behind them, against a machine made of a vector.

mod claim;
mod firmware;
mod machine;
mod program;
mod properties;
mod tables;
