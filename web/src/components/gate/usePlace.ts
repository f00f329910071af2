import { useCallback, useEffect, useState } from "react";
import { ApiError } from "../../api/client";
import { gate, type Waiting } from "../../api/gate";
import { type PlaceFor, placeKey, recallPlace, rememberPlace } from "../../state/newcomer";

/** Where the server doesn't say when to ask again, as it wasn't reached. */
const AGAIN_S = 15;

interface State {
  /** Null where one has none. */
  ticket: string | null;
  /** Null until the server has said how it stands. */
  waiting: Waiting | null;
  /** One had a place, and it has lapsed. */
  gone: boolean;
  /** The last question was not answered. */
  lost: boolean;
  /** Changes with every answer, so that the next question follows. */
  asked: number;
}

/** How long to wait before the next question; null if it is to be asked at once. */
function pauseOf({ waiting, lost }: State): number | null {
  if (lost) return Math.max(AGAIN_S, waiting?.ask_again_seconds ?? 0);
  return waiting === null ? null : Math.max(1, waiting.ask_again_seconds);
}

export type Place = ReturnType<typeof usePlace>;

/**
 * The place in the waiting list that the browser keeps for one purpose: it is asked after by itself, at the server's pace, also
 * after the page was loaded anew.
 */
export function usePlace(of: PlaceFor) {
  const [state, setState] = useState<State>(() => ({
    ticket: recallPlace(of),
    waiting: null,
    gone: false,
    lost: false,
    asked: 0,
  }));

  const take = useCallback(
    (waiting: Waiting) => {
      rememberPlace(of, waiting.place);
      setState(({ asked }) => ({
        ticket: waiting.place,
        waiting,
        gone: false,
        lost: false,
        asked: asked + 1,
      }));
    },
    [of],
  );

  const drop = useCallback(
    (gone: boolean) => {
      rememberPlace(of, null);
      setState(({ asked }) => ({ ticket: null, waiting: null, gone, lost: false, asked: asked + 1 }));
    },
    [of],
  );

  // biome-ignore lint/correctness/useExhaustiveDependencies: each answer is followed by the next question
  useEffect(() => {
    const { ticket } = state;
    if (ticket === null) return;
    const ending = new AbortController();
    const ask = async () => {
      try {
        const { waiting } = await gate.place(ticket, ending.signal);
        if (!ending.signal.aborted) take(waiting);
      } catch (error) {
        if (ending.signal.aborted) return;
        // Any other answer says nothing of the place.
        if (error instanceof ApiError && error.code === "place_gone") drop(true);
        else setState((before) => ({ ...before, lost: true, asked: before.asked + 1 }));
      }
    };
    const pause_s = pauseOf(state);
    if (pause_s === null) void ask();
    const timer = pause_s === null ? undefined : setTimeout(() => void ask(), pause_s * 1000);
    return () => {
      clearTimeout(timer);
      ending.abort();
    };
  }, [state.asked, state.ticket]);

  // Another tab has come in with it, has given it up, or knows it by a newer ticket.
  useEffect(() => {
    const onStorage = ({ key, newValue }: StorageEvent) => {
      if (key === placeKey(of) && newValue === null)
        setState(({ asked }) => ({
          ticket: null,
          waiting: null,
          gone: false,
          lost: false,
          asked: asked + 1,
        }));
    };
    window.addEventListener("storage", onStorage);
    return () => window.removeEventListener("storage", onStorage);
  }, [of]);

  const leave = useCallback(async () => {
    const { ticket } = state;
    drop(false);
    // Should it not arrive, the place lapses by itself.
    if (ticket !== null) await gate.leavePlace(ticket).catch(() => {});
  }, [drop, state]);

  return { ...state, take, leave };
}
