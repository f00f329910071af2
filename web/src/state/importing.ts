import { create } from "zustand";
import { ApiError, untilCutOff } from "../api/client";
import { type Imported, importFile } from "../api/data";
import { loadList } from "./store";

/** Why a file was not taken; there is a text for each. */
type Trouble = "unknownFormat" | "tooLarge" | "broken" | "running" | "busy" | "failed";

export type Importing =
  | { state: "idle" }
  | { state: "sending"; name: string; share: number }
  /** All has been sent, and the server is at work. */
  | { state: "reading" }
  | { state: "cancelled" }
  | { state: "done"; imported: Imported }
  | { state: "refused"; trouble: Trouble; detail: string };

/** The import goes on when one looks at something else meanwhile. */
export const useImport = create<{ importing: Importing }>(() => ({ importing: { state: "idle" } }));

const set = (importing: Importing): void => useImport.setState({ importing });

const byCode: Readonly<Record<string, Trouble>> = {
  unsupported_file: "unknownFormat",
  invalid_format: "unknownFormat",
  import_running: "running",
};

const byStatus: Readonly<Record<number, Trouble>> = {
  0: "broken",
  408: "broken",
  413: "tooLarge",
  429: "busy",
  502: "busy",
  503: "busy",
  504: "busy",
};

function refused(error: unknown): Importing {
  if (!(error instanceof ApiError)) return { state: "refused", trouble: "failed", detail: String(error) };
  const trouble = byCode[error.code ?? ""] ?? byStatus[error.status] ?? "failed";
  return { state: "refused", trouble, detail: error.message };
}

let sending: AbortController | null = null;

export const importRuns = ({ state }: Importing): boolean => state === "sending" || state === "reading";

/** Sends a file of conversations, one at a time; what is known of it goes with the user. */
export async function startImport(file: File): Promise<void> {
  if (sending !== null) return;
  const controller = new AbortController();
  sending = controller;
  const forget = () => {
    sending = null;
    set({ state: "idle" });
  };
  untilCutOff().addEventListener("abort", forget, { once: true });
  set({ state: "sending", name: file.name, share: 0 });
  try {
    const imported = await importFile(
      file,
      (share) => set(share < 1 ? { state: "sending", name: file.name, share } : { state: "reading" }),
      controller.signal,
    );
    set({ state: "done", imported });
  } catch (error) {
    set(controller.signal.aborted ? { state: "cancelled" } : refused(error));
  }
  sending = null;
  void loadList();
}

export function cancelImport(): void {
  sending?.abort();
}
