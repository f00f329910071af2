import { useEffect, useRef, useState } from "react";
import { admin } from "../../api/admin";
import { ApiError } from "../../api/client";
import type { UsageRow } from "../../api/programs";

/** The names of those who asked, each of whom the server is asked for once; null for who is gone. */
export function useNames(rows: readonly UsageRow[]): (id: string) => string | null {
  const asked = useRef(new Set<string>());
  const [names, setNames] = useState<ReadonlyMap<string, string | null>>(new Map());
  useEffect(() => {
    for (const { user_id } of rows) {
      if (user_id === null || asked.current.has(user_id)) continue;
      asked.current.add(user_id);
      const put = (name: string | null) => setNames((known) => new Map([...known, [user_id, name]]));
      admin.user(user_id).then(
        ({ name }) => put(name),
        (error: unknown) => {
          if (error instanceof ApiError && error.status === 404) put(null);
          else asked.current.delete(user_id);
        },
      );
    }
  }, [rows]);
  return (id) => {
    const name = names.get(id);
    return name === undefined ? "…" : name;
  };
}
