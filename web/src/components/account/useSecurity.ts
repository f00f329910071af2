import { useCallback, useEffect, useState } from "react";
import { security as api, type Security } from "../../api/security";
import type { User } from "../../api/types";

/** What the parts of the page about signing in show, and how they say that it has changed. */
export interface Standing {
  user: User;
  security: Security;
  onChange: (change: Partial<Security>) => void;
}

/** The ways into one's account, as the server knows them and as they are changed here. */
export function useSecurity() {
  const [security, setSecurity] = useState<Security | "loading" | "unreachable">("loading");
  const load = useCallback(async () => {
    try {
      setSecurity(await api.state());
    } catch {
      setSecurity((known) => (typeof known === "string" ? "unreachable" : known));
    }
  }, []);
  useEffect(() => void load(), [load]);
  const onChange = useCallback(
    (change: Partial<Security>) =>
      setSecurity((known) => (typeof known === "string" ? known : { ...known, ...change })),
    [],
  );
  return { security, load, onChange };
}
