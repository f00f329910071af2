import { PanelLeftClose, Search, SquarePen } from "lucide-react";
import { useEffect, useMemo, useRef } from "react";
import { useTranslation } from "react-i18next";
import { monthText } from "../i18n/format";
import { type Day, groupByDay } from "../state/days";
import { loadList, loadMore, startNewChat, useStore } from "../state/store";
import { ConversationItem } from "./ConversationItem";
import { IconButton } from "./IconButton";
import { SettingsMenu } from "./SettingsMenu";
import { Whale } from "./Whale";

interface Props {
  /** Called when something was chosen, so that a drawer can close. */
  onChosen: () => void;
  onClose: () => void;
  onSearch: () => void;
}

/** The command key, as the keyboard at hand names it. */
const command = /Mac|iPhone|iPad/.test(navigator.userAgent) ? "⌘" : "Ctrl ";

export function Sidebar({ onChosen, onClose, onSearch }: Props) {
  const { t } = useTranslation();
  return (
    <nav className="sidebar" aria-label={t("sidebar.label")}>
      <div className="side-head">
        <a
          href="/"
          className="brand"
          onClick={(event) => {
            event.preventDefault();
            startNewChat();
            onChosen();
          }}
        >
          <Whale size={30} />
          {t("app.name")}
        </a>
        <IconButton icon={PanelLeftClose} label={t("sidebar.close")} onClick={onClose} />
      </div>
      <button
        type="button"
        className="new-chat"
        onClick={() => {
          startNewChat();
          onChosen();
        }}
      >
        <SquarePen size={17} aria-hidden />
        {t("sidebar.newChat")}
      </button>
      <button type="button" className="side-search" aria-keyshortcuts="Control+K Meta+K" onClick={onSearch}>
        <Search size={16} aria-hidden />
        <span className="grow">{t("search.open")}</span>
        <span className="side-key" aria-hidden="true">
          {command}K
        </span>
      </button>
      <ConversationList onChosen={onChosen} />
      <div className="side-foot">
        <SettingsMenu />
      </div>
    </nav>
  );
}

function ConversationList({ onChosen }: { onChosen: () => void }) {
  const { t, i18n } = useTranslation();
  const list = useStore((state) => state.list);
  const listState = useStore((state) => state.listState);
  const listNext = useStore((state) => state.listNext);
  const openId = useStore((state) => state.open.id);
  const groups = useMemo(() => groupByDay(list, Date.now()), [list]);

  const dayText = (day: Day): string => {
    if (typeof day === "string") return t(`sidebar.${day}`);
    return monthText(day.year, day.month, i18n.language);
  };
  if (listState === "loading") return <p className="side-note">{t("sidebar.loading")}</p>;
  if (listState === "unreachable") {
    return (
      <div className="side-note">
        <p>{t("sidebar.unreachable")}</p>
        <button type="button" className="button-text" onClick={() => void loadList()}>
          {t("connection.retry")}
        </button>
      </div>
    );
  }
  if (list.length === 0) return <p className="side-note">{t("sidebar.empty")}</p>;
  return (
    <div className="side-list">
      {groups.map((group) => {
        const name = dayText(group.day);
        return (
          <section key={name} aria-label={name}>
            <h2>{name}</h2>
            <ul>
              {group.conversations.map((conversation) => (
                <ConversationItem
                  key={conversation.id}
                  conversation={conversation}
                  current={conversation.id === openId}
                  onChosen={onChosen}
                />
              ))}
            </ul>
          </section>
        );
      })}
      {listNext !== null && <MoreButton busy={listState === "more"} />}
    </div>
  );
}

/** Loads the next page when it comes into sight, or when it is pressed. */
function MoreButton({ busy }: { busy: boolean }) {
  const { t } = useTranslation();
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    const element = button.current;
    if (element === null) return;
    const observer = new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting)) void loadMore();
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return (
    <button ref={button} type="button" className="side-more" disabled={busy} onClick={() => void loadMore()}>
      {busy ? t("sidebar.loading") : t("sidebar.more")}
    </button>
  );
}
