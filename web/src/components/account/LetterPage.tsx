import { MailOpen } from "lucide-react";
import { useTranslation } from "react-i18next";
import { EntryPage, PageLink } from "./EntryPage";

interface Props {
  /** To whom it was sent, and why. */
  text: string;
  /** How long its link is good for. */
  life: string;
  /** The way back to the form. */
  again: string;
  onAgain: () => void;
}

/** A letter is on its way, and one goes on in the mailbox. Whether it really is, the page doesn't know, nor may it. */
export function LetterPage({ text, life, again, onAgain }: Props) {
  const { t } = useTranslation();
  return (
    <EntryPage
      key="letter"
      title={t("security.letter.title")}
      foot={
        <p>
          <PageLink href="/login">{t("security.letter.login")}</PageLink>
        </p>
      }
    >
      <div className="letter">
        <MailOpen size={30} aria-hidden />
        <p>{text}</p>
        <p className="letter-more">
          {life} {t("security.letter.missing")}
        </p>
        <button type="button" className="button" onClick={onAgain}>
          {again}
        </button>
      </div>
    </EntryPage>
  );
}
