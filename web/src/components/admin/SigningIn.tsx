import { useState } from "react";
import { useTranslation } from "react-i18next";
import { type Account, admin } from "../../api/admin";
import { listText } from "../../i18n/format";
import { Section } from "../account/AccountPage";
import { ActionButton, Outcome, Secret, useAction, useQuestion } from "./parts";

interface Props {
  account: Account;
  onChanged: (account: Account) => void;
  onSignedOut: () => void;
}

/** The ways back in for somebody who has lost theirs. */
export function SigningIn({ account, onChanged, onSignedOut }: Props) {
  const { t, i18n } = useTranslation("admin");
  const action = useAction(t);
  const { ask, dialog } = useQuestion();
  const [password, setPassword] = useState<string | null>(null);
  const { name } = account;
  const newPassword = () =>
    action.act("password", async () => {
      setPassword(null);
      const made = await admin.newPassword(account.id);
      setPassword(made.password ?? null);
      onChanged({ ...account, ways_in: [...new Set(["password" as const, ...account.ways_in])] });
      onSignedOut();
      return (t) => t("signIn.passwordMade");
    });
  const clearFactors = () =>
    action.act("factors", async () => {
      const left = await admin.clearFactors(account.id);
      onChanged(left);
      return (t) => t(left.ways_in.length > 0 ? "signIn.factorsRemoved" : "signIn.factorsRemovedNone");
    });
  const factors = account.totp || account.passkeys > 0;
  return (
    <Section title={t("signIn.title")} text={t("signIn.text")}>
      <dl className="facts">
        <dt>{t("signIn.totp")}</dt>
        <dd>{t(account.totp ? "signIn.on" : "signIn.off")}</dd>
        <dt>{t("signIn.passkeys")}</dt>
        <dd>{account.passkeys}</dd>
        <dt>{t("signIn.ways")}</dt>
        <dd>
          {account.ways_in.length > 0
            ? listText(
                account.ways_in.map((way) => t(`signIn.way.${way}`)),
                i18n.language,
              )
            : t("signIn.noWay")}
        </dd>
      </dl>
      <div className="admin-buttons">
        <ActionButton
          action={action}
          name="password"
          onPress={() =>
            ask({
              title: t("signIn.passwordQuestion", { name }),
              text: t("signIn.passwordText"),
              confirm: t("signIn.passwordConfirm"),
              act: () => void newPassword(),
            })
          }
        >
          {t("signIn.password")}
        </ActionButton>
        {factors && (
          <ActionButton
            action={action}
            name="factors"
            onPress={() =>
              ask({
                title: t("signIn.factorsQuestion", { name }),
                text: t("signIn.factorsText"),
                confirm: t("signIn.factorsConfirm"),
                act: () => void clearFactors(),
              })
            }
          >
            {t("signIn.factors")}
          </ActionButton>
        )}
      </div>
      <Outcome action={action} />
      {password !== null && (
        <>
          <p className="account-text">{t("newUser.madeText", { name })}</p>
          <Secret value={password} />
        </>
      )}
      {dialog}
    </Section>
  );
}
