import { CircleAlert } from "lucide-react";
import { type FormEvent, useCallback, useEffect, useId, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { type AccountSettings, data } from "../../api/data";
import { type Refusal, refusalOf } from "../../state/account";
import { daysOf, keepsLess, keptSince, RETENTION_DAYS_MAX } from "../../state/retention";
import { Confirm } from "../Confirm";
import { RefusalNote, SubmitButton } from "./FormFoot";

const DAYS_PROPOSED = 90;

/** How long conversations stay, read when the page comes up. */
export function Retention() {
  const { t } = useTranslation();
  const [settings, setSettings] = useState<AccountSettings | "loading" | "unreachable">("loading");
  const load = useCallback(async () => {
    try {
      setSettings(await data.settings());
    } catch {
      setSettings("unreachable");
    }
  }, []);
  useEffect(() => void load(), [load]);
  return (
    <>
      <h3 className="account-part">{t("data.retention")}</h3>
      {typeof settings !== "string" && settings.retention_days_max !== null && (
        <p className="account-text">{t("data.retentionText", { count: settings.retention_days_max })}</p>
      )}
      {settings === "loading" && <p className="account-text">{t("app.loading")}</p>}
      {settings === "unreachable" && (
        <p className="account-text" role="alert">
          {t("data.unreachable")}{" "}
          <button type="button" className="button-text" onClick={() => void load()}>
            {t("connection.retry")}
          </button>
        </p>
      )}
      {typeof settings !== "string" && <RetentionForm days={settings.retention_days} onSaved={setSettings} />}
    </>
  );
}

interface Props {
  days: number | null;
  onSaved: (settings: AccountSettings) => void;
}

function RetentionForm({ days, onSaved }: Props) {
  const { t, i18n } = useTranslation();
  const [limited, setLimited] = useState(days !== null);
  const [text, setText] = useState(String(days ?? DAYS_PROPOSED));
  const [wrong, setWrong] = useState(false);
  const [asking, setAsking] = useState<number | null>(null);
  const [busy, setBusy] = useState(false);
  const [refusal, setRefusal] = useState<Refusal | null>(null);
  const [saved, setSaved] = useState(false);
  const submit = useRef<HTMLFormElement>(null);
  const save = async (wanted: number | null) => {
    setBusy(true);
    setRefusal(null);
    try {
      onSaved(await data.changeSettings({ retention_days: wanted }));
      setSaved(true);
    } catch (error) {
      setRefusal(refusalOf(error));
    } finally {
      setBusy(false);
    }
  };
  const onSubmit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    if (busy) return;
    setSaved(false);
    const wanted = limited ? daysOf(text) : null;
    setWrong(limited && wanted === null);
    if (limited && wanted === null) {
      event.currentTarget.querySelector<HTMLInputElement>('input[inputmode="numeric"]')?.focus();
    } else if (keepsLess(wanted, days)) setAsking(wanted);
    else void save(wanted);
  };
  const when = new Intl.DateTimeFormat(i18n.language, { dateStyle: "long" }).format(
    keptSince(asking ?? 0, Date.now()),
  );
  return (
    <form ref={submit} noValidate className="account-form" onSubmit={onSubmit}>
      <Choices limited={limited} onChoose={setLimited} />
      {limited && <Days text={text} wrong={wrong} onChange={setText} />}
      <RefusalNote refusal={refusal} />
      <SubmitButton busy={busy} wait_s={0}>
        {t("data.save")}
      </SubmitButton>
      <p className="account-said" role="status">
        {saved ? t("data.saved") : ""}
      </p>
      <Confirm
        open={asking !== null}
        title={t("data.retentionQuestion")}
        text={t("data.retentionWarning", { when })}
        confirm={t("data.retentionConfirm")}
        cancel={t("message.cancel")}
        onConfirm={() => void save(asking)}
        onClose={() => setAsking(null)}
        returnFocus={() => submit.current?.querySelector<HTMLElement>('[type="submit"]')?.focus()}
      />
    </form>
  );
}

function Choices({ limited, onChoose }: { limited: boolean; onChoose: (limited: boolean) => void }) {
  const { t } = useTranslation();
  const name = useId();
  return (
    <fieldset className="data-choices">
      <legend className="sr-only">{t("data.retention")}</legend>
      {[false, true].map((value) => (
        <label key={String(value)} className="data-choice">
          <input type="radio" name={name} checked={value === limited} onChange={() => onChoose(value)} />
          {t(value ? "data.limited" : "data.forever")}
        </label>
      ))}
    </fieldset>
  );
}

interface DaysProps {
  text: string;
  wrong: boolean;
  onChange: (text: string) => void;
}

function Days({ text, wrong, onChange }: DaysProps) {
  const { t } = useTranslation();
  const id = useId();
  return (
    <div className="form-field">
      <label htmlFor={id}>{t("data.days")}</label>
      <div className="form-input">
        <input
          id={id}
          type="text"
          inputMode="numeric"
          autoComplete="off"
          maxLength={String(RETENTION_DAYS_MAX).length}
          value={text}
          aria-invalid={wrong}
          aria-describedby={`${id}-hint`}
          onChange={(event) => onChange(event.target.value)}
        />
      </div>
      <p id={`${id}-hint`} className={wrong ? "form-problem" : "form-hint"}>
        {wrong && <CircleAlert size={15} aria-hidden className="shrink-0" />}
        {t(wrong ? "data.daysWrong" : "data.daysHint")}
      </p>
    </div>
  );
}
