/// What a line that begins with a slash asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Order {
    Help,
    /// Another model, or a list of them.
    Model(Option<String>),
    /// New instructions; none to show them, empty to remove them.
    System(Option<String>),
    Save(String),
    /// Whether to think; none for the model's habit.
    Think(Option<bool>),
    Clear,
    Exit,
}

pub(super) const HELP: &str = "\
/model [NAME]    talk with another model, or list them
/system [TEXT]   instructions to the model; without TEXT shows them, /system - removes them
/think on|off    think before answering or not; /think auto leaves it to the model
/save FILE       save the conversation, as Markdown (.md) or JSON (.json)
/clear           forget the conversation
/exit            leave (also Ctrl-D)
/help            this list

Ctrl-C stops an answer. A backslash at its end continues a line; \"\"\" begins and ends a message of several lines.
To say something that begins with a slash, put a space before it.";

impl Order {
    /// The order in a message; none if it isn't one.
    ///
    /// # Errors
    /// A text for people, if it begins with a slash and is no order.
    pub(super) fn parse(message: &str) -> Result<Option<Self>, String> {
        let Some(line) = message.strip_prefix('/') else { return Ok(None) };
        let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let argument = Some(rest.trim()).filter(|rest| !rest.is_empty()).map(str::to_owned);
        let order = match name {
            "help" | "?" => Self::Help,
            "model" => Self::Model(argument),
            "system" => Self::System(argument.map(|text| if text == "-" { String::new() } else { text })),
            "save" => Self::Save(argument.ok_or("/save needs a FILE that ends with .md or .json")?),
            "think" => Self::Think(match argument.as_deref() {
                Some("on") => Some(true),
                Some("off") => Some(false),
                Some("auto") => None,
                _ => return Err("/think needs one of on, off and auto".to_owned()),
            }),
            "clear" => Self::Clear,
            "exit" | "quit" | "bye" => Self::Exit,
            _ => return Err(format!("there is no /{name}; /help lists what there is")),
        };
        Ok(Some(order))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &str, expected: Result<Option<Order>, &str>) {
        assert_eq!(Order::parse(message), expected.map_err(str::to_owned));
    }

    #[test]
    fn orders_are_told_from_messages() {
        check("Hello /help", Ok(None));
        check(" /etc/passwd is a file", Ok(None));
        check("", Ok(None));
        check("/help", Ok(Some(Order::Help)));
        check("/model", Ok(Some(Order::Model(None))));
        check("/model  qwen3-0.6b ", Ok(Some(Order::Model(Some("qwen3-0.6b".to_owned())))));
        check(
            "/system Be brief.\nAnd kind.",
            Ok(Some(Order::System(Some("Be brief.\nAnd kind.".to_owned())))),
        );
        check("/system", Ok(Some(Order::System(None))));
        check("/system -", Ok(Some(Order::System(Some(String::new())))));
        check("/save a b.md", Ok(Some(Order::Save("a b.md".to_owned()))));
        check("/save", Err("/save needs a FILE that ends with .md or .json"));
        check("/think off", Ok(Some(Order::Think(Some(false)))));
        check("/think auto", Ok(Some(Order::Think(None))));
        check("/think hard", Err("/think needs one of on, off and auto"));
        check("/clear", Ok(Some(Order::Clear)));
        check("/quit", Ok(Some(Order::Exit)));
        check("/etc/passwd", Err("there is no /etc/passwd; /help lists what there is"));
    }
}
