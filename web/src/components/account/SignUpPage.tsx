import { Info, TicketCheck } from "lucide-react";
import { useEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { isQueued, useGate } from "../../state/gate";
import { recallDraftOfNewcomer } from "../../state/newcomer";
import { pathVia, providerOf, returnPath } from "../../state/route";
import { useSession } from "../../state/session";
import { GateBanner } from "../gate/GateBanner";
import { PlaceCard } from "../gate/PlaceCard";
import { ProofLine } from "../gate/ProofLine";
import { Turn } from "../gate/Turn";
import { EntryPage, PageLink } from "./EntryPage";
import { RefusalNote, SubmitButton } from "./FormFoot";
import { LetterPage } from "./LetterPage";
import { NewUserFields } from "./NewUserFields";
import { ProviderPlace } from "./ProviderPlace";
import { useSignUp } from "./useSignUp";

export function SignUpPage() {
  const providers = useSession((state) => state.providers);
  const wanted = providerOf(window.location.search);
  const provider = providers.find(({ id }) => id === wanted);
  return provider === undefined ? <SignUpForm /> : <ProviderPlace key={provider.id} provider={provider} />;
}

function SignUpForm() {
  const { t } = useTranslation();
  const [draft] = useState(recallDraftOfNewcomer);
  const signUp = useSignUp();
  const { form, problems, refusal, busy, wait_s, email, place, calledUp, invitation, proof } = signUp;
  const waits = place.ticket !== null && !calledUp;
  // What had the focus is gone with the place.
  const waited = useRef(waits);
  useEffect(() => {
    if (waited.current && !waits && !calledUp) form.ref.current?.querySelector("input")?.focus();
    waited.current = waits;
  }, [waits, calledUp, form.ref]);
  const level = useGate((state) => state.status?.registration.level);
  if (signUp.writtenTo !== null)
    return (
      <LetterPage
        text={t("security.letter.signUp", { email: signUp.writtenTo })}
        life={t("security.letter.day")}
        again={t("security.letter.otherAddress")}
        onAgain={signUp.writeAgain}
      />
    );
  const queues = level !== undefined && isQueued(level) && invitation === null && !calledUp;
  return (
    <EntryPage title={t("signUp.title")} text={t("signUp.text")} foot={<LoginInvitation />}>
      <GateBanner on="sign-up" />
      {waits && <PlaceCard place={place} />}
      {/* It stays, so that what was entered does. */}
      <form {...form} hidden={waits}>
        <Notes signUp={signUp} />
        <NewUserFields problems={problems} email={email} before={draft} />
        <RefusalNote refusal={refusal} />
        {proof !== null && <ProofLine progress={proof} onCancel={signUp.cancel} />}
        <SubmitButton busy={busy} wait_s={wait_s}>
          {t(queues ? "gate.signUp.place" : "signUp.submit")}
        </SubmitButton>
      </form>
    </EntryPage>
  );
}

/** What has come about since one began. */
function Notes({ signUp }: { signUp: ReturnType<typeof useSignUp> }) {
  const { t } = useTranslation();
  const { place, calledUp, invitation, cancelled, proof } = signUp;
  const said = place.gone
    ? t("gate.place.gone")
    : cancelled
      ? t("gate.proof.cancelled")
      : proof !== null
        ? t("gate.proof.started")
        : "";
  return (
    <>
      {calledUp && place.waiting !== null && (
        <Turn waiting={place.waiting}>
          {t(signUp.held ? "gate.place.held" : signUp.busy ? "gate.place.sending" : "gate.place.password")}
        </Turn>
      )}
      {invitation !== null && (
        <div className="note form-note">
          <TicketCheck size={18} aria-hidden className="shrink-0" />
          <span className="note-text">
            {t("gate.signUp.invited")}{" "}
            <button type="button" className="link" onClick={signUp.dropInvitation}>
              {t("gate.signUp.invitedDrop")}
            </button>
          </span>
        </div>
      )}
      <div role="status" className={proof !== null ? "sr-only" : undefined}>
        {said !== "" && (
          <p className="note form-note">
            <Info size={18} aria-hidden className="shrink-0" />
            {said}
          </p>
        )}
      </div>
    </>
  );
}

function LoginInvitation() {
  const { t } = useTranslation();
  return (
    <p>
      {t("signUp.hasAccount")}{" "}
      <PageLink href={pathVia("/login", returnPath(window.location.search))}>{t("signUp.login")}</PageLink>
    </p>
  );
}
