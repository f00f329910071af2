import { useEffect, useRef } from "react";
import { useTranslation } from "react-i18next";
import { useStore } from "../state/store";
import { useSaid } from "./useSaid";

/** Tells screen readers when an answer starts and ends; reading a text out while it grows would only be noise. */
export function Announcer({ generating }: { generating: string | null }) {
  const { t } = useTranslation();
  const [text, say] = useSaid(t);
  const before = useRef<string | null>(null);
  useEffect(() => {
    if (generating !== null) {
      say((t) => t("announce.started"));
    } else if (before.current !== null) {
      const ended = useStore.getState().open.messages.byId[before.current];
      if (ended !== undefined)
        say((t) => t(ended.status === "complete" ? "announce.complete" : "announce.ended"));
    }
    before.current = generating;
  }, [generating, say]);
  return (
    <div className="sr-only" role="status" aria-live="polite">
      {text}
    </div>
  );
}
