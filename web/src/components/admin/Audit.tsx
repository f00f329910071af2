import type { TFunction } from "i18next";
import { useTranslation } from "react-i18next";
import { type AuditEntry, admin } from "../../api/admin";
import { PageLink } from "../account/EntryPage";
import { Failed, Heading, More, Waiting } from "./parts";
import { UserFilter } from "./UserPicker";
import { usePages } from "./usePages";

const PAGE_SIZE = 100;

/** What has happened that has to do with security; of one user, or of all. */
export function Audit({ user }: { user: string | null }) {
  const { t } = useTranslation("admin");
  const list = usePages<AuditEntry>(user ?? "", async (_, before) => {
    const { entries, next } = await admin.audit({ user, before, limit: PAGE_SIZE });
    return { items: entries, next: next === null ? null : String(next), total: null };
  });
  return (
    <>
      <Heading>{t("audit")}</Heading>
      <p className="account-text">{t("log.text")}</p>
      <UserFilter part="audit" user={user} of={(name) => t("log.of", { name })} />
      {list.state === "loading" && list.items.length === 0 && <Waiting />}
      {list.state === "ready" && list.failure === null && list.items.length === 0 && (
        <p className="account-text">{t("log.none")}</p>
      )}
      <ol className="rows" aria-label={t("audit")} aria-busy={list.state !== "ready"}>
        {list.items.map((entry) => (
          <Entry key={entry.number} entry={entry} />
        ))}
      </ol>
      <Failed failure={list.failure} onRetry={list.again} />
      <More list={list} />
    </>
  );
}

/** What an event is called, and its own name where we have none for it. A number after the name is a count. */
function eventText(event: string, t: TFunction<"admin">, exists: (key: string) => boolean): string {
  const [name = "", count] = event.split(" ");
  const key = count === undefined ? name : `${name}_other`;
  return exists(`events.${key}`) ? t(`events.${name as "login"}`, { count: Number(count ?? 1) }) : event;
}

function Entry({ entry }: { entry: AuditEntry }) {
  const { t, i18n } = useTranslation("admin");
  const exists = (key: string) => i18n.exists(key, { ns: "admin" });
  const at = new Intl.DateTimeFormat(i18n.language, { dateStyle: "medium", timeStyle: "medium" });
  return (
    <li className="row">
      <span className="row-main">
        <span className="row-name">{eventText(entry.event, t, exists)}</span>
        <span className="row-facts">
          {(entry.user_id !== null || entry.by_id === null) && (
            <Who id={entry.user_id} name={entry.user_name} />
          )}
          {entry.by_id !== null && (
            <span>
              {t("log.by")} <Who id={entry.by_id} name={entry.by_name} />
            </span>
          )}
          <time dateTime={new Date(entry.at_ms).toISOString()}>{at.format(entry.at_ms)}</time>
          {entry.address !== "" && <span>{entry.address}</span>}
          {entry.note != null && <span dir="auto">{entry.note}</span>}
        </span>
      </span>
    </li>
  );
}

/** Somebody of the log, whose entries one may ask for. */
function Who({ id, name }: { id: string | null; name: string | null }) {
  const { t } = useTranslation("admin");
  if (id === null) return <span>{t("log.nobody")}</span>;
  return (
    <span dir="auto">
      <PageLink href={`/admin/audit?${new URLSearchParams({ user: id })}`}>
        {name ?? t("log.deleted")}
      </PageLink>
    </span>
  );
}
