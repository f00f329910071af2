import { useTranslation } from "react-i18next";
import { useSession, verify } from "../../state/session";
import { EntryPage, PageLink } from "./EntryPage";
import { RefusalNote, SubmitButton } from "./FormFoot";
import { useSubmit } from "./useSubmit";
import { useToken } from "./useToken";

/**
 * What the link of a letter leads to. It asks for a press, because programs that look through letters open links too, and
 * because whoever is brought here by a stranger's link shall not find themselves signed in as that stranger.
 */
export function VerifyPage() {
  const { t } = useTranslation();
  const ticket = useToken();
  const name = useSession((state) => state.user?.name);
  const { form, refusal, busy, wait_s } = useSubmit(
    () => ({}),
    () => verify(ticket),
  );
  const dead = refusal?.problem === "ticketExpired" || refusal?.problem === "ticketInvalid";
  return (
    <EntryPage
      title={t("security.verify.title")}
      text={t(ticket === "" ? "security.letter.broken" : "security.verify.text")}
      foot={
        name === undefined ? (
          <p>
            <PageLink href="/login">{t("security.letter.login")}</PageLink>
          </p>
        ) : (
          <>
            <p>{t("settings.signedInAs", { name })}</p>
            <p className="entry-back">
              <PageLink href="/">{t("account.back")}</PageLink>
            </p>
          </>
        )
      }
    >
      {ticket !== "" && (
        <form {...form}>
          <RefusalNote refusal={refusal} />
          {!dead && (
            <SubmitButton busy={busy} wait_s={wait_s}>
              {t("security.verify.submit")}
            </SubmitButton>
          )}
        </form>
      )}
    </EntryPage>
  );
}
