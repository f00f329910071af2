use dialogue::{ChatRequest, DialogueError, Message, SamplingOverrides};

/// A conversation and how to go on with it.
#[derive(Debug, Clone, Default)]
pub(super) struct Session {
    /// Instructions to the model.
    pub(super) system: Option<String>,
    /// Questions and answers, without the instructions.
    pub(super) messages: Vec<Message>,
    pub(super) sampling: SamplingOverrides,
    pub(super) tokens_max: Option<usize>,
    pub(super) stop: Vec<String>,
    pub(super) thinking: Option<bool>,
}

impl Session {
    /// The request that asks `question`, which is not added to the conversation yet.
    pub(super) fn request(&self, question: &str) -> ChatRequest {
        let system = self.system.iter().map(Message::system);
        let messages = system.chain(self.messages.iter().cloned()).chain([Message::user(question)]);
        ChatRequest {
            messages: messages.collect(),
            sampling: self.sampling.clone(),
            tokens_max: self.tokens_max,
            stop: self.stop.clone(),
            thinking: self.thinking,
            ..ChatRequest::default()
        }
    }

    /// Checks what can be checked before there is a model.
    pub(super) fn check_options(&self) -> Result<(), DialogueError> {
        self.request("?").validate()
    }

    /// Adds a question and what was answered; nothing if nothing was.
    pub(super) fn add(&mut self, question: &str, reasoning: &str, content: &str) {
        if reasoning.is_empty() && content.is_empty() {
            return;
        }
        let reasoning = (!reasoning.is_empty()).then(|| reasoning.to_owned());
        self.messages.push(Message::user(question));
        self.messages.push(Message { reasoning, ..Message::assistant(content) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_instructions_the_history_and_the_question() {
        let mut session = Session { system: Some("Be brief.".to_owned()), ..Session::default() };
        session.add("1+1?", "easy", "2");
        session.add("lost", "", "");
        let messages = session.request("2+2?").messages;
        let said: Vec<(&str, &str)> =
            messages.iter().map(|message| (message.role.name(), message.content.as_str())).collect();
        let expected = [("system", "Be brief."), ("user", "1+1?"), ("assistant", "2"), ("user", "2+2?")];
        assert_eq!(said, expected);
    }

    #[test]
    fn options_are_checked_before_a_model_is_loaded() {
        let session = Session { stop: vec!["x".to_owned(); 17], ..Session::default() };
        let error = session.check_options().unwrap_err();
        assert_eq!(error.to_string(), "stop must be at most 16 strings, got 17");
        assert!(Session::default().check_options().is_ok());
    }
}
