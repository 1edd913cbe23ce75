//! Configuration in layers: a file, then the environment, then flags; the later one wins.
//!
//! A program declares its settings once, as structs ([`settings!`]). From their JSON schema this crate knows every setting's
//! type, bounds, default and description, so it can
//! - check each layer, and name all errors at once, each with its place (file, line and column; variable; flag), the setting
//!   and what would be right ([`Layers`]),
//! - describe all settings to people and programs ([`describe`], [`describe_json`]) and write a file with all defaults and what
//!   they mean ([`template`]).
//!
//! What one setting alone cannot tell, the program checks on the struct that it got, and notes with [`Layers::wrong`].
//!
//! ```
//! tickwire_config::settings! {
//!     /// A server.
//!     pub struct Server {
//!         /// Where clients connect.
//!         listen: std::net::SocketAddr = ([127, 0, 0, 1], 7400).into(),
//!         /// Threads that serve them.
//!         threads: usize = 2 => 1..=64,
//!         /// Longest silence towards a client.
//!         heartbeat: std::time::Duration = std::time::Duration::from_secs(1),
//!     }
//! }
//!
//! let mut layers = tickwire_config::Layers::of::<Server>();
//! layers.file("server.toml", "threads = 0\nheartbaet = \"2s\"\n");
//! layers.flag("--threads", "threads", "8");
//! let server: Server = layers.read();
//! assert_eq!(server.threads, 8);
//! let errors = layers.finish("configuration", "").unwrap_err().to_string();
//! assert!(errors.contains("server.toml, line 1, column 1: `threads`: has to be a whole number from 1 to 64, not 0"));
//! assert!(errors.contains("server.toml, line 2, column 1: `heartbaet`: does not exist; did you mean `heartbeat`?"));
//! ```

mod describe;
mod errors;
mod layers;
mod path;
mod setting;

pub use describe::{describe, describe_json, template};
pub use errors::{ConfigErrors, Place};
pub use layers::Layers;

/// Declares tables of settings, each setting with its default, and with its bounds where it has some.
///
/// A comment above a setting is its description. A setting that is a table may have a default that differs from the table's own. Attributes of serde and schemars may stand there as well;
/// `#[schemars(extend("unit" = "bytes"))]` names a unit, `#[schemars(extend("hint" = "..."))]` what is said behind an error,
/// `#[schemars(extend("format" = "address"))]` an address with a port, `#[schemars(extend("exclusiveMinimum" = 0))]` a bound that is not allowed itself, `#[schemars(extend("writeOnly" = true))]`
/// a secret, and `#[schemars(extend("required" = ["kind"]))]` above a table settings that have to be given.
#[macro_export]
macro_rules! settings {
    ($($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$attribute:meta])* $field:ident: $type:ty = $default:expr $(=> $min:tt ..= $max:expr)?),* $(,)?
    })*) => {$(
        #[derive(Clone, Debug, ::serde::Deserialize, ::schemars::JsonSchema)]
        #[serde(default)]
        $(#[$meta])*
        #[schemars(extend("order" = [$(stringify!($field)),*]))]
        $vis struct $name {
            $(
                $(#[$attribute])*
                $(#[schemars(range(min = $min, max = $max))])?
                $vis $field: $type,
            )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default),* }
            }
        }
    )*};
}
