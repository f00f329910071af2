import { useTranslation } from "react-i18next";
import { type Account, admin } from "../../api/admin";
import { go } from "../../state/session";
import { Section } from "../account/AccountPage";
import { ActionButton, Outcome, useAction, useQuestion } from "./parts";

interface Props {
  account: Account;
  removable: boolean;
  onChanged: (account: Account) => void;
  onSignedOut: () => void;
}

/** The end of an account, for a while or for good. */
export function Closing({ account, removable, onChanged, onSignedOut }: Props) {
  const { t } = useTranslation("admin");
  const action = useAction(t);
  const { ask, dialog } = useQuestion();
  const { id, name } = account;
  const setDisabled = (disabled: boolean) =>
    action.act("disable", async () => {
      onChanged(await admin.changeUser(id, { disabled }));
      if (disabled) onSignedOut();
      return (t) => t(disabled ? "danger.disabled" : "danger.enabled");
    });
  const remove = () =>
    action.act("remove", async () => {
      await admin.deleteUser(id);
      go("/admin/users");
      return null;
    });
  return (
    <Section title={t("danger.title")} text={t("danger.disableText")}>
      <div className="admin-buttons">
        <ActionButton
          action={action}
          name="disable"
          onPress={() =>
            account.disabled_ms !== null
              ? void setDisabled(false)
              : ask({
                  title: t("danger.disableQuestion", { name }),
                  text: t("danger.disableWarning"),
                  confirm: t("danger.disable"),
                  act: () => void setDisabled(true),
                })
          }
        >
          {t(account.disabled_ms === null ? "danger.disable" : "danger.enable")}
        </ActionButton>
        {removable && (
          <ActionButton
            action={action}
            name="remove"
            danger
            onPress={() =>
              ask({
                title: t("danger.removeQuestion", { name }),
                text: t("danger.removeWarning"),
                confirm: t("danger.removeConfirm"),
                act: () => void remove(),
              })
            }
          >
            {t("danger.remove")}
          </ActionButton>
        )}
      </div>
      <Outcome action={action} />
      {dialog}
    </Section>
  );
}
