import { useRef } from "react";
import { useTranslation } from "react-i18next";
import type { Account } from "../../api/admin";
import { type Key, programs } from "../../api/programs";
import { Section } from "../account/AccountPage";
import { useFocusAfter } from "../account/useFocusAfter";
import { gone, KeyItem } from "../programs/Keys";
import { Failed, Outcome, useAction, useQuestion, Waiting } from "./parts";
import { useLoaded } from "./useLoaded";

interface Shown {
  keys: Key[];
  currency: string;
}

/** The keys of a user, and the end of them. */
export function UserKeys({ account, revokes }: { account: Account; revokes: boolean }) {
  const { t } = useTranslation("programs");
  const { loaded, reload } = useLoaded<Shown>(async () => {
    const [{ keys }, { currency }] = await Promise.all([programs.userKeys(account.id), programs.prices()]);
    return { keys, currency };
  });
  const action = useAction(t);
  const { ask, dialog } = useQuestion();
  const list = useRef<HTMLUListElement>(null);
  const focusList = useFocusAfter(list);
  const revoke = (key: Key) =>
    action.act(key.id, async () => {
      await programs.revokeUserKey(account.id, key.id).catch(gone);
      await reload();
      focusList();
      return (t) => t("key.revoked", { name: key.name });
    });
  const shown = loaded.state === "ready" ? loaded.value : null;
  return (
    <Section title={t("nav.keys")}>
      {loaded.state === "loading" && <Waiting />}
      {loaded.state === "failed" && <Failed failure={loaded.failure} onRetry={() => void reload()} />}
      {shown?.keys.length === 0 && <p className="account-text">{t("key.noneOf")}</p>}
      {shown !== null && (
        <ul className="devices" ref={list} tabIndex={-1} aria-label={t("nav.keys")}>
          {shown.keys.map((key) => {
            const question = {
              title: t("key.question", { name: key.name }),
              text: t("key.warning"),
              confirm: t("key.revoke"),
              act: () => void revoke(key),
            };
            return (
              <KeyItem
                key={key.id}
                of={key}
                currency={shown.currency}
                {...(revokes ? { onRevoke: () => ask(question) } : {})}
              />
            );
          })}
        </ul>
      )}
      <Outcome action={action} />
      {dialog}
    </Section>
  );
}
