import { useEffect } from "react";
import { askGate, useGate } from "../../state/gate";

/** How the gate stands, asked anew every `every_ms` as long as the page is seen. */
export function useGateStatus(every_ms: number) {
  useEffect(() => {
    void askGate();
    const ask = () => document.visibilityState === "visible" && void askGate();
    const timer = setInterval(ask, every_ms);
    document.addEventListener("visibilitychange", ask);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", ask);
    };
  }, [every_ms]);
  return useGate();
}
