use crate::gguf::{GgufError, Metadata};
use crate::layers::rope::{RopeScaling, RopeSettings};

/// Why a model's hyperparameters can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A key is missing or of the wrong type.
    #[error(transparent)]
    Metadata(#[from] GgufError),
    /// A value is outside what the architecture can have.
    #[error("{key} is {given}; allowed: {allowed}")]
    Value {
        /// The key.
        key: String,
        /// What it may be.
        allowed: String,
        /// What the file says.
        given: String,
    },
    /// A key that may change the maths and that this program doesn't know. Running without it would be a guess.
    #[error("{key} is not a setting that this program knows for {architecture}; known: {known}")]
    UnknownKey {
        /// The key.
        key: String,
        /// The architecture of the file.
        architecture: &'static str,
        /// The keys that are known, joined.
        known: String,
    },
}

/// Hyperparameters that all decoders with grouped-query attention share, under the names of GGUF.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DecoderConfig {
    /// Width of the residual stream.
    pub(crate) hidden: usize,
    /// Transformer blocks.
    pub(crate) layers: usize,
    /// Query heads.
    pub(crate) heads: usize,
    /// Key and value heads; `heads` is a multiple of it.
    pub(crate) kv_heads: usize,
    /// Width of one head.
    pub(crate) head_dim: usize,
    /// Width of the feed-forward layer.
    pub(crate) ffn: usize,
    /// Longest sequence, in tokens.
    pub(crate) context_length: usize,
    /// Epsilon of the `RMSNorm`s.
    pub(crate) norm_epsilon: f32,
    /// How positions are encoded.
    pub(crate) rope: RopeSettings,
}

/// Keys (after `<architecture>.`) that every decoder here understands.
const KNOWN_KEYS: &[&str] = &[
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.layer_norm_rms_epsilon",
    "attention.value_length",
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scale_linear",
    "rope.scaling.attn_factor",
    "rope.scaling.factor",
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
    "rope.scaling.type",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "vocab_size",
];

/// Keys that some converters write with a value that changes nothing: (key, the value that is harmless).
const HARMLESS_KEYS: &[(&str, u32)] =
    &[("expert_count", 0), ("expert_used_count", 0), ("attention.sliding_window", 0)];

/// Sizes past these are not models but attacks on the arithmetic.
const HIDDEN_MAX: usize = 1 << 16;
const LAYERS_MAX: usize = 1 << 10;
const HEADS_MAX: usize = 1 << 10;
const FFN_MAX: usize = 1 << 19;
const HEAD_DIM_MAX: usize = 512;
const CONTEXT_MAX: usize = 1 << 24;

impl DecoderConfig {
    /// Reads the hyperparameters of `architecture`, refusing keys that might change the maths unknown to us.
    pub(crate) fn read(metadata: &Metadata, architecture: &'static str) -> Result<Self, ConfigError> {
        refuse_unknown_keys(metadata, architecture)?;
        let keys = Keys { metadata, architecture };
        let hidden = keys.size("embedding_length", HIDDEN_MAX)?;
        let layers = keys.size("block_count", LAYERS_MAX)?;
        let heads = keys.size("attention.head_count", HEADS_MAX)?;
        let kv_heads = keys.size_or("attention.head_count_kv", HEADS_MAX, heads)?;
        if heads % kv_heads != 0 {
            return Err(keys.refuse(
                "attention.head_count_kv",
                format!("a divisor of {heads} heads"),
                kv_heads,
            ));
        }
        if !hidden.is_multiple_of(heads) && metadata.get(&keys.name("attention.key_length")).is_none() {
            return Err(keys.refuse("embedding_length", format!("a multiple of {heads} heads"), hidden));
        }
        let head_dim = keys.size_or("attention.key_length", HEAD_DIM_MAX, hidden / heads)?;
        let value_dim = keys.size_or("attention.value_length", HEAD_DIM_MAX, head_dim)?;
        if value_dim != head_dim {
            return Err(keys.refuse(
                "attention.value_length",
                format!("{head_dim}, the key length"),
                value_dim,
            ));
        }
        let ffn = keys.size("feed_forward_length", FFN_MAX)?;
        let context_length = keys.size("context_length", CONTEXT_MAX)?;
        let norm_epsilon = metadata.required_f32(&keys.name("attention.layer_norm_rms_epsilon"))?;
        if !(norm_epsilon > 0.0 && norm_epsilon < 1.0) {
            let allowed = "between 0 and 1".to_owned();
            return Err(keys.refuse("attention.layer_norm_rms_epsilon", allowed, norm_epsilon));
        }
        let rope = keys.rope(head_dim)?;
        Ok(Self { hidden, layers, heads, kv_heads, head_dim, ffn, context_length, norm_epsilon, rope })
    }
}

fn refuse_unknown_keys(metadata: &Metadata, architecture: &'static str) -> Result<(), ConfigError> {
    for (key, _) in metadata.iter() {
        let Some(rest) = key.strip_prefix(architecture).and_then(|rest| rest.strip_prefix('.')) else {
            continue;
        };
        if KNOWN_KEYS.contains(&rest) {
            continue;
        }
        if let Some((_, harmless)) = HARMLESS_KEYS.iter().find(|(name, _)| *name == rest) {
            let given = metadata.required_u32(key)?;
            if given == *harmless {
                continue;
            }
            return Err(ConfigError::Value {
                key: key.to_owned(),
                allowed: harmless.to_string(),
                given: given.to_string(),
            });
        }
        let known = KNOWN_KEYS.join(", ");
        return Err(ConfigError::UnknownKey { key: key.to_owned(), architecture, known });
    }
    Ok(())
}

/// The keys of one architecture.
struct Keys<'a> {
    metadata: &'a Metadata,
    architecture: &'static str,
}

impl Keys<'_> {
    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    fn refuse(&self, key: &str, allowed: String, given: impl std::fmt::Display) -> ConfigError {
        ConfigError::Value { key: self.name(key), allowed, given: format!("{given}") }
    }

    fn size(&self, key: &str, max: usize) -> Result<usize, ConfigError> {
        let given = self.metadata.required_u32(&self.name(key))? as usize;
        self.check_size(key, max, given)
    }

    fn size_or(&self, key: &str, max: usize, default: usize) -> Result<usize, ConfigError> {
        let given = self.metadata.u32(&self.name(key))?.map_or(default, |given| given as usize);
        self.check_size(key, max, given)
    }

    fn check_size(&self, key: &str, max: usize, given: usize) -> Result<usize, ConfigError> {
        if (1..=max).contains(&given) {
            Ok(given)
        } else {
            Err(self.refuse(key, format!("1 to {max}"), given))
        }
    }

    fn positive_or(&self, key: &str, default: f32) -> Result<f32, ConfigError> {
        let given = self.metadata.f32(&self.name(key))?.unwrap_or(default);
        if given.is_finite() && given > 0.0 {
            Ok(given)
        } else {
            Err(self.refuse(key, "a finite number above 0".to_owned(), given))
        }
    }

    fn rope(&self, head_dim: usize) -> Result<RopeSettings, ConfigError> {
        let dimensions = self.size_or("rope.dimension_count", head_dim, head_dim)?;
        if !dimensions.is_multiple_of(2) {
            return Err(self.refuse("rope.dimension_count", "an even number".to_owned(), dimensions));
        }
        let base = self.positive_or("rope.freq_base", 10_000.0)?;
        let kind = self.metadata.str(&self.name("rope.scaling.type"))?;
        // Files from before the scaling keys say `rope.scale_linear`.
        let old_factor = self.positive_or("rope.scale_linear", 1.0)?;
        let factor = self.positive_or("rope.scaling.factor", old_factor)?;
        let attention_factor = self.positive_or("rope.scaling.attn_factor", 1.0)?;
        if kind != Some("yarn") && attention_factor.to_bits() != 1.0_f32.to_bits() {
            let allowed = "1 where rope.scaling.type is not yarn".to_owned();
            return Err(self.refuse("rope.scaling.attn_factor", allowed, attention_factor));
        }
        let scaling = match kind {
            None | Some("linear") => RopeScaling::Linear { factor },
            Some("none") => RopeScaling::Linear { factor: 1.0 },
            Some("yarn") => RopeScaling::Yarn {
                factor,
                original_context: self.size("rope.scaling.original_context_length", CONTEXT_MAX)?,
                attention_factor,
                beta_fast: self.positive_or("rope.scaling.yarn_beta_fast", 32.0)?,
                beta_slow: self.positive_or("rope.scaling.yarn_beta_slow", 1.0)?,
            },
            Some(other) => {
                return Err(self.refuse("rope.scaling.type", "none, linear or yarn".to_owned(), other));
            }
        };
        Ok(RopeSettings { dimensions, base, scaling })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::{Value, testing::GgufWriter};

    /// A well-formed `llama` config, changed by `extra`.
    fn read(extra: &[(&str, Value)]) -> Result<DecoderConfig, ConfigError> {
        let mut entries: Vec<(String, Value)> = [
            ("embedding_length", 48_u32),
            ("block_count", 2),
            ("attention.head_count", 6),
            ("attention.head_count_kv", 2),
            ("feed_forward_length", 96),
            ("context_length", 128),
        ]
        .map(|(key, value)| (format!("llama.{key}"), Value::from(value)))
        .into();
        entries.push(("llama.attention.layer_norm_rms_epsilon".into(), Value::from(1e-5_f32)));
        for (key, value) in extra {
            let key = format!("llama.{key}");
            entries.retain(|(name, _)| *name != key);
            entries.push((key, value.clone()));
        }
        let mut writer = GgufWriter::new();
        for (key, value) in entries {
            writer = writer.key(&key, value);
        }
        let file = crate::gguf::Gguf::from_bytes(writer.finish()).unwrap();
        DecoderConfig::read(file.metadata(), "llama")
    }

    fn check_refused(extra: &[(&str, Value)], expected: &str) {
        let error = read(extra).unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} should say {expected:?}");
    }

    #[test]
    fn a_plain_config_reads() {
        let config = read(&[]).unwrap();
        assert_eq!((config.head_dim, config.heads, config.kv_heads, config.rope.dimensions), (8, 6, 2, 8));
        assert_eq!(config.rope.scaling, RopeScaling::Linear { factor: 1.0 });
    }

    #[test]
    fn settings_that_change_the_maths_are_never_ignored() {
        check_refused(
            &[("attention.clamp_kqv", Value::from(8.0_f32))],
            "llama.attention.clamp_kqv is not a setting",
        );
        check_refused(&[("expert_count", Value::from(8_u32))], "llama.expert_count is 8; allowed: 0");
        check_refused(
            &[("rope.scaling.type", Value::from("longrope"))],
            "longrope; allowed: none, linear or yarn",
        );
        assert!(read(&[("expert_count", Value::from(0_u32)), ("vocab_size", Value::from(300_u32))]).is_ok());
    }

    #[test]
    fn the_attention_factor_is_for_yarn_alone() {
        let with = |kind: Option<&str>, factor: f32| {
            let mut extra = vec![
                ("rope.scaling.attn_factor", Value::from(factor)),
                ("rope.scaling.original_context_length", Value::from(64_u32)),
            ];
            extra.extend(kind.map(|kind| ("rope.scaling.type", Value::from(kind))));
            read(&extra)
        };
        for kind in [None, Some("none"), Some("linear")] {
            assert!(with(kind, 1.0).is_ok());
            let error = with(kind, 0.5).unwrap_err().to_string();
            assert_eq!(
                error,
                "llama.rope.scaling.attn_factor is 0.5; allowed: 1 where rope.scaling.type is not yarn"
            );
        }
        assert!(with(Some("yarn"), 0.5).is_ok());
        // What only yarn reads is not dropped silently either: a bad value is refused with any type.
        assert!(with(None, f32::NAN).is_err());
    }

    #[test]
    fn absurd_sizes_are_refused_with_what_is_allowed() {
        check_refused(&[("embedding_length", Value::from(u32::MAX))], "allowed: 1 to 65536");
        check_refused(&[("block_count", Value::from(0_u32))], "llama.block_count is 0");
        check_refused(&[("attention.head_count_kv", Value::from(4_u32))], "a divisor of 6 heads");
        check_refused(&[("embedding_length", Value::from(50_u32))], "a multiple of 6 heads");
        check_refused(&[("attention.value_length", Value::from(4_u32))], "8, the key length");
        check_refused(&[("rope.dimension_count", Value::from(7_u32))], "an even number");
        check_refused(&[("rope.freq_base", Value::from(f32::NAN))], "a finite number above 0");
        check_refused(&[("attention.layer_norm_rms_epsilon", Value::from(-1.0_f32))], "between 0 and 1");
    }
}
