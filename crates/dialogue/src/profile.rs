use engine::SamplingParams;

/// Whether a model thinks before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Thinking {
    /// It answers at once.
    #[default]
    None,
    /// It was trained to think. It can be asked not to: its thinking is then closed, empty, before it begins.
    Always,
    /// It thinks unless told not to; its template has a switch.
    Switchable,
}

impl Thinking {
    /// `none`, `always` or `switchable`.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Always => "always",
            Self::Switchable => "switchable",
        }
    }
}

/// What is known of a model beside its file.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// The name it is asked for by.
    pub name: String,
    /// How tokens are chosen where a request doesn't say.
    pub sampling: SamplingParams,
    /// Whether it thinks; none to find out from its template.
    pub thinking: Option<Thinking>,
}

impl Profile {
    /// A model of which nothing is known but its name: sampled with temperature 0.7 and top-p 0.95.
    pub fn unknown(name: impl Into<String>) -> Self {
        let sampling = SamplingParams { temperature: 0.7, top_p: 0.95, ..SamplingParams::default() };
        Self { name: name.into(), sampling, thinking: None }
    }
}
