import { useCallback, useEffect, useRef, useState } from "react";
import { type Failure, failureOf } from "../../state/admin";

export type Loaded<Value> =
  | { state: "loading" }
  | { state: "failed"; failure: Failure }
  | { state: "ready"; value: Value };

/** What `read` gives, read when the page comes up and whenever it is asked for again. */
export function useLoaded<Value>(read: () => Promise<Value>) {
  const [loaded, setLoaded] = useState<Loaded<Value>>({ state: "loading" });
  const reading = useRef(0);
  // The component is made anew for another thing to read.
  const first = useRef(read);
  const reload = useCallback(async () => {
    reading.current += 1;
    const asked = reading.current;
    try {
      const value = await first.current();
      if (asked === reading.current) setLoaded({ state: "ready", value });
    } catch (error) {
      if (asked === reading.current) setLoaded({ state: "failed", failure: failureOf(error) });
    }
  }, []);
  const put = useCallback((value: Value) => {
    // What is still on its way is older.
    reading.current += 1;
    setLoaded({ state: "ready", value });
  }, []);
  useEffect(() => {
    void reload();
    return () => {
      reading.current += 1;
    };
  }, [reload]);
  return { loaded, reload, put };
}
