/** The JSON of the server's `/api`, as it goes over the wire. Times are Unix milliseconds. */

export interface User {
  id: string;
  name: string;
  email: string | null;
  /** A letter to the address has been answered. */
  email_verified: boolean;
  role: "user" | "operator" | "admin";
  created_ms: number;
}

export interface Session {
  user: User | null;
  /** There is no user yet: the first one becomes the administrator. */
  setup: boolean;
  /** Strangers may make themselves an account. */
  sign_up: boolean;
  /** The server sends letters: a sign-up needs an address, and a forgotten password can be replaced. */
  mail: boolean;
  /** This address of the server can have passkeys. */
  passkeys: boolean;
  /** Where else one may come from. */
  providers: readonly Provider[];
}

/** A sign-in that somebody else vouches for. */
export interface Provider {
  id: string;
  name: string;
}

/** A place where the user is signed in. */
export interface Device {
  id: string;
  created_ms: number;
  seen_ms: number;
  /** What the browser calls itself. */
  agent: string;
  address: string;
  current: boolean;
}

type Thinking = "none" | "always" | "switchable";

export interface Model {
  name: string;
  title: string;
  installed: boolean;
  loaded: boolean;
  /** Longest conversation, in tokens. */
  context: number;
  thinking: Thinking;
  parameters: number;
  bytes: number;
}

export interface Models {
  models: Model[];
  default: string | null;
}

export interface Conversation {
  id: string;
  title: string;
  model: string | null;
  system?: string | null;
  created_ms: number;
  updated_ms: number;
}

export interface ConversationPage {
  conversations: Conversation[];
  /** Cursor for `before`, or null on the last page. */
  next: string | null;
}

type Role = "user" | "assistant" | "system";

type MessageStatus = "complete" | "generating" | "stopped" | "length" | "interrupted" | "failed";

interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  reasoning_tokens: number;
}

interface Timing {
  queued_ms: number;
  /** Time to the first token, null when none came. */
  ttft_ms: number | null;
  total_ms: number;
}

export interface Message {
  id: string;
  conversation_id: string;
  parent_id: string | null;
  role: Role;
  content: string;
  reasoning: string | null;
  reasoning_ms: number | null;
  status: MessageStatus;
  error: string | null;
  model: string | null;
  created_ms: number;
  usage: Usage | null;
  timing: Timing | null;
}

export interface ConversationTree {
  conversation: Conversation;
  /** All branches, in the order of creation. */
  messages: Message[];
}

export interface Delta {
  part: "reasoning" | "content";
  text: string;
}
