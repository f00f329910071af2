import type { Conversation } from "../api/types";

export type Day = "today" | "yesterday" | "week" | "month" | { year: number; month: number };

export interface DayGroup {
  day: Day;
  conversations: Conversation[];
}

const startOfDay = (date: Date): number =>
  new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();

/** Whole calendar days between two moments in the local time zone, whatever the clocks' changes. */
function daysBetween(from: Date, to: Date): number {
  return Math.round((startOfDay(to) - startOfDay(from)) / 86_400_000);
}

export function dayOf(then_ms: number, now_ms: number): Day {
  const then = new Date(then_ms);
  const days = daysBetween(then, new Date(now_ms));
  if (days <= 0) return "today";
  if (days === 1) return "yesterday";
  if (days <= 7) return "week";
  if (days <= 30) return "month";
  return { year: then.getFullYear(), month: then.getMonth() };
}

const keyOf = (day: Day): string => (typeof day === "string" ? day : `${day.year}-${day.month}`);

/** Groups conversations, newest first, by when they were last used. */
export function groupByDay(conversations: readonly Conversation[], now_ms: number): DayGroup[] {
  const groups: DayGroup[] = [];
  for (const conversation of conversations) {
    const day = dayOf(conversation.updated_ms, now_ms);
    const last = groups.at(-1);
    if (last !== undefined && keyOf(last.day) === keyOf(day)) last.conversations.push(conversation);
    else groups.push({ day, conversations: [conversation] });
  }
  return groups;
}

/** Newest first, each once; what comes later in `lists` is the older knowledge. */
export function mergeConversations(...lists: readonly (readonly Conversation[])[]): Conversation[] {
  const byId = new Map<string, Conversation>();
  for (const conversation of lists.flat()) {
    if (!byId.has(conversation.id)) byId.set(conversation.id, conversation);
  }
  return [...byId.values()].sort((a, b) => b.updated_ms - a.updated_ms || (a.id < b.id ? 1 : -1));
}
