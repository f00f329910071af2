import { call, refusalOf, unreached, untilCutOff } from "./client";
import type { Schemas } from "./types";

/** What one has, as a whole: taking it along, bringing it here, how long it stays, finding things in it. */

export const EXPORT_PATH = "/api/account/export";

export type Imported = Schemas["Imported"];
/** The shorter of one's own time and the server's holds. */
export type AccountSettings = Schemas["AccountSettings"];
export type Found = Schemas["SearchHit"];
export type FoundPage = Schemas["SearchPage"];

export const data = {
  settings: () => call<AccountSettings>("GET", "/api/account/settings"),

  changeSettings: (change: Schemas["ChangeSettingsAsked"]) =>
    call<AccountSettings>("PATCH", "/api/account/settings", change),

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
