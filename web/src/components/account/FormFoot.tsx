import { TriangleAlert } from "lucide-react";
import type { ReactNode } from "react";
import { useTranslation } from "react-i18next";
import { waitText } from "../../i18n/format";
import type { Refusal } from "../../state/account";
import { signInAgain } from "../../state/session";

/** Why the form as a whole was refused. */
export function RefusalNote({ refusal }: { refusal: Refusal | null }) {
  const { t, i18n } = useTranslation();
  if (refusal === null) return null;
  const { problem, wait_s, detail } = refusal;
  return (
    <div className="note note-danger form-note" role="alert">
      <TriangleAlert size={18} aria-hidden className="shrink-0" />
      <span>
        {problem === "other" ? t("problem.other", { detail }) : t(`problem.${problem}`)}
        {wait_s !== null && wait_s > 0 && (
          <> {t("form.tryAgainIn", { wait: waitText(wait_s, i18n.language) })}</>
        )}
        {problem === "signInAgain" && (
          <button type="button" className="button note-button" onClick={() => void signInAgain()}>
            {t("security.identity.signInAgain")}
          </button>
        )}
      </span>
    </div>
  );
}

interface Props {
  busy: boolean;
  /** Seconds until it may be pressed again. */
  wait_s: number;
  danger?: boolean;
  children: ReactNode;
}

/** Sends the form. While it can't be pressed it keeps the focus, which a disabled button would lose. */
export function SubmitButton({ busy, wait_s, danger = false, children }: Props) {
  const { t } = useTranslation();
  return (
    <>
      <button
        type="submit"
        className={`button form-submit ${danger ? "button-danger" : "button-accent"}`}
        aria-disabled={busy || wait_s > 0}
      >
        {busy && <span className="spinner" aria-hidden="true" />}
        {children}
        {wait_s > 0 && <span className="form-wait"> · {t("form.seconds", { count: wait_s })}</span>}
      </button>
      <span className="sr-only" role="status">
        {busy ? t("form.busy") : ""}
      </span>
    </>
  );
}
