//! From another service's tree of nodes to ours, in which questions and answers take turns.
//!
//! Nodes without a text of the user's or the model's (the root, instructions, calls of tools) are passed over: what hangs
//! under them hangs under the next above. Where a question follows a question, or an answer an answer (a service that
//! calls tools writes one answer in several messages), the two become one; where such a run branches, each branch keeps
//! what was before. An answer to nothing has no place in our tree and is left out. A question without an answer gets an
//! empty, interrupted one, so that it can be asked again.

use std::collections::HashMap;
use std::rc::Rc;

use store::{Role, Status};

use super::DraftMessage;
use super::foreign::append;
use crate::error::shortened;

/// A node of a foreign tree.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: String,
    pub(super) parent: Option<String>,
    pub(super) said: Option<Said>,
}

/// A text of the user's or the model's.
#[derive(Debug, Clone)]
pub(super) struct Said {
    /// Never `System`.
    pub(super) role: Role,
    pub(super) content: String,
    pub(super) reasoning: String,
    pub(super) model: Option<String>,
    pub(super) created_ms: i64,
}

impl Said {
    /// Bytes of what a stranger wrote.
    fn bytes(&self) -> u64 {
        (self.content.len() + self.reasoning.len() + self.model.as_ref().map_or(0, String::len)) as u64
    }
}

/// What became of a tree.
#[derive(Debug)]
pub(super) struct Grown {
    pub(super) messages: Vec<DraftMessage>,
    /// Answers to nothing.
    pub(super) left_out: usize,
}

/// Makes a tree of ours, of at most so many bytes of text. The branch that ends with `current` becomes the newest, or
/// else the one written last.
pub(super) fn grow(nodes: Vec<Node>, current: Option<&str>, bytes_max: u64) -> Result<Grown, String> {
    let links = Links::of(&nodes)?;
    let mut said: Vec<Option<Said>> = nodes.into_iter().map(|node| node.said).collect();
    let children = links.children(&said, current)?;
    let mut growing = Growing { messages: Vec::new(), bytes: 0, bytes_max, left_out: 0 };
    // What is next stands at the end.
    let mut next: Vec<Step> = children.roots.iter().rev().map(|&node| Step::root(node)).collect();
    while let Some(step) = next.pop() {
        let below = &children.of[step.node];
        // Each node is come to once.
        let Some(this) = said[step.node].take() else { continue };
        let Some(text) = growing.joined(step.before, this, step.parent)? else {
            // Left out: what hangs under it begins anew.
            next.extend(below.iter().rev().map(|&node| Step::root(node)));
            continue;
        };
        let role = text.role;
        let same = |node: &usize| said[*node].as_ref().is_some_and(|child| child.role == role);
        let goes_on = below.iter().filter(|node| same(node)).count();
        if goes_on == 1 && below.len() == 1 {
            next.push(Step { node: below[0], parent: step.parent, before: Some(Before::Own(text)) });
            continue;
        }
        let text = Rc::new(text);
        let own =
            if goes_on == 0 || goes_on < below.len() { Some(growing.add(&text, step.parent)?) } else { None };
        for &node in below.iter().rev() {
            next.push(if same(&node) {
                Step { node, parent: step.parent, before: Some(Before::Shared(Rc::clone(&text))) }
            } else {
                Step { node, parent: own, before: None }
            });
        }
    }
    let left_out = growing.left_out;
    Ok(Grown { messages: growing.answered(), left_out })
}

/// A node to come to.
struct Step {
    node: usize,
    /// The message that it hangs under.
    parent: Option<usize>,
    /// The text of the same role that stands right above it and is not a message yet.
    before: Option<Before>,
}

impl Step {
    fn root(node: usize) -> Self {
        Self { node, parent: None, before: None }
    }
}

enum Before {
    Own(Said),
    Shared(Rc<Said>),
}

/// Who hangs under whom.
struct Links {
    /// The parent's place, for each node.
    parents: Vec<Option<usize>>,
    places: HashMap<String, usize>,
}

struct Children {
    /// Nodes with a text that have none above them.
    roots: Vec<usize>,
    /// For each node with a text, those right below it.
    of: Vec<Vec<usize>>,
}

impl Links {
    fn of(nodes: &[Node]) -> Result<Self, String> {
        let mut places = HashMap::with_capacity(nodes.len());
        for (place, node) in nodes.iter().enumerate() {
            if places.insert(node.id.clone(), place).is_some() {
                return Err(format!("there are two nodes {:?}", shortened(&node.id)));
            }
        }
        let parent_of = |node: &Node| match &node.parent {
            None => Ok(None),
            Some(parent) => places.get(parent).copied().map(Some).ok_or_else(|| {
                format!("the parent {:?} of {:?} is not there", shortened(parent), shortened(&node.id))
            }),
        };
        let parents = nodes.iter().map(parent_of).collect::<Result<_, _>>()?;
        Ok(Self { parents, places })
    }

    fn children(&self, said: &[Option<Said>], current: Option<&str>) -> Result<Children, String> {
        let above = self.nearest(said)?;
        let mut children = Children { roots: Vec::new(), of: vec![Vec::new(); said.len()] };
        for node in (0..said.len()).filter(|&node| said[node].is_some()) {
            match above[node] {
                None => children.roots.push(node),
                Some(parent) => children.of[parent].push(node),
            }
        }
        let current = self.path(current);
        let key = |&node: &usize| {
            let created_ms = said[node].as_ref().map_or(0, |said| said.created_ms);
            (current[node], created_ms, node)
        };
        children.roots.sort_by_key(key);
        for siblings in &mut children.of {
            siblings.sort_by_key(key);
        }
        Ok(children)
    }

    /// For each node, the nearest above that has a text. Fails where nodes stand above themselves.
    fn nearest(&self, said: &[Option<Said>]) -> Result<Vec<Option<usize>>, String> {
        let mut nearest: Vec<Option<Option<usize>>> = vec![None; self.parents.len()];
        for start in 0..self.parents.len() {
            // Up to one that is known, or to the root, then down again.
            let mut path = Vec::new();
            let mut at = start;
            let mut found = loop {
                if let Some(known) = nearest[at] {
                    break if said[at].is_some() { Some(at) } else { known };
                }
                if path.len() == self.parents.len() {
                    return Err("its nodes stand in a circle".to_owned());
                }
                path.push(at);
                match self.parents[at] {
                    Some(parent) => at = parent,
                    None => break None,
                }
            };
            for &node in path.iter().rev() {
                nearest[node] = Some(found);
                if said[node].is_some() {
                    found = Some(node);
                }
            }
        }
        Ok(nearest.into_iter().map(Option::flatten).collect())
    }

    /// For each node, whether it is on the way to this one. That no circle is left is known.
    fn path(&self, leaf: Option<&str>) -> Vec<bool> {
        let mut on_path = vec![false; self.parents.len()];
        let mut next = leaf.and_then(|leaf| self.places.get(leaf)).copied();
        while let Some(node) = next {
            on_path[node] = true;
            next = self.parents[node];
        }
        on_path
    }
}

/// The tree so far.
struct Growing {
    messages: Vec<DraftMessage>,
    /// Of the messages, and of all that was copied on the way to them.
    bytes: u64,
    bytes_max: u64,
    left_out: usize,
}

impl Growing {
    /// A node's text with what stands right before it; none if it is an answer to nothing.
    fn joined(
        &mut self,
        before: Option<Before>,
        this: Said,
        parent: Option<usize>,
    ) -> Result<Option<Said>, String> {
        let before = match before {
            None if parent.is_none() && this.role == Role::Assistant => {
                self.left_out += 1;
                return Ok(None);
            }
            None => return Ok(Some(this)),
            Some(Before::Own(before)) => before,
            Some(Before::Shared(before)) => match Rc::try_unwrap(before) {
                Ok(before) => before,
                Err(shared) => {
                    self.spend(shared.bytes())?;
                    Said::clone(&shared)
                }
            },
        };
        let mut joined = Said { model: this.model.or(before.model), ..before };
        append(&mut joined.content, &this.content, "\n\n");
        append(&mut joined.reasoning, &this.reasoning, "\n\n");
        Ok(Some(joined))
    }

    /// Counts what is to be copied. Where a run of messages branches again and again, its texts are many times as large
    /// as the file; and each text that waits for its branches is held meanwhile.
    fn spend(&mut self, bytes: u64) -> Result<(), String> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.bytes_max {
            return Err(format!("its branches have more than {} bytes of text", self.bytes_max));
        }
        Ok(())
    }

    fn add(&mut self, said: &Said, parent: Option<usize>) -> Result<usize, String> {
        self.spend(said.bytes())?;
        self.messages.push(DraftMessage {
            parent,
            role: said.role,
            status: Status::Complete,
            content: said.content.clone(),
            reasoning: Some(said.reasoning.clone()).filter(|reasoning| !reasoning.is_empty()),
            reasoning_ms: None,
            error: None,
            model: said.model.clone().filter(|_| said.role == Role::Assistant),
            created_ms: said.created_ms,
            usage: None,
            timing: None,
        });
        Ok(self.messages.len() - 1)
    }

    /// With an answer under every question that has none.
    fn answered(self) -> Vec<DraftMessage> {
        let mut is_answered = vec![false; self.messages.len()];
        for message in &self.messages {
            if let Some(parent) = message.parent {
                is_answered[parent] = true;
            }
        }
        let mut messages = Vec::with_capacity(self.messages.len());
        // Where each message is now.
        let mut places = Vec::with_capacity(self.messages.len());
        for (place, mut message) in self.messages.into_iter().enumerate() {
            message.parent = message.parent.map(|parent| places[parent]);
            let (role, created_ms) = (message.role, message.created_ms);
            places.push(messages.len());
            messages.push(message);
            if role == Role::User && !is_answered[place] {
                messages.push(empty_answer(places[place], created_ms));
            }
        }
        messages
    }
}

fn empty_answer(parent: usize, created_ms: i64) -> DraftMessage {
    DraftMessage {
        parent: Some(parent),
        role: Role::Assistant,
        status: Status::Interrupted,
        content: String::new(),
        reasoning: None,
        reasoning_ms: None,
        error: None,
        model: None,
        created_ms,
        usage: None,
        timing: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree from lines such as `3 <1 u text`: id, parent (`-` for none), role (`-` for no text) and text.
    fn nodes(lines: &[&str]) -> Vec<Node> {
        let node = |(place, line): (usize, &&str)| {
            let mut words = line.splitn(4, ' ');
            let mut word = || words.next().unwrap_or_default();
            let (id, parent, role, content) = (word(), word(), word(), word());
            let said = |role| Said {
                role,
                content: content.to_owned(),
                reasoning: String::new(),
                model: None,
                created_ms: place as i64,
            };
            Node {
                id: id.to_owned(),
                parent: Some(parent.trim_start_matches('<')).filter(|p| *p != "-").map(str::to_owned),
                said: match role {
                    "u" => Some(said(Role::User)),
                    "a" => Some(said(Role::Assistant)),
                    _ => None,
                },
            }
        };
        lines.iter().enumerate().map(node).collect()
    }

    /// The branches of the tree that comes out, each as its texts from the root on, the newest last.
    #[track_caller]
    fn check(lines: &[&str], current: Option<&str>, expected: &[&str]) -> Grown {
        let grown = grow(nodes(lines), current, 1000).unwrap();
        let mut branches = Vec::new();
        for (place, message) in grown.messages.iter().enumerate() {
            assert!(message.parent.is_none_or(|parent| parent < place));
            if grown.messages.iter().any(|other| other.parent == Some(place)) {
                continue;
            }
            assert_eq!(message.role, Role::Assistant, "every branch ends with an answer");
            let mut texts = Vec::new();
            let mut next = Some(place);
            while let Some(place) = next {
                texts.push(grown.messages[place].content.replace("\n\n", "+"));
                next = grown.messages[place].parent;
            }
            texts.reverse();
            branches.push(texts.join(" "));
        }
        assert_eq!(branches, expected);
        grown
    }

    #[test]
    fn branches_are_kept_and_the_current_one_is_the_newest() {
        let lines = ["0 - -", "1 <0 u q", "2 <1 a a", "3 <1 a b", "4 <2 u r", "5 <4 a c", "6 <1 a d"];
        check(&lines, None, &["q a r c", "q b", "q d"]);
        check(&lines, Some("5"), &["q b", "q d", "q a r c"]);
        check(&lines, Some("nowhere"), &["q a r c", "q b", "q d"]);
    }

    #[test]
    fn what_is_no_text_is_passed_over_and_runs_become_one() {
        let lines =
            ["1 - u q", "2 <1 a call", "3 <2 - tool", "4 <3 a result", "5 <4 u r", "6 <5 u s", "7 <6 a t"];
        check(&lines, None, &["q call+result r+s t"]);
        // Where a run branches, each branch keeps what was before.
        let lines = ["1 - u q", "2 <1 a x", "3 <2 a y", "4 <2 a z", "5 <2 u r", "6 <5 a s"];
        check(&lines, None, &["q x+y", "q x+z", "q x r s"]);
    }

    #[test]
    fn questions_get_answers_and_answers_need_questions() {
        let grown = check(&["1 - a hello", "2 <1 u q", "3 <2 a a", "4 <1 u r"], None, &["q a", "r "]);
        assert_eq!(grown.left_out, 1);
        assert_eq!(grown.messages.last().map(|last| last.status), Some(Status::Interrupted));
        assert!(check(&["0 - -"], None, &[]).messages.is_empty());
        assert!(check(&[], None, &[]).messages.is_empty());
    }

    #[test]
    fn a_tree_that_is_none_is_refused() {
        for (lines, why) in [
            (&["1 <2 u a", "2 <1 a b"][..], "circle"),
            (&["1 <1 - x"], "circle"),
            (&["0 - u x", "1 <3 - x", "2 <1 u x", "3 <2 a y"], "circle"),
            (&["1 - u a", "2 <9 a b"], "is not there"),
            (&["1 - u a", "1 - u b"], "two nodes"),
        ] {
            let error = grow(nodes(lines), Some("1"), 1000).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn branches_of_branches_have_an_end() {
        // Each of these keeps all that is above it.
        let mut lines = vec!["0 - u q".to_owned(), format!("1 <0 a {}", "x".repeat(100))];
        for number in 1..100 {
            lines.push(format!("{} <{number} a x", number + 1));
            lines.push(format!("{}b <{number} a x", number + 1));
        }
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert!(grow(nodes(&lines), None, 100_000).is_ok());
        assert!(grow(nodes(&lines), None, 10_000).unwrap_err().contains("10000 bytes"));
    }

    #[test]
    fn texts_that_wait_for_their_branches_have_an_end() {
        // Where leaves are written last, a chain is gone down with a copy of all that is above at each step, and each is
        // held until its leaf's turn comes: long before anything becomes a message.
        let long = "x".repeat(10_000);
        let answer = |content: &str, model: Option<&String>| Said {
            role: Role::Assistant,
            content: content.to_owned(),
            reasoning: String::new(),
            model: model.cloned(),
            created_ms: 0,
        };
        for first in [answer(&long, None), answer("x", Some(&long))] {
            let mut growing = Growing { messages: Vec::new(), bytes: 0, bytes_max: 50_000, left_out: 0 };
            let mut held = vec![Rc::new(first)];
            let error = loop {
                assert!(held.len() < 10, "what is held has no end");
                let before = Rc::clone(&held[held.len() - 1]);
                match growing.joined(Some(Before::Shared(before)), answer("x", None), Some(0)) {
                    Ok(joined) => held.push(Rc::new(joined.unwrap())),
                    Err(error) => break error,
                }
            };
            assert!(error.contains("50000 bytes"), "{error}");
            assert!(held.iter().map(|said| said.bytes()).sum::<u64>() < 70_000);
        }
    }

    #[test]
    fn a_chain_whose_leaves_were_written_last_is_refused_or_whole() {
        let mut tree = nodes(&["q - u q", "0 <q a x"]);
        tree[1].said.as_mut().unwrap().content = "x".repeat(10_000);
        for number in 1..100 {
            let line = |leaf: &str| format!("{number}{leaf} <{} a x", number - 1);
            tree.extend(nodes(&[&line(""), &line("b")]));
        }
        for node in tree.iter_mut().filter(|node| node.id.ends_with('b')) {
            node.said.as_mut().unwrap().created_ms = 1000;
        }
        let tree =
            || tree.iter().map(|n| Node { id: n.id.clone(), parent: n.parent.clone(), said: n.said.clone() });
        let error = grow(tree().collect(), None, 1_100_000).unwrap_err();
        assert!(error.contains("1100000 bytes"), "copies count as well as messages: {error}");
        assert_eq!(grow(tree().collect(), None, 2_100_000).unwrap().messages.len(), 101);
    }

    #[test]
    fn a_long_chain_takes_neither_the_stack_nor_for_ever() {
        let mut lines = vec!["0 - u q".to_owned()];
        lines.extend((1..50_000).map(|number| format!("{number} <{} a x", number - 1)));
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let grown = grow(nodes(&lines), None, 1 << 20).unwrap();
        assert_eq!(grown.messages.len(), 2);
        assert_eq!(grown.messages[1].content.len(), 49_999 * 3 - 2);
    }
}
