import { KeyRound, Search, UserPlus, UserRound } from "lucide-react";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { type Account, admin } from "../../api/admin";
import type { User } from "../../api/types";
import { agoText } from "../../i18n/format";
import { adminPath } from "../../state/route";
import { PageLink } from "../account/EntryPage";
import { useSettled } from "../useSettled";
import { NewUser } from "./NewUser";
import { Failed, Heading, More, Waiting } from "./parts";
import { usePages } from "./usePages";

const PAGE_SIZE = 50;

export function Users({ me, query }: { me: User; query: string }) {
  const { t } = useTranslation("admin");
  const [text, setText] = useState(query);
  const [adding, setAdding] = useState(false);
  const wanted = useSettled(text).trim();
  const list = usePages<Account>(wanted, async (q, after, signal) => {
    const { users, next, total } = await admin.users({ q, after, limit: PAGE_SIZE }, signal);
    return { items: users, next, total };
  });
  // The way back from a user leads to the same search.
  useEffect(() => {
    const search = wanted === "" ? "" : `?${new URLSearchParams({ q: wanted })}`;
    window.history.replaceState(null, "", adminPath({ part: "users", user: null }) + search);
  }, [wanted]);
  return (
    <>
      <div className="admin-head">
        <Heading>{t("users")}</Heading>
        {me.role === "admin" && (
          <button type="button" className="button button-accent" onClick={() => setAdding(true)}>
            <UserPlus size={17} aria-hidden />
            {t("newUser.open")}
          </button>
        )}
      </div>
      <div className="admin-search form-input">
        <Search size={17} aria-hidden />
        <input
          type="search"
          value={text}
          aria-label={t("list.search")}
          placeholder={t("list.placeholder")}
          onChange={(event) => setText(event.target.value)}
        />
      </div>
      <p className="admin-count" role="status">
        {list.total !== null && t("list.count", { count: list.total })}
      </p>
      {list.state === "loading" && list.items.length === 0 && <Waiting />}
      {list.state === "ready" && list.failure === null && list.items.length === 0 && (
        <p className="account-text">{t("list.none")}</p>
      )}
      <ul className="rows" aria-label={t("users")} aria-busy={list.state !== "ready"}>
        {list.items.map((account) => (
          <UserRow key={account.id} account={account} />
        ))}
      </ul>
      <Failed failure={list.failure} onRetry={list.again} />
      <More list={list} />
      {me.role === "admin" && <NewUser open={adding} onClose={() => setAdding(false)} onMade={list.anew} />}
    </>
  );
}

function UserRow({ account }: { account: Account }) {
  const { t, i18n } = useTranslation("admin");
  const now_ms = Date.now();
  const seen = (at_ms: number): string =>
    now_ms - at_ms < 60_000
      ? t("list.seenNow")
      : t("list.seen", { when: agoText(at_ms, now_ms, i18n.language) });
  return (
    <li>
      <PageLink href={adminPath({ part: "users", user: account.id })} className="row">
        <UserRound size={20} aria-hidden className="shrink-0" />
        <span className="row-main">
          <span className="row-name">
            <span dir="auto">{account.name}</span>
            {account.role !== "user" && <span className="badge">{t(`user.roles.${account.role}`)}</span>}
            {account.disabled_ms !== null && <span className="badge badge-danger">{t("list.disabled")}</span>}
            {account.ways_in.length === 0 && <span className="badge badge-danger">{t("list.noWayIn")}</span>}
          </span>
          <span className="row-facts">
            {account.email !== null && <span>{account.email}</span>}
            <span>{account.seen_ms === null ? t("list.neverSeen") : seen(account.seen_ms)}</span>
            {(account.totp || account.passkeys > 0) && (
              <span className="row-factor">
                <KeyRound size={13} aria-hidden />
                {t("list.factors")}
              </span>
            )}
          </span>
        </span>
      </PageLink>
    </li>
  );
}
