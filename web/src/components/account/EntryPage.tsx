import { Info } from "lucide-react";
import { type ReactNode, useEffect, useRef } from "react";
import { useTranslation } from "react-i18next";
import { go, useSession } from "../../state/session";
import { byFinger } from "../focus";
import { ConnectionLine } from "../Notices";
import { SettingsMenu } from "../SettingsMenu";
import { Tips } from "../Tips";
import { Whale } from "../Whale";

interface Props {
  title: string;
  text?: string;
  children: ReactNode;
  foot?: ReactNode;
}

/** The frame of the pages before one is signed in. */
export function EntryPage({ title, text, children, foot }: Props) {
  const { t } = useTranslation();
  const heading = useRef<HTMLHeadingElement>(null);
  const card = useRef<HTMLDivElement>(null);
  useEffect(() => {
    document.title = `${title} · ${t("app.name")}`;
  }, [title, t]);
  // One goes on by writing. On a phone the keyboard would cover what the page says.
  useEffect(() => {
    const field = card.current?.querySelector<HTMLInputElement>('input:not([type="hidden"])');
    if (field && !byFinger()) field.focus();
    else heading.current?.focus();
  }, []);
  return (
    <div className="entry">
      <ConnectionLine />
      <header className="entry-head">
        <SettingsMenu compact />
      </header>
      <main className="entry-main">
        <div className="entry-card" ref={card}>
          <div className="entry-title">
            <Whale size={56} />
            <h1 ref={heading} tabIndex={-1}>
              {title}
            </h1>
            {text !== undefined && <p>{text}</p>}
          </div>
          <PageNote />
          {children}
          {foot !== undefined && <div className="entry-foot">{foot}</div>}
        </div>
      </main>
      <Tips />
    </div>
  );
}

/** Why one is on this page, where one didn't ask for it, or what has come of a letter. */
export function PageNote() {
  const { t } = useTranslation();
  const note = useSession((state) => state.note);
  return (
    <div role="status">
      {note !== null && (
        <p className="note form-note">
          <Info size={18} aria-hidden className="shrink-0" />
          {t(`entry.${note}`)}
        </p>
      )}
    </div>
  );
}

/** A link to a page of ours. */
export function PageLink({
  href,
  className = "link",
  current = false,
  children,
}: {
  href: string;
  className?: string;
  /** It leads to where one is. */
  current?: boolean;
  children: ReactNode;
}) {
  return (
    <a
      href={href}
      className={className}
      aria-current={current ? "page" : undefined}
      onClick={(event) => {
        if (event.metaKey || event.ctrlKey || event.shiftKey) return;
        event.preventDefault();
        go(href);
      }}
    >
      {children}
    </a>
  );
}
