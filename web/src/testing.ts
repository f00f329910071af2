import type { Conversation, Message, Session, User } from "./api/types";

/** Rows for tests, of which a test names only what it is about. */

export function message(id: string, parent_id: string | null, more: Partial<Message> = {}): Message {
  return {
    id,
    conversation_id: "c",
    parent_id,
    role: "user",
    content: id,
    reasoning: null,
    reasoning_ms: null,
    status: "complete",
    error: null,
    model: null,
    created_ms: 0,
    usage: null,
    timing: null,
    ...more,
  };
}

export const answer = (id: string, parent_id: string | null, more: Partial<Message> = {}): Message =>
  message(id, parent_id, { role: "assistant", ...more });

export function conversation(id: string, updated_ms: number, more: Partial<Conversation> = {}): Conversation {
  return { id, title: id, model: "m", system: null, created_ms: 0, updated_ms, ...more };
}

export const user = (id: string, more: Partial<User> = {}): User => ({
  id,
  name: id,
  email: null,
  email_verified: false,
  role: "user",
  created_ms: 0,
  ...more,
});

/** Nobody's, at a server where everybody may sign up with a name and a password. */
export const session = (more: Partial<Session> = {}): Session => ({
  user: null,
  setup: false,
  sign_up: true,
  mail: false,
  passkeys: false,
  providers: [],
  ...more,
});
