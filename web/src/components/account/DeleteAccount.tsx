import { useTranslation } from "react-i18next";
import { deleteAccount } from "../../state/session";
import { Section } from "./AccountPage";
import { IdentityDialog } from "./IdentityDialog";
import type { Standing } from "./useSecurity";

export function DeleteAccount({ standing }: { standing: Standing }) {
  const { t } = useTranslation();
  return (
    <Section title={t("accountDeletion.title")} text={t("accountDeletion.text")}>
      <IdentityDialog
        standing={standing}
        trigger={
          <button type="button" className="button button-danger">
            {t("accountDeletion.open")}
          </button>
        }
        title={t("accountDeletion.question", { name: standing.user.name })}
        text={t("accountDeletion.warning")}
        submit={t("accountDeletion.submit")}
        danger
        act={deleteAccount}
      />
    </Section>
  );
}
