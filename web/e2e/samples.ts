import type { Page } from "@playwright/test";
import type { ConversationTree, Message } from "../src/api/types";

/**
 * Conversations that no small model can be made to write: the server is real, and only what it has stored is replaced on
 * the way to the page.
 */

function message(id: string, parent_id: string | null, role: Message["role"], content: string): Message {
  return {
    id,
    conversation_id: "sample",
    parent_id,
    role,
    content,
    reasoning: null,
    reasoning_ms: null,
    status: "complete",
    error: null,
    model: "sample",
    created_ms: 0,
    usage: null,
    timing: null,
  };
}

/** A conversation of questions and answers by turns, the first a question. */
export function conversationOf(contents: string[], lastAnswer: Partial<Message> = {}): ConversationTree {
  const messages: Message[] = [];
  for (const [index, content] of contents.entries()) {
    messages.push(
      message(`m${index}`, messages.at(-1)?.id ?? null, index % 2 === 0 ? "user" : "assistant", content),
    );
  }
  const last = messages.at(-1);
  if (last !== undefined) Object.assign(last, lastAnswer);
  return {
    conversation: {
      id: "sample",
      title: "A sample",
      model: "smollm2-135m",
      system: null,
      created_ms: 0,
      updated_ms: 0,
    },
    messages,
  };
}

/** Shows a prepared conversation on the page. */
export async function show(page: Page, tree: ConversationTree): Promise<void> {
  await page.route("**/api/conversations/sample", (route) => route.fulfill({ json: tree }));
  await page.goto("/c/sample");
}
