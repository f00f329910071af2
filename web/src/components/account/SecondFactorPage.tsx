import { useState } from "react";
import { useTranslation } from "react-i18next";
import { codeOf, codeProblem } from "../../state/account";
import { loginSecond } from "../../state/session";
import { EntryPage } from "./EntryPage";
import { CodeField } from "./Field";
import { RefusalNote, SubmitButton } from "./FormFoot";
import { found, useSubmit } from "./useSubmit";

/** The code that is asked for once the password was right. */
export function SecondFactorPage({ ticket, onBack }: { ticket: string; onBack: () => void }) {
  const [recovery, setRecovery] = useState(false);
  return (
    <CodePage
      key={String(recovery)}
      recovery={recovery}
      ticket={ticket}
      onBack={onBack}
      onOther={() => setRecovery(!recovery)}
    />
  );
}

interface Props {
  ticket: string;
  /** A code from the sheet of recovery codes instead of one from the telephone. */
  recovery: boolean;
  onBack: () => void;
  onOther: () => void;
}

function CodePage({ ticket, recovery, onBack, onOther }: Props) {
  const { t } = useTranslation();
  const { form, problems, refusal, busy, wait_s } = useSubmit(
    ({ code }) => found({ code: codeProblem(code) }),
    async ({ code }) => {
      if (!(await loginSecond(ticket, codeOf(code)))) onBack();
    },
  );
  return (
    <EntryPage
      title={t("security.second.title")}
      text={t(recovery ? "security.second.recoveryText" : "security.second.text")}
      foot={
        <>
          <button type="button" className="link" onClick={onOther}>
            {t(recovery ? "security.second.useApp" : "security.second.useRecovery")}
          </button>
          <p className="entry-back">
            <button type="button" className="link" onClick={onBack}>
              {t("security.second.back")}
            </button>
          </p>
        </>
      }
    >
      <form {...form}>
        <CodeField
          label={t(recovery ? "security.second.recoveryCode" : "security.second.code")}
          digits={!recovery}
          problem={problems.code}
        />
        <RefusalNote refusal={refusal} />
        <SubmitButton busy={busy} wait_s={wait_s}>
          {t("login.submit")}
        </SubmitButton>
      </form>
    </EntryPage>
  );
}
