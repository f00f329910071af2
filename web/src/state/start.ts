import { onReached, onSignedOut } from "../api/client";
import { askSession, listenToOthers, onSessionLost, settle, useSession } from "./session";
import { refresh, useStore } from "./store";

// --- the server's coming and going ---

const PROBE_MS = [1000, 2000, 4000, 8000] as const;
let probe: ReturnType<typeof setTimeout> | undefined;
let probes = 0;

function scheduleProbe(): void {
  if (probe !== undefined) return;
  probe = setTimeout(
    () => {
      probe = undefined;
      probes += 1;
      void askSession();
    },
    PROBE_MS[Math.min(probes, PROBE_MS.length - 1)],
  );
}

function stopProbing(): void {
  clearTimeout(probe);
  probe = undefined;
  probes = 0;
}

/** Asks the server at once whether it is back. */
export function probeNow(): void {
  stopProbing();
  void askSession();
}

function onServerReached(reached: boolean): void {
  if (!reached) {
    if (!useStore.getState().serverLost) useStore.setState({ serverLost: true });
    scheduleProbe();
    return;
  }
  if (!useStore.getState().serverLost) return;
  stopProbing();
  useStore.setState({ serverLost: false });
  if (useSession.getState().user !== null) void refresh();
}

/** Another tab may have gone on with the conversation, or may have signed somebody else in. */
async function onSeenAgain(): Promise<void> {
  await askSession();
  if (useSession.getState().user !== null) await refresh();
}

/** Starts the app: asks who is signed in, and reads what the address shows them. */
export function start(): void {
  onReached(onServerReached);
  onSignedOut(onSessionLost);
  listenToOthers();
  window.addEventListener("popstate", settle);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") void onSeenAgain();
  });
  // A page that the browser had put by, and now shows as it was.
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) void onSeenAgain();
  });
  void askSession();
}
