import { useSyncExternalStore } from "react";
import { tokenOf } from "../../state/route";

/** The token of the address. It stands behind `#`, so that it reaches no server's or proxy's log. */
export function useToken(): string {
  return useSyncExternalStore(
    (onChange) => {
      window.addEventListener("hashchange", onChange);
      return () => window.removeEventListener("hashchange", onChange);
    },
    () => tokenOf(window.location.hash),
  );
}
