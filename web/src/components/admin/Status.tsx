import { Download } from "lucide-react";
import { useTranslation } from "react-i18next";
import { admin, BACKUP_PATH, type Status as Facts } from "../../api/admin";
import { bytesText, listText } from "../../i18n/format";
import { Section } from "../account/AccountPage";
import { useSaid } from "../useSaid";
import { ActionButton, Failed, Heading, Outcome, useAction, useQuestion, Waiting } from "./parts";
import { useLoaded } from "./useLoaded";

/** How the machine does; administrators get its backup and change its key here. */
export function Status({ administers }: { administers: boolean }) {
  const { t } = useTranslation("admin");
  const { loaded, reload } = useLoaded<Facts>(() => admin.status());
  const [said, say] = useSaid(t);
  const refresh = async () => {
    say(null);
    await reload();
    say((t) => t("state.refreshed"));
  };
  return (
    <>
      <div className="admin-head">
        <Heading>{t("status")}</Heading>
        <button type="button" className="button" onClick={() => void refresh()}>
          {t("state.refresh")}
        </button>
      </div>
      <p className="sr-only" role="status">
        {said}
      </p>
      {loaded.state === "loading" && <Waiting />}
      {loaded.state === "failed" && <Failed failure={loaded.failure} onRetry={() => void reload()} />}
      {loaded.state === "ready" && <FactList facts={loaded.value} />}
      {administers && (
        <>
          <Section title={t("backup.title")} text={t("backup.text")}>
            <a className="button" href={BACKUP_PATH} download>
              <Download size={16} aria-hidden />
              {t("backup.get")}
            </a>
          </Section>
          <Rotation />
        </>
      )}
    </>
  );
}

function FactList({ facts }: { facts: Facts }) {
  const { t, i18n } = useTranslation("admin");
  const number = (value: number): string => new Intl.NumberFormat(i18n.language).format(value);
  const started = new Intl.DateTimeFormat(i18n.language, { dateStyle: "long", timeStyle: "short" });
  const rows: [label: string, value: string][] = [
    [t("state.version"), facts.version],
    [t("state.started"), started.format(facts.started_ms)],
    [t("state.users"), number(facts.users)],
    [t("state.sessions"), number(facts.sessions)],
    [t("state.answers"), number(facts.answers)],
    [t("state.connections"), number(facts.connections)],
    [t("state.database"), bytesText(facts.database_bytes, i18n.language)],
    [t("state.signUp"), t(facts.sign_up ? "state.open" : "state.closed")],
  ];
  return (
    <section className="account-section" aria-label={t("status")}>
      <dl className="facts">
        {rows.map(([label, value]) => (
          <div key={label} className="contents">
            <dt>{label}</dt>
            <dd>{value}</dd>
          </div>
        ))}
        <dt>{t("state.models")}</dt>
        <dd>
          {facts.models.length === 0 && t("state.noModels")}
          {facts.models.map(({ name, loaded }) => (
            <span key={name} className="block">
              {name} ({t(loaded ? "state.loaded" : "state.notLoaded")})
            </span>
          ))}
        </dd>
      </dl>
    </section>
  );
}

function Rotation() {
  const { t, i18n } = useTranslation("admin");
  const action = useAction(t);
  const { ask, dialog } = useQuestion();
  const rotate = () =>
    action.act("rotate", async () => {
      const { generation, rewrapped, removable } = await admin.rotateKey();
      return (t) => {
        const done = t("rotation.done", { generation, count: rewrapped });
        if (removable.length === 0) return done;
        const list = listText(removable.map(String), i18n.language);
        return `${done} ${t("rotation.removable", { count: removable.length, list })}`;
      };
    });
  return (
    <Section title={t("rotation.title")} text={t("rotation.text")}>
      <div className="admin-buttons">
        <ActionButton
          action={action}
          name="rotate"
          onPress={() =>
            ask({
              title: t("rotation.question"),
              text: t("rotation.warning"),
              confirm: t("rotation.confirm"),
              act: () => void rotate(),
            })
          }
        >
          {t("rotation.open")}
        </ActionButton>
      </div>
      <span className="sr-only" role="status">
        {action.busy !== null ? t("rotation.busy") : ""}
      </span>
      <Outcome action={action} />
      {dialog}
    </Section>
  );
}
