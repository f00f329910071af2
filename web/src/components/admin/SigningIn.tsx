import { useState } from "react";
import { useTranslation } from "react-i18next";
import { type Account, admin } from "../../api/admin";
import { Section } from "../account/AccountPage";
import { ActionButton, Outcome, Secret, useAction, useQuestion } from "./parts";

interface Props {
  account: Account;
  onChanged: (account: Account) => void;
  onSignedOut: () => void;
}

/** The ways back in for somebody who has lost theirs. */
export function SigningIn({ account, onChanged, onSignedOut }: Props) {
  const { t } = useTranslation("admin");
  const action = useAction();
  const { ask, dialog } = useQuestion();
  const [password, setPassword] = useState<string | null>(null);
  const { name } = account;
  const newPassword = () =>
    action.act("password", async () => {
      setPassword(null);
      const made = await admin.newPassword(account.id);
      setPassword(made.password ?? null);
      onSignedOut();
      return t("signIn.passwordMade");
    });
  const clearFactors = () =>
    action.act("factors", async () => {
      await admin.clearFactors(account.id);
      onChanged({ ...account, totp: false, passkeys: 0 });
      return t("signIn.factorsRemoved");
    });
  const factors = account.totp || account.passkeys > 0;
  return (
    <Section title={t("signIn.title")} text={t("signIn.text")}>
      <dl className="facts">
        <dt>{t("signIn.totp")}</dt>
        <dd>{t(account.totp ? "signIn.on" : "signIn.off")}</dd>
        <dt>{t("signIn.passkeys")}</dt>
        <dd>{account.passkeys}</dd>
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
