import type { components } from "./generated";

/**
 * The JSON of the server's `/api`, as it goes over the wire, under the names that the page uses. The shapes are those of the
 * server's own description (`docs/openapi.json`): `generated.ts` is made from it by `make openapi`. Times are Unix
 * milliseconds.
 */

export type Schemas = components["schemas"];

export type User = Schemas["User"];
export type Session = Schemas["Session"];
/** A sign-in that somebody else vouches for. */
export type Provider = Schemas["Provider"];
/** A place where the user is signed in. */
export type Device = Schemas["Device"];

export type Model = Schemas["ChatModel"];
export type Models = Schemas["ChatModels"];

export type Conversation = Schemas["Conversation"];
export type ConversationPage = Schemas["ConversationPage"];
/** All branches, in the order of creation. */
export type ConversationTree = Schemas["ConversationTree"];
export type Message = Schemas["Message"];
export type Delta = Schemas["MessageDelta"];
