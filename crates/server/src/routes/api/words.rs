//! The store's words as they stand in JSON and, all of them listed, in the `OpenAPI` document.

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident is $of:ty as $description:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub(crate) struct $name(pub(crate) $of);

        impl From<$of> for $name {
            fn from(given: $of) -> Self {
                Self(given)
            }
        }

        impl From<$name> for $of {
            fn from(given: $name) -> Self {
                given.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.0.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = String::deserialize(deserializer)?;
                let known = <$of>::from_word(&word);
                known.map(Self).ok_or_else(|| D::Error::unknown_variant(&word, <$of>::WORDS))
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let words = Some(<$of>::WORDS.iter().copied());
                let object = ObjectBuilder::new().schema_type(Type::String).enum_values(words);
                object.description(Some($description)).into()
            }
        }

        impl ToSchema for $name {
            fn name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
        }
    )+};
}

words! {
    /// What a user may do.
    Role is store::UserRole as "What a user may do.";
    /// Who wrote a message.
    MessageRole is store::Role as "Who wrote a message.";
    /// How far a message is.
    MessageStatus is store::Status as "How far a message is.";
    /// Whether credit was given or paid for.
    CreditKind is store::CreditKind as "Whether credit was given or paid for.";
}
