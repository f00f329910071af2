import { useEffect } from "react";
import { useTranslation } from "react-i18next";
import { probeNow } from "../state/start";
import { dismissNotice, useStore } from "../state/store";

const SHOWN_MS = 5000;

/** Short messages at the foot of the page. */
export function NoticeLine() {
  const { t } = useTranslation();
  const notice = useStore((state) => state.notice);
  useEffect(() => {
    if (notice === null) return;
    const timer = setTimeout(dismissNotice, SHOWN_MS);
    return () => clearTimeout(timer);
  }, [notice]);
  return (
    <div className="notices" role="status">
      {notice !== null && <p className="notice">{t(`notice.${notice.text}`)}</p>}
    </div>
  );
}

/** Says that the server is gone, as long as it is. */
export function ConnectionLine() {
  const { t } = useTranslation();
  const serverLost = useStore((state) => state.serverLost);
  return (
    <div role="status">
      {serverLost && (
        <div className="connection">
          <span className="spinner" aria-hidden="true" />
          <span>{t("connection.lost")}</span>
          <button type="button" className="button-text" onClick={probeNow}>
            {t("connection.retry")}
          </button>
        </div>
      )}
    </div>
  );
}
