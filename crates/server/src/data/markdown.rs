//! A conversation to be read: the branch that was written last, as Markdown.

use std::collections::HashMap;

use store::{Archive, Conversation, Message, MessageId, Role, Status};

use super::day;

/// Characters of a title in a file's name: with four bytes each, some file systems take no more.
const NAME_TITLE_CHARS: usize = 48;

/// The name of a conversation's file: the day of its last change, its title as far as every file system takes it, and
/// its id, so that no two are the same.
pub(super) fn file_name(conversation: &Conversation) -> String {
    let day = day(conversation.updated_ms);
    let title = safe_title(&conversation.title);
    let space = if title.is_empty() { "" } else { " " };
    format!("conversations/{day} {title}{space}{}.md", conversation.id)
}

/// Letters, digits and what is harmless of the rest; anything else becomes a space, and many spaces one.
fn safe_title(title: &str) -> String {
    let harmless = |c: char| c.is_alphanumeric() || "-_+=,'&()".contains(c) || is_emoji(c);
    let spaced: String = title.chars().map(|c| if harmless(c) { c } else { ' ' }).collect();
    let joined = spaced.split_whitespace().collect::<Vec<_>>().join(" ");
    joined.chars().take(NAME_TITLE_CHARS).collect::<String>().trim().to_owned()
}

fn is_emoji(c: char) -> bool {
    matches!(c, '\u{2600}'..='\u{27bf}' | '\u{1f300}'..='\u{1faff}')
}

/// The text of a conversation's file.
pub(super) fn markdown(archive: &Archive) -> String {
    let conversation = &archive.conversation;
    let title = conversation.title.split_whitespace().collect::<Vec<_>>().join(" ");
    let title = if title.is_empty() { "Untitled" } else { &title };
    let mut text = format!("# {title}\n\n{} · {}\n", day(conversation.created_ms), conversation.model);
    if let Some(system) = &conversation.system {
        text.push_str(&format!("\n## Instructions\n\n{}\n", system.trim()));
    }
    for message in newest_branch(&archive.messages) {
        add(&mut text, message);
    }
    text
}

fn add(text: &mut String, message: &Message) {
    let heading = match message.role {
        Role::User => "You",
        Role::System => "Instructions",
        Role::Assistant => message.model.as_deref().unwrap_or("Answer"),
    };
    text.push_str(&format!("\n## {heading}\n"));
    if let Some(reasoning) = &message.reasoning {
        let reasoning = reasoning.trim();
        text.push_str(&format!("\n<details>\n<summary>Reasoning</summary>\n\n{reasoning}\n\n</details>\n"));
    }
    text.push_str(&format!("\n{}\n", message.content.trim()));
    if !matches!(message.status, Status::Complete) {
        let error = message.error.as_ref().map_or(String::new(), |error| format!(": {error}"));
        text.push_str(&format!("\n*({}{error})*\n", message.status.as_str()));
    }
}

/// The branch that ends with the newest message, which is the one that a conversation opens with.
fn newest_branch(messages: &[Message]) -> Vec<&Message> {
    let by_id: HashMap<MessageId, &Message> = messages.iter().map(|message| (message.id, message)).collect();
    let mut branch = Vec::new();
    let mut next = messages.last();
    // A parent stands before its child, so this ends.
    while let Some(message) = next {
        branch.push(message);
        next = message.parent_id.and_then(|parent| by_id.get(&parent).copied());
        if branch.len() > messages.len() {
            break;
        }
    }
    branch.reverse();
    branch
}

#[cfg(test)]
mod tests {
    use store::ConversationId;

    use super::*;

    fn conversation(title: &str) -> Conversation {
        Conversation {
            id: ConversationId::from([1; 16]),
            title: title.to_owned(),
            model: "whale-1b".to_owned(),
            system: Some("Be brief.".to_owned()),
            created_ms: 1_700_000_000_000,
            updated_ms: 1_780_000_000_000,
        }
    }

    fn check(title: &str, expected: &str) {
        let name = file_name(&conversation(title));
        let id = "01010101-0101-0101-0101-010101010101";
        assert_eq!(name, format!("conversations/2026-05-28 {expected}{id}.md"));
    }

    #[test]
    fn names_of_files_are_safe_everywhere() {
        check("How deep?", "How deep ");
        check("抹香鲸 🐋 & krill", "抹香鲸 🐋 & krill ");
        check("", "");
        check("../../etc/passwd", "etc passwd ");
        check("C:\\con\0<a>|\"b\"*\n\r\t.", "C con a b ");
        check("\u{202e}gpj.exe\u{200b} .", "gpj exe ");
        check(&"深".repeat(200), &format!("{} ", "深".repeat(48)));
        let longest = file_name(&conversation(&"🐋".repeat(200)));
        assert!(longest.trim_start_matches("conversations/").len() <= 255);
    }

    #[test]
    fn the_newest_branch_is_written_with_its_reasoning_folded() {
        let id = |number: u8| MessageId::from([number; 16]);
        let message = |number: u8, parent: Option<u8>, role, content: &str| Message {
            id: id(number),
            conversation_id: ConversationId::from([1; 16]),
            parent_id: parent.map(id),
            role,
            status: Status::Complete,
            content: content.to_owned(),
            reasoning: None,
            reasoning_ms: None,
            error: None,
            model: None,
            created_ms: 0,
            usage: None,
            timing: None,
        };
        let cut = Message {
            status: Status::Length,
            reasoning: Some("Deep.".to_owned()),
            model: Some("whale-1b".to_owned()),
            ..message(3, Some(1), Role::Assistant, "Two km")
        };
        let messages = vec![
            message(1, None, Role::User, "How deep?"),
            message(2, Some(1), Role::Assistant, "another answer"),
            cut,
        ];
        let archive = Archive { conversation: conversation("Depth\n# of"), messages };
        let expected = "# Depth # of\n\n2023-11-14 · whale-1b\n\n## Instructions\n\nBe brief.\n\n## You\n\nHow deep?\n\n\
             ## whale-1b\n\n<details>\n<summary>Reasoning</summary>\n\nDeep.\n\n</details>\n\nTwo km\n\n*(length)*\n";
        assert_eq!(markdown(&archive), expected);
    }
}
