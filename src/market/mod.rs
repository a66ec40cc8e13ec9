//! What the market is made of: symbols, quotes, the updates that carry them, and when exchanges trade.
//!
//! Pure: no socket, no clock, no runtime. Knows JSON, because an update *is* its published bytes; knows neither
//! WebSocket frames nor Redis.

pub mod bar;
pub mod calendar;
pub mod latest;
pub mod listing;
pub mod number;
pub mod pattern;
pub mod quote;
pub mod symbol;
pub mod update;

pub use bar::{Bar, Bars, Range};
pub use calendar::{Calendar, Exchange};
pub use latest::Latest;
pub use listing::{Instrument, Listings};
pub use number::Number;
pub use quote::Quote;
pub use symbol::{Symbol, SymbolError};
pub use update::Update;
