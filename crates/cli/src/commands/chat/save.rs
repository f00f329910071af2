use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use dialogue::{Message, Role};
use serde_json::json;

use super::session::Session;

/// Writes the conversation to a file, as Markdown or JSON by its ending. A file that is there is only overwritten if
/// `overwrite` says so.
pub(super) fn save(session: &Session, model: &str, path: &Path, overwrite: bool) -> anyhow::Result<()> {
    let text = match path.extension().and_then(|extension| extension.to_str()) {
        Some("md") => markdown(session, model),
        Some("json") => format!("{:#}\n", json(session, model)),
        _ => bail!("{} must end with .md or .json", path.display()),
    };
    let mut options = OpenOptions::new();
    options.write(true);
    if overwrite {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let file = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    file.with_context(|| format!("{} can't be written", path.display()))
}

fn messages(session: &Session) -> impl Iterator<Item = Message> {
    session.system.iter().map(Message::system).chain(session.messages.iter().cloned())
}

fn markdown(session: &Session, model: &str) -> String {
    let mut text = format!("# Conversation with {model}\n");
    for message in messages(session) {
        let heading = match message.role {
            Role::System => "Instructions",
            Role::User => "You",
            Role::Assistant => model,
            Role::Tool => "Tool",
        };
        text.push_str(&format!("\n## {heading}\n\n"));
        if let Some(reasoning) = &message.reasoning {
            let reasoning = reasoning.trim();
            text.push_str(&format!(
                "<details>\n<summary>Reasoning</summary>\n\n{reasoning}\n\n</details>\n\n"
            ));
        }
        text.push_str(message.content.trim_end());
        text.push('\n');
    }
    text
}

fn json(session: &Session, model: &str) -> serde_json::Value {
    let messages = messages(session).map(|message| {
        let mut value = json!({ "role": message.role.name(), "content": message.content });
        if let Some(reasoning) = message.reasoning {
            value["reasoning_content"] = reasoning.into();
        }
        value
    });
    json!({ "model": model, "messages": messages.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        let mut session = Session { system: Some("Be brief.".to_owned()), ..Session::default() };
        session.add("1+1?", "One and one.\n", "2");
        session.add("And `2`?", "", "Still 2.\n");
        session
    }

    #[test]
    fn markdown_reads_well() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("talk.md");
        save(&session(), "whale", &path, false).unwrap();
        let expected = "# Conversation with whale\n\n## Instructions\n\nBe brief.\n\n## You\n\n1+1?\n\n## whale\n\n\
            <details>\n<summary>Reasoning</summary>\n\nOne and one.\n\n</details>\n\n2\n\n## You\n\nAnd `2`?\n\n\
            ## whale\n\nStill 2.\n";
        assert_eq!(std::fs::read_to_string(path).unwrap(), expected);
    }

    #[test]
    fn json_is_what_the_api_takes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("talk.json");
        save(&session(), "whale", &path, false).unwrap();
        let saved: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let expected = json!({
            "model": "whale",
            "messages": [
                { "role": "system", "content": "Be brief." },
                { "role": "user", "content": "1+1?" },
                { "role": "assistant", "content": "2", "reasoning_content": "One and one.\n" },
                { "role": "user", "content": "And `2`?" },
                { "role": "assistant", "content": "Still 2.\n" },
            ],
        });
        assert_eq!(saved, expected);
    }

    #[test]
    fn no_file_is_overwritten_unasked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("talk.md");
        std::fs::write(&path, "mine").unwrap();
        assert!(save(&session(), "whale", &path, false).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        save(&session(), "whale", &path, true).unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().starts_with("# Conversation"));
        let other = save(&session(), "whale", &directory.path().join("talk.txt"), false).unwrap_err();
        assert!(other.to_string().ends_with("talk.txt must end with .md or .json"), "{other}");
    }
}
