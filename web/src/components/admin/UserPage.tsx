import { ArrowLeft } from "lucide-react";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { type Account, admin, EVERYONE, type Group } from "../../api/admin";
import type { User } from "../../api/types";
import { agoText } from "../../i18n/format";
import { emailProblem, nameProblem } from "../../state/account";
import { rightsOver } from "../../state/admin";
import { Section } from "../account/AccountPage";
import { PageLink } from "../account/EntryPage";
import { Field } from "../account/Field";
import { RefusalNote, SubmitButton } from "../account/FormFoot";
import { found, useSubmit } from "../account/useSubmit";
import { Access } from "./Access";
import { Closing } from "./Closing";
import { Failed, Heading, Waiting } from "./parts";
import { SigningIn } from "./SigningIn";
import { UserBalance } from "./UserBalance";
import { UserKeys } from "./UserKeys";
import { UserSessions } from "./UserSessions";
import { useLoaded } from "./useLoaded";

interface Shown {
  account: Account;
  groups: Group[];
}

/** One user, and what one may do with them. */
export function UserPage({ me, id }: { me: User; id: string }) {
  const { t } = useTranslation("admin");
  const { loaded, reload, put } = useLoaded<Shown>(async () => {
    const [account, { groups }] = await Promise.all([admin.user(id), admin.groups()]);
    return { account, groups };
  });
  const [signOuts, setSignOuts] = useState(0);
  const title = loaded.state === "ready" ? loaded.value.account.name : t("users");
  return (
    <>
      <PageLink href="/admin/users" className="button-text admin-up">
        <ArrowLeft size={16} aria-hidden />
        {t("user.back")}
      </PageLink>
      <Heading>{title}</Heading>
      {loaded.state === "loading" && <Waiting />}
      {loaded.state === "failed" && <Failed failure={loaded.failure} onRetry={() => void reload()} />}
      {loaded.state === "ready" && (
        <Parts
          me={me}
          shown={loaded.value}
          signOuts={signOuts}
          onChanged={(account) => put({ ...loaded.value, account })}
          onSignedOut={() => setSignOuts((count) => count + 1)}
        />
      )}
    </>
  );
}

interface PartsProps {
  me: User;
  shown: Shown;
  signOuts: number;
  onChanged: (account: Account) => void;
  /** Their sessions have ended by something else. */
  onSignedOut: () => void;
}

function Parts({ me, shown: { account, groups }, signOuts, onChanged, onSignedOut }: PartsProps) {
  const { t } = useTranslation("admin");
  const rights = rightsOver(me, account);
  return (
    <>
      {me.id === account.id && (
        <p className="account-text">
          {t("user.self")} <PageLink href="/account">{t("user.selfLink")}</PageLink>.
        </p>
      )}
      <Profile account={account} groups={groups} />
      {rights.change && <Naming account={account} onChanged={onChanged} />}
      {rights.change && <Access account={account} groups={groups} onChanged={onChanged} />}
      {rights.tend && <SigningIn account={account} onChanged={onChanged} onSignedOut={onSignedOut} />}
      {rights.tend && <UserSessions key={signOuts} account={account} />}
      <UserBalance account={account} administers={me.role === "admin"} />
      <UserKeys account={account} revokes={rights.tend} />
      {rights.tend && (
        <Closing
          account={account}
          removable={rights.remove}
          onChanged={onChanged}
          onSignedOut={onSignedOut}
        />
      )}
    </>
  );
}

function Profile({ account, groups }: Shown) {
  const { t, i18n } = useTranslation("admin");
  const date = new Intl.DateTimeFormat(i18n.language, { dateStyle: "long" });
  const seen =
    account.seen_ms === null ? t("user.never") : agoText(account.seen_ms, Date.now(), i18n.language);
  const usage = `/admin/usage?${new URLSearchParams({ user: account.id })}`;
  const log = `/admin/audit?${new URLSearchParams({ user: account.id })}`;
  return (
    <Section title={t("user.profile")}>
      <dl className="facts">
        <dt>{t("user.email")}</dt>
        <dd>
          {account.email ?? t("user.noEmail")}
          {account.email !== null && (
            <> ({t(account.email_verified ? "user.verified" : "user.unverified")})</>
          )}
        </dd>
        <dt>{t("user.role")}</dt>
        <dd>{t(`user.roles.${account.role}`)}</dd>
        <dt>{t("user.groups")}</dt>
        <dd>
          {groups
            .filter((group) => group.id === EVERYONE || account.groups.includes(group.id))
            .map((group) => group.name)
            .join(", ")}
        </dd>
        <dt>{t("user.since")}</dt>
        <dd>{date.format(account.created_ms)}</dd>
        <dt>{t("user.seen")}</dt>
        <dd>{seen}</dd>
        <dt>{t("user.state")}</dt>
        <dd>
          {account.disabled_ms === null
            ? t("user.enabled")
            : t("user.disabledSince", { when: date.format(account.disabled_ms) })}
        </dd>
      </dl>
      <p className="admin-link">
        <PageLink href={log}>{t("user.log")}</PageLink>
        {" · "}
        <PageLink href={usage}>{t("user.usage")}</PageLink>
      </p>
    </Section>
  );
}

function Naming({ account, onChanged }: { account: Account; onChanged: (account: Account) => void }) {
  const { t } = useTranslation();
  const { t: texts } = useTranslation("admin");
  const [saved, setSaved] = useState(false);
  const { form, problems, refusal, busy, wait_s } = useSubmit(
    (values) => {
      setSaved(false);
      return found({ name: nameProblem(values.name), email: emailProblem(values.email) });
    },
    async (values) => {
      const name = values.name.trim();
      const email = values.email.trim();
      const change = {
        ...(name === account.name ? {} : { name }),
        ...(email === (account.email ?? "") ? {} : { email: email === "" ? null : email }),
      };
      if (Object.keys(change).length > 0) onChanged(await admin.changeUser(account.id, change));
      setSaved(true);
    },
  );
  return (
    <Section title={texts("user.edit")}>
      <form {...form} className="account-form">
        <Field
          name="name"
          label={t("form.name")}
          autoComplete="off"
          defaultValue={account.name}
          problem={problems.name}
        />
        <Field
          name="email"
          type="email"
          inputMode="email"
          label={t("form.email")}
          autoComplete="off"
          required={false}
          defaultValue={account.email ?? ""}
          problem={problems.email}
        />
        <RefusalNote refusal={refusal} />
        <SubmitButton busy={busy} wait_s={wait_s}>
          {texts("save")}
        </SubmitButton>
        <p className="account-said" role="status">
          {saved ? texts("saved") : ""}
        </p>
      </form>
    </Section>
  );
}
