import { Search } from "lucide-react";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { type Account, admin } from "../../api/admin";
import { go } from "../../state/session";
import { useListbox } from "../useListbox";
import { useSettled } from "../useSettled";

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

/** Finds the user whose entries are looked for. */
export function UserPicker() {
  const { t } = useTranslation("admin");
  const [text, setText] = useState("");
  const found = useFound(text);
  const { field, listId, option, moveTo } = useListbox(found.length, (index) => {
    const chosen = found[index];
    if (chosen !== undefined) go(`/admin/audit?${new URLSearchParams({ user: chosen.id })}`);
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
