import { call, refusalOf, unreached, untilCutOff } from "./client";

/** What one has, as a whole: taking it along, bringing it here, how long it stays, finding things in it. */

export const EXPORT_PATH = "/api/account/export";

export interface Imported {
  format: string;
  conversations: number;
  messages: number;
  /** Conversations that an import before has brought. */
  already_there: number;
  /** The first hundred that could not be taken. */
  skipped: { title: string; why: string }[];
}

interface Choice {
  /** Days after its last change at which a conversation is deleted; null for never. */
  retention_days: number | null;
}

export interface AccountSettings extends Choice {
  /** The server's own; the shorter of the two holds. */
  retention_days_max: number | null;
}

export interface Found {
  conversation_id: string;
  title: string;
  message_id: string;
  role: "user" | "assistant" | "system";
  created_ms: number;
  snippet: string;
  /** Where the words are in the snippet: start and length, in UTF-16 units. */
  marks: [start: number, length: number][];
}

export interface FoundPage {
  results: Found[];
  /** How many messages were looked through. */
  scanned: number;
  more: boolean;
}

export const data = {
  settings: () => call<AccountSettings>("GET", "/api/account/settings"),

  changeSettings: (change: Choice) => call<AccountSettings>("PATCH", "/api/account/settings", change),

  search: (q: string, limit: number, signal: AbortSignal) =>
    call<FoundPage>("GET", `/api/search?${new URLSearchParams({ q, limit: String(limit) })}`, undefined, {
      signal,
    }),
};

/**
 * Sends the file as it is; `onSent` hears of the share that has left, which `fetch` doesn't tell. When the user is gone, the
 * request ends and is never settled.
 */
export function importFile(
  file: Blob,
  onSent: (share: number) => void,
  signal: AbortSignal,
): Promise<Imported> {
  return new Promise((resolve, reject) => {
    const cut = untilCutOff();
    const sending = new XMLHttpRequest();
    const abort = () => sending.abort();
    const settle = (end: () => void) => {
      cut.removeEventListener("abort", abort);
      signal.removeEventListener("abort", abort);
      if (!cut.aborted) end();
    };
    cut.addEventListener("abort", abort);
    signal.addEventListener("abort", abort);
    sending.open("POST", "/api/account/import");
    sending.setRequestHeader("content-type", "application/octet-stream");
    sending.upload.addEventListener("progress", ({ loaded, total }) => {
      if (total > 0 && !cut.aborted) onSent(loaded / total);
    });
    sending.addEventListener("load", () => settle(() => take(sending, resolve, reject)));
    sending.addEventListener("error", () => settle(() => reject(unreached())));
    sending.addEventListener("abort", () => settle(() => reject(signal.reason)));
    sending.send(file);
  });
}

function take(
  sent: XMLHttpRequest,
  resolve: (imported: Imported) => void,
  reject: (error: Error) => void,
): void {
  if (sent.status < 200 || sent.status > 299) {
    reject(refusalOf(sent, sent.responseText, sent.getResponseHeader("retry-after")));
    return;
  }
  try {
    resolve(JSON.parse(sent.responseText) as Imported);
  } catch (error) {
    reject(error instanceof Error ? error : new Error(String(error)));
  }
}
