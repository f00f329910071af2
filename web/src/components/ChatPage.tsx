import { Menu as MenuIcon, PanelLeftOpen, SquarePen } from "lucide-react";
import { Dialog } from "radix-ui";
import { useCallback, useEffect, useState, useSyncExternalStore } from "react";
import { useTranslation } from "react-i18next";
import { recall, remember } from "../state/storage";
import { startNewChat, useStore } from "../state/store";
import { Chat } from "./Chat";
import { IconButton } from "./IconButton";
import { ModelPicker } from "./ModelPicker";
import { ConnectionLine, NoticeLine } from "./Notices";
import { Sidebar } from "./Sidebar";
import { SystemDialog } from "./SystemDialog";
import { SearchDialog } from "./search/SearchDialog";
import { Tips } from "./Tips";

const narrow = window.matchMedia("(max-width: 767px)");

function useNarrow(): boolean {
  return useSyncExternalStore(
    (onChange) => {
      narrow.addEventListener("change", onChange);
      return () => narrow.removeEventListener("change", onChange);
    },
    () => narrow.matches,
  );
}

/** Keys for all of the page: Ctrl+Shift+O a new chat, Ctrl+K the search, Shift+Escape the message field. */
function useShortcuts(search: () => void): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const command = event.ctrlKey || event.metaKey;
      const key = event.key.toLowerCase();
      if (command && event.shiftKey && key === "o") {
        event.preventDefault();
        startNewChat();
      } else if (command && !event.shiftKey && key === "k") {
        event.preventDefault();
        search();
      } else if (event.shiftKey && event.key === "Escape") {
        document.getElementById("composer")?.focus();
      }
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [search]);
}

function useTitle(): string {
  const { t } = useTranslation();
  const title = useStore((state) => {
    const { id, conversation } = state.open;
    return state.list.find((known) => known.id === id)?.title ?? conversation?.title ?? "";
  });
  useEffect(() => {
    document.title = title === "" ? t("app.name") : `${title} · ${t("app.name")}`;
  }, [title, t]);
  return title;
}

/** The chat, with its list beside it. */
export function ChatPage() {
  const { t } = useTranslation();
  const isNarrow = useNarrow();
  const [wideOpen, setWideOpen] = useState(recall("sidebar") !== "closed");
  const [drawerOpen, setDrawerOpen] = useState(false);
  const setSidebar = (open: boolean) => {
    if (narrow.matches) {
      setDrawerOpen(open);
    } else {
      setWideOpen(open);
      remember("sidebar", open ? null : "closed");
    }
  };
  const [searching, setSearching] = useState(false);
  const search = useCallback(() => setSearching(true), []);
  useShortcuts(search);
  const title = useTitle();
  const showsButton = isNarrow || !wideOpen;
  return (
    <div className="app">
      <a className="skip" href="#composer">
        {t("app.skip")}
      </a>
      {isNarrow ? (
        <Dialog.Root open={drawerOpen} onOpenChange={setDrawerOpen}>
          <Dialog.Portal>
            <Dialog.Overlay className="overlay" />
            <Dialog.Content className="drawer" aria-describedby={undefined}>
              <Dialog.Title className="sr-only">{t("sidebar.label")}</Dialog.Title>
              <Sidebar
                onChosen={() => setDrawerOpen(false)}
                onClose={() => setDrawerOpen(false)}
                onSearch={search}
              />
            </Dialog.Content>
          </Dialog.Portal>
        </Dialog.Root>
      ) : (
        wideOpen && <Sidebar onChosen={() => {}} onClose={() => setSidebar(false)} onSearch={search} />
      )}
      <main aria-label={t("chat.label")}>
        <h1 className="sr-only">{title === "" ? t("app.name") : title}</h1>
        <header className="head">
          {showsButton && (
            <IconButton
              icon={isNarrow ? MenuIcon : PanelLeftOpen}
              size={20}
              label={t("sidebar.open")}
              onClick={() => setSidebar(true)}
            />
          )}
          <ModelPicker />
          <span className="grow" />
          <SystemDialog />
          {showsButton && <IconButton icon={SquarePen} label={t("sidebar.newChat")} onClick={startNewChat} />}
        </header>
        <ConnectionLine />
        <Chat />
      </main>
      <SearchDialog
        open={searching}
        onClose={() => setSearching(false)}
        onChosen={() => setDrawerOpen(false)}
      />
      <NoticeLine />
      <Tips />
    </div>
  );
}
