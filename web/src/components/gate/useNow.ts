import { useEffect, useState } from "react";

const TICK_MS = 1000;

/** The time, for what is told in seconds. */
export function useNow(): number {
  const [now_ms, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), TICK_MS);
    return () => clearInterval(timer);
  }, []);
  return now_ms;
}
