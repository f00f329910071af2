import { KeyRound, LogIn } from "lucide-react";
import { useEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { passkeysSupported } from "../../api/webauthn";
import { type Refusal, refusalOf } from "../../state/account";
import { recallPlace } from "../../state/newcomer";
import { offerPasskeys, signInByPasskey } from "../../state/passkey";
import { providerPath, returnPath } from "../../state/route";
import { useSession } from "../../state/session";
import { RefusalNote } from "./FormFoot";

/** The ways in that need no password of ours. */
export function OtherWays() {
  const { t } = useTranslation();
  const passkeys = useSession((state) => state.passkeys) && passkeysSupported();
  const providers = useSession((state) => state.providers);
  if (!passkeys && providers.length === 0) return null;
  const next = returnPath(window.location.search);
  return (
    <div className="ways">
      <p className="ways-or" aria-hidden="true">
        {t("security.login.or")}
      </p>
      {passkeys && <PasskeyButton />}
      {providers.map(({ id, name }) => (
        <a key={id} href={providerPath(id, next, recallPlace(`provider.${id}`))} className="button">
          <LogIn size={17} aria-hidden />
          <span className="ways-name">{t("security.login.provider", { name })}</span>
        </a>
      ))}
    </div>
  );
}

/** Signs in by a passkey when pressed, and has the browser offer them at the name's field until then. */
function PasskeyButton() {
  const { t } = useTranslation();
  const [busy, setBusy] = useState(false);
  const [refusal, setRefusal] = useState<Refusal | null>(null);
  const under = useRef<AbortController | null>(null);
  useEffect(() => {
    if (busy) return;
    const offer = new AbortController();
    under.current = offer;
    void offerPasskeys(offer.signal, setRefusal);
    return () => offer.abort();
  }, [busy]);
  useEffect(() => () => under.current?.abort(), []);
  const press = async () => {
    if (busy) return;
    setBusy(true);
    setRefusal(null);
    // A browser asks for one passkey at a time.
    under.current?.abort();
    const asking = new AbortController();
    under.current = asking;
    try {
      await signInByPasskey(asking.signal);
    } catch (error) {
      if (!asking.signal.aborted) setRefusal(refusalOf(error));
    } finally {
      setBusy(false);
    }
  };
  return (
    <>
      <RefusalNote refusal={refusal} />
      <button type="button" className="button" aria-disabled={busy} onClick={() => void press()}>
        {busy ? <span className="spinner" aria-hidden="true" /> : <KeyRound size={17} aria-hidden />}
        {t("security.login.passkey")}
      </button>
    </>
  );
}
