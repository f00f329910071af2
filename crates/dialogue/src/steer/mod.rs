//! What may come next, token by token: forms of the content, calls of tools, and the end of the reasoning.
//!
//! A request is turned into a [`Plan`] before anything is generated ([`Planner`]); a [`Steer`] follows one answer and
//! tells the engine what may come next. Where nothing is asked for there is neither.
//!
//! ```text
//! reasoning   free; its closing tag is forced when its budget is used up
//! content     free, or of a grammar from its first token on
//! calls       of a grammar from the text or token on that begins them
//! ```

mod bans;
mod grammar;
mod pattern;
mod plan;
mod schema;
mod sentence;
mod steering;
mod tighten;
mod tool_grammar;

pub(crate) use self::plan::{Plan, Planner, check_tools};
pub use self::plan::{TOOL_NAME_BYTES_MAX, TOOLS_MAX};
pub use self::schema::{SCHEMA_BYTES_MAX, SCHEMA_DEPTH_MAX};
pub(crate) use self::steering::Steer;
