import { Search } from "lucide-react";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { type Account, admin } from "../../api/admin";
import { adminPath } from "../../state/route";
import { go } from "../../state/session";
import { PageLink } from "../account/EntryPage";
import { useListbox } from "../useListbox";
import { useSettled } from "../useSettled";
import { useLoaded } from "./useLoaded";

const SHOWN_MAX = 8;

/** The users whom a text finds, as one types it. */
function useFound(text: string): readonly Account[] {
  const wanted = useSettled(text).trim();
  const [found, setFound] = useState<readonly Account[]>([]);
  useEffect(() => {
    const controller = new AbortController();
    if (wanted === "") {
      setFound([]);
      return;
    }
    admin.users({ q: wanted, after: null, limit: SHOWN_MAX }, controller.signal).then(
      ({ users }) => setFound(users),
      // The log is there all the same.
      () => !controller.signal.aborted && setFound([]),
    );
    return () => controller.abort();
  }, [wanted]);
  return text.trim() === "" ? [] : found;
}

interface Props {
  part: "audit" | "usage";
  /** The user whose part it is now, or null for that of all. */
  user: string | null;
  /** Says whose it is. */
  of: (name: string) => string;
}

/** Whose part of it one looks at: everybody's, of which one may choose somebody's, or somebody's. */
export function UserFilter({ part, user, of }: Props) {
  return user === null ? <UserPicker part={part} /> : <Chosen key={user} part={part} user={user} of={of} />;
}

function Chosen({ part, user, of }: Props & { user: string }) {
  const { t } = useTranslation("admin");
  const { loaded } = useLoaded(() => admin.user(user));
  // Who is gone has left something all the same.
  const name =
    loaded.state === "ready" ? loaded.value.name : loaded.state === "failed" ? t("log.deleted") : "…";
  return (
    <p className="log-filter">
      <span className="grow">{of(name)}</span>
      <PageLink href={adminPath({ part, user: null })} className="button">
        {t("log.all")}
      </PageLink>
    </p>
  );
}

/** Finds the user whose entries are looked for. */
function UserPicker({ part }: Pick<Props, "part">) {
  const { t } = useTranslation("admin");
  const [text, setText] = useState("");
  const found = useFound(text);
  const { field, listId, option, moveTo } = useListbox(found.length, (index) => {
    const chosen = found[index];
    if (chosen !== undefined) go(`/admin/${part}?${new URLSearchParams({ user: chosen.id })}`);
  });
  return (
    <div className="picker">
      <div className="admin-search form-input">
        <Search size={17} aria-hidden />
        <input
          {...field}
          type="text"
          autoComplete="off"
          autoCapitalize="none"
          spellCheck={false}
          value={text}
          aria-label={t("log.user")}
          placeholder={t("log.user")}
          onChange={(event) => {
            setText(event.target.value);
            moveTo(0);
          }}
        />
      </div>
      <div
        role="listbox"
        id={listId}
        className="menu picker-list"
        aria-label={t("users")}
        hidden={found.length === 0}
      >
        {found.map((account, index) => (
          <div key={account.id} {...option(index)} className="menu-item option">
            <span className="row-name" dir="auto">
              {account.name}
            </span>
            {account.email !== null && <span className="menu-facts">{account.email}</span>}
          </div>
        ))}
      </div>
      <span className="sr-only" role="status">
        {found.length > 0 && t("log.matches", { count: found.length })}
      </span>
    </div>
  );
}
