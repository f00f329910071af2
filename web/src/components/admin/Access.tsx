import { useState } from "react";
import { useTranslation } from "react-i18next";
import { type Account, admin, EVERYONE, type Group, type Role } from "../../api/admin";
import { Section } from "../account/AccountPage";
import { SubmitButton } from "../account/FormFoot";
import { Checks, Outcome, Radios, useAction, useQuestion } from "./parts";

const roles = ["user", "operator", "admin"] as const;

export function RoleRadios({ role, onChoose }: { role: Role; onChoose: (role: Role) => void }) {
  const { t } = useTranslation("admin");
  return (
    <Radios<Role>
      label={t("user.role")}
      hint={t("user.roleHint")}
      choices={roles.map((value) => ({ value, name: t(`user.roles.${value}`) }))}
      chosen={role}
      onChoose={onChoose}
    />
  );
}

interface GroupProps {
  groups: readonly Group[];
  chosen: readonly string[];
  onChoose: (chosen: string[]) => void;
}

/** The groups that one can be in or not; the one of everybody is no choice. */
export function GroupChecks({ groups, chosen, onChoose }: GroupProps) {
  const { t } = useTranslation("admin");
  const choices = groups.map(({ id, name }) => ({ value: id, name, fixed: id === EVERYONE }));
  return <Checks label={t("user.groups")} choices={choices} chosen={chosen} onChoose={onChoose} />;
}

interface Props {
  account: Account;
  groups: readonly Group[];
  onChanged: (account: Account) => void;
}

/** A user's role and groups, for administrators. */
export function Access({ account, groups, onChanged }: Props) {
  const { t } = useTranslation("admin");
  const [role, setRole] = useState(account.role);
  const [chosen, setChosen] = useState<readonly string[]>(account.groups);
  const action = useAction(t);
  const { ask, dialog } = useQuestion();
  const save = () =>
    action.act("save", async () => {
      onChanged(await admin.changeUser(account.id, { role, groups: [...chosen] }));
      return (t) => t("saved");
    });
  return (
    <Section title={t("user.access")} text={t("user.accessText")}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (role === account.role) return void save();
          ask({
            title: t("user.promote"),
            text: t("user.promoteText", { name: account.name, role: t(`user.roles.${role}`) }),
            confirm: t("user.promoteConfirm"),
            act: () => void save(),
          });
        }}
      >
        <RoleRadios role={role} onChoose={setRole} />
        <GroupChecks groups={groups} chosen={chosen} onChoose={setChosen} />
        <div className="admin-buttons">
          <SubmitButton busy={action.busy !== null} wait_s={0}>
            {t("save")}
          </SubmitButton>
        </div>
        <Outcome action={action} />
      </form>
      {dialog}
    </Section>
  );
}
