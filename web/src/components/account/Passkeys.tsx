import type { TFunction } from "i18next";
import { KeyRound } from "lucide-react";
import { useRef } from "react";
import { useTranslation } from "react-i18next";
import { ApiError } from "../../api/client";
import { security as api, type Passkey } from "../../api/security";
import { passkeysSupported } from "../../api/webauthn";
import { agoText } from "../../i18n/format";
import { orLastWayIn } from "../../state/account";
import { useSession } from "../../state/session";
import { useSaid, type Words } from "../useSaid";
import { Section } from "./AccountPage";
import { IdentityDialog } from "./IdentityDialog";
import { AddPasskey, RenamePasskey } from "./PasskeyForms";
import { useFocusAfter } from "./useFocusAfter";
import type { Standing } from "./useSecurity";

const PASSKEYS_MAX = 20;

export function Passkeys({ standing }: { standing: Standing }) {
  const { t } = useTranslation();
  const offered = useSession((state) => state.passkeys);
  const [said, say] = useSaid(t);
  const list = useRef<HTMLUListElement>(null);
  const focusList = useFocusAfter(list);
  const { passkeys } = standing.security;
  const able = offered && passkeysSupported();
  if (!offered && passkeys.length === 0) return null;
  const change = (changed: Passkey[], done: Words<TFunction>) => {
    standing.onChange({ passkeys: changed });
    say(done);
  };
  const remove = (gone: Passkey) => {
    change(
      passkeys.filter(({ id }) => id !== gone.id),
      (t) => t("security.passkeys.removed", { name: gone.name }),
    );
    focusList();
  };
  return (
    <Section title={t("security.passkeys.title")} text={t("security.passkeys.text")}>
      <ul className="devices" ref={list} tabIndex={-1} aria-label={t("security.passkeys.title")}>
        {passkeys.map((passkey) => (
          <PasskeyItem
            key={passkey.id}
            passkey={passkey}
            standing={standing}
            onRenamed={(renamed) =>
              change(
                passkeys.map((known) => (known.id === renamed.id ? renamed : known)),
                (t) => t("security.passkeys.renamed", { name: renamed.name }),
              )
            }
            onRemoved={() => remove(passkey)}
          />
        ))}
      </ul>
      {passkeys.length >= PASSKEYS_MAX && <p className="account-text">{t("problem.passkeysFull")}</p>}
      {able && passkeys.length < PASSKEYS_MAX && (
        <AddPasskey
          standing={standing}
          onAdded={(added) =>
            change([...passkeys, added], (t) => t("security.passkeys.added", { name: added.name }))
          }
        />
      )}
      {!able && <p className="account-text">{t("security.passkeys.unable")}</p>}
      <p className="account-said" role="status">
        {said}
      </p>
    </Section>
  );
}

interface ItemProps {
  passkey: Passkey;
  standing: Standing;
  onRenamed: (renamed: Passkey) => void;
  onRemoved: () => void;
}

function PasskeyItem({ passkey, standing, onRenamed, onRemoved }: ItemProps) {
  const { t, i18n } = useTranslation();
  const { name, created_ms, used_ms } = passkey;
  const since = new Intl.DateTimeFormat(i18n.language, { dateStyle: "medium" }).format(created_ms);
  const now_ms = Date.now();
  const remove = async (password: string | undefined) => {
    try {
      await api.removePasskey(passkey.id, password);
    } catch (error) {
      // One that is gone already is what was wanted.
      if (!(error instanceof ApiError && error.status === 404)) throw orLastWayIn(error);
    }
    onRemoved();
  };
  return (
    <li className="device">
      <KeyRound size={22} aria-hidden className="shrink-0" />
      <div className="grow min-w-0">
        <p className="device-name" dir="auto">
          {name}
        </p>
        <p className="device-facts">
          {t("security.passkeys.since", { when: since })} ·{" "}
          {used_ms === null
            ? t("security.passkeys.unused")
            : t("security.passkeys.used", {
                when: now_ms - used_ms < 60_000 ? t("sessions.now") : agoText(used_ms, now_ms, i18n.language),
              })}
        </p>
      </div>
      <div className="device-actions">
        <RenamePasskey passkey={passkey} onRenamed={onRenamed} />
        <IdentityDialog
          standing={standing}
          trigger={
            <button
              type="button"
              className="button"
              aria-label={t("security.passkeys.removeLabel", { name })}
            >
              {t("security.passkeys.remove")}
            </button>
          }
          title={t("security.passkeys.question", { name })}
          text={t("security.passkeys.warning")}
          submit={t("security.passkeys.remove")}
          danger
          act={remove}
        />
      </div>
    </li>
  );
}
