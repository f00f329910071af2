import { type FormEvent, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { keeper } from "../../api/gate";
import { invitationPath } from "../../state/route";
import { Section } from "../account/AccountPage";
import { SubmitButton } from "../account/FormFoot";
import { CopyButton } from "../CopyButton";
import { Outcome, TextField, useAction } from "./parts";

const most = { count: 100, days: 90 } as const;

type Fields = Record<keyof typeof most, string>;

const numberOf = (text: string, name: keyof typeof most): number | null => {
  const value = Number(text.trim());
  return /^\d+$/.test(text.trim()) && value >= 1 && value <= most[name] ? value : null;
};

/** Links that each make one account, for administrators to hand out. */
export function Invitations() {
  const { t } = useTranslation("admin");
  const [fields, setFields] = useState<Fields>({ count: "1", days: "14" });
  const [wrong, setWrong] = useState<keyof Fields | null>(null);
  const [links, setLinks] = useState<readonly string[]>([]);
  const form = useRef<HTMLFormElement>(null);
  const action = useAction(t);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const [count, days] = [numberOf(fields.count, "count"), numberOf(fields.days, "days")];
    setWrong(count === null ? "count" : days === null ? "days" : null);
    if (count === null || days === null) {
      const name = count === null ? "count" : "days";
      form.current?.querySelector<HTMLInputElement>(`input[name="${name}"]`)?.focus();
      return;
    }
    void action.act("invite", async () => {
      const { invitations } = await keeper.invite(count, days);
      setLinks(invitations.map((ticket) => window.location.origin + invitationPath(ticket)));
      return (t) => t("door.invited", { count: invitations.length });
    });
  };
  const field = (name: keyof Fields, label: string, hint: string) => (
    <TextField
      name={name}
      inputMode="numeric"
      label={label}
      hint={hint}
      value={fields[name]}
      problem={wrong === name ? t("door.wrong", { most: most[name] }) : null}
      onChange={({ target }) => setFields({ ...fields, [name]: target.value })}
    />
  );
  return (
    <Section title={t("door.invitations")} text={t("door.invitationsText")}>
      <form ref={form} noValidate className="account-form" onSubmit={submit}>
        {field("count", t("door.count"), t("door.countHint"))}
        {field("days", t("door.days"), t("door.daysHint"))}
        <SubmitButton busy={action.busy !== null} wait_s={0}>
          {t("door.invite")}
        </SubmitButton>
        <Outcome action={action} />
      </form>
      {links.length > 0 && <Links links={links} />}
    </Section>
  );
}

function Links({ links }: { links: readonly string[] }) {
  const { t } = useTranslation("admin");
  return (
    <>
      <ol className="gate-links" aria-label={t("door.links")}>
        {links.map((link, index) => (
          <li key={link} className="gate-link">
            <code>{link}</code>
            <CopyButton text={link} label={t("door.copyOne", { index: index + 1 })} />
          </li>
        ))}
      </ol>
      {links.length > 1 && (
        <div className="admin-buttons">
          <CopyButton text={links.join("\n")} label={t("door.copyAll")} showLabel />
        </div>
      )}
    </>
  );
}
