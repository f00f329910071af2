import { useEffect, useRef } from "react";
import { useTranslation } from "react-i18next";
import { useSession, verify } from "../../state/session";
import { PlaceCard } from "../gate/PlaceCard";
import { Turn } from "../gate/Turn";
import { usePlace } from "../gate/usePlace";
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
  const place = usePlace("letter");
  const pressed = useRef(false);
  const { form, refusal, busy, wait_s, again } = useSubmit(
    () => ({}),
    async () => {
      pressed.current = true;
      const waiting = await verify(ticket, place.ticket);
      if (waiting !== null) place.take(waiting);
    },
  );
  // A place that another link has left here presses nothing.
  const calledUp = place.waiting?.called_up === true;
  useEffect(() => {
    if (calledUp && pressed.current) again();
  }, [calledUp, again]);
  const waits = ticket !== "" && place.ticket !== null && !calledUp;
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
      {waits && <PlaceCard place={place} />}
      {ticket !== "" && (
        <form {...form} hidden={waits}>
          {calledUp && place.waiting !== null && (
            <Turn waiting={place.waiting}>{t(busy ? "gate.place.sending" : "gate.place.confirm")}</Turn>
          )}
          {place.gone && (
            <p className="note form-note" role="status">
              {t("gate.place.gone")}
            </p>
          )}
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
