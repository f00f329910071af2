import { Plus } from "lucide-react";
import { type ReactNode, useState } from "react";
import { useTranslation } from "react-i18next";
import { admin, EVERYONE, type Group } from "../../api/admin";
import { limitNames } from "../../state/admin";
import { Section } from "../account/AccountPage";
import { GroupDialog } from "./GroupDialog";
import { Failed, Heading, Outcome, useAction, useQuestion, Waiting } from "./parts";
import { useLoaded } from "./useLoaded";

interface Shown {
  groups: Group[];
  /** The models that there are. */
  models: string[];
}

/** What users may do, by the groups that they are in. */
export function Groups({ administers }: { administers: boolean }) {
  const { t } = useTranslation("admin");
  const { loaded, reload } = useLoaded<Shown>(async () => {
    // Not those of the chat: one's own groups may leave some of them out.
    const [{ groups }, { models }] = await Promise.all([admin.groups(), admin.status()]);
    return { groups, models: models.map(({ name }) => name) };
  });
  const [editing, setEditing] = useState<Group | "new" | null>(null);
  const action = useAction(t);
  const { ask, dialog } = useQuestion();
  const groups = loaded.state === "ready" ? loaded.value.groups : [];
  const everyone = groups.find(({ id }) => id === EVERYONE);
  const remove = (group: Group) =>
    action.act(group.id, async () => {
      await admin.deleteGroup(group.id);
      await reload();
      return (t) => t("group.removed");
    });
  return (
    <>
      <div className="admin-head">
        <Heading>{t("groups")}</Heading>
        {administers && (
          <button type="button" className="button button-accent" onClick={() => setEditing("new")}>
            <Plus size={17} aria-hidden />
            {t("group.add")}
          </button>
        )}
      </div>
      <p className="account-text">
        {everyone !== undefined && t("group.text", { name: everyone.name })}{" "}
        {administers && t("group.membersHint")}
      </p>
      {loaded.state === "loading" && <Waiting />}
      {loaded.state === "failed" && <Failed failure={loaded.failure} onRetry={() => void reload()} />}
      <Outcome action={action} />
      {groups.map((group) => (
        <GroupCard key={group.id} group={group}>
          {administers && (
            <GroupButtons
              group={group}
              onEdit={() => setEditing(group)}
              onRemove={() =>
                ask({
                  title: t("group.removeQuestion", { name: group.name }),
                  text: t("group.removeText"),
                  confirm: t("group.remove"),
                  act: () => void remove(group),
                })
              }
            />
          )}
        </GroupCard>
      ))}
      {loaded.state === "ready" && (
        <GroupDialog
          editing={editing}
          models={loaded.value.models}
          onClose={() => setEditing(null)}
          onSaved={() => void reload()}
        />
      )}
      {dialog}
    </>
  );
}

function GroupCard({ group, children }: { group: Group; children: ReactNode }) {
  const { t, i18n } = useTranslation("admin");
  const number = new Intl.NumberFormat(i18n.language);
  const limits = limitNames.filter((name) => group.limits[name] !== null);
  const everybody = group.id === EVERYONE;
  return (
    <Section title={group.name}>
      <dl className="facts">
        <dt>{t("group.models")}</dt>
        <dd>
          {group.models === null
            ? t("group.allModels")
            : group.models.length === 0
              ? t("group.noModels")
              : group.models.join(", ")}
        </dd>
        {limits.length === 0 && (
          <>
            <dt>{t("group.limits")}</dt>
            <dd>{t("group.noLimits")}</dd>
          </>
        )}
        {limits.map((name) => (
          <div key={name} className="contents">
            <dt>{t(`group.${name}`)}</dt>
            <dd>{number.format(group.limits[name] ?? 0)}</dd>
          </div>
        ))}
        <dt>{t("users")}</dt>
        <dd>{everybody ? t("group.everybody") : t("group.members", { count: group.members })}</dd>
      </dl>
      {children}
    </Section>
  );
}

interface ButtonsProps {
  group: Group;
  onEdit: () => void;
  onRemove: () => void;
}

function GroupButtons({ group, onEdit, onRemove }: ButtonsProps) {
  const { t } = useTranslation("admin");
  const { id, name } = group;
  return (
    <div className="admin-buttons">
      <button type="button" className="button" aria-label={t("group.editLabel", { name })} onClick={onEdit}>
        {t("group.edit")}
      </button>
      {id !== EVERYONE && (
        <button
          type="button"
          className="button"
          aria-label={t("group.removeLabel", { name })}
          onClick={onRemove}
        >
          {t("group.remove")}
        </button>
      )}
    </div>
  );
}
